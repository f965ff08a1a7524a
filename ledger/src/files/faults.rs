//! What is planned to go wrong with files in memory, and when.

use std::io;
use std::path::Path;

use super::FileError;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no space. A sync does not say so: its failure is always fatal.
    NoSpace,
    /// The disk gives an error.
    Broken,
}

/// Operations so far, and those that are to fail.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) operations: u64,
    pub(super) syncs: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) failing_operation: Option<(u64, Fault)>,
    pub(super) failing_sync: Option<u64>,
    pub(super) dropped_sync: Option<u64>,
    pub(super) capacity_bytes: Option<u64>,
}

impl Faults {
    /// Counts an operation; an error when it is to fail, and when the crash is due or has been.
    pub(super) fn begin(&mut self, operation: &'static str, path: &Path) -> Result<(), FileError> {
        self.operations += 1;
        if self.crash_at.is_some_and(|number| self.operations >= number) {
            self.crashed = true;
        }
        self.alive(operation, path)?;
        match self.failing_operation {
            Some((number, fault)) if number == self.operations => Err(failure(fault, operation, path)),
            _ => Ok(()),
        }
    }

    pub(super) fn alive(&self, operation: &'static str, path: &Path) -> Result<(), FileError> {
        if self.crashed {
            return Err(fatal(operation, path, "crashed as planned"));
        }
        Ok(())
    }

    /// Counts a sync. Says whether it makes anything durable.
    pub(super) fn begin_sync(&mut self, operation: &'static str, path: &Path) -> Result<bool, FileError> {
        self.begin(operation, path)?;
        self.syncs += 1;
        match self.failing_sync == Some(self.syncs) {
            true => Err(fatal(operation, path, "failed as planned")),
            false => Ok(self.dropped_sync != Some(self.syncs)),
        }
    }
}

/// What the disk's layer says of such a failure.
fn failure(fault: Fault, operation: &'static str, path: &Path) -> FileError {
    let changes_content = ["append to", "write to", "truncate"].contains(&operation);
    match (fault, operation) {
        (_, "sync" | "sync folder") => fatal(operation, path, "failed as planned"),
        (Fault::NoSpace, _) => FileError::NoSpace { operation, path: path.to_owned() },
        (Fault::Broken, _) if changes_content => fatal(operation, path, "failed as planned"),
        (Fault::Broken, _) => {
            let source = io::Error::other("failed as planned");
            FileError::Refused { operation, path: path.to_owned(), source }
        }
    }
}

pub(super) fn fatal(operation: &'static str, path: &Path, text: &'static str) -> FileError {
    FileError::Fatal { operation, path: path.to_owned(), source: io::Error::other(text) }
}
