//! The one small layer over files: what a log or block store needs of a disk, and no more.
//!
//! [`DiskFiles`] is the disk. [`MemoryFiles`] is its twin for tests: it can crash at any
//! write or sync and then lose or tear whatever was not synced. Code that is correct over
//! the twin at every such point keeps its promises on a disk.
//!
//! A failed sync leaves pages of unknown content that the kernel calls clean, so it is
//! never retried: [`FileError::must_end`] tells that the process has to end.

mod disk;
mod faults;
mod memory;
mod survival;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use disk::DiskFiles;
pub use faults::Fault;
pub use memory::MemoryFiles;
pub use survival::Survival;

/// A place for files. Paths are those of the platform; folders separate them as usual.
pub trait Files: Send + Sync {
    /// Creates a folder and the missing ones above it; each new entry is synced.
    fn create_folder(&self, folder: &Path) -> Result<(), FileError>;

    /// Makes the folder's entries durable: files created, renamed or removed in it.
    fn sync_folder(&self, folder: &Path) -> Result<(), FileError>;

    /// The names in a folder, ascending; none when there is no such folder.
    fn list(&self, folder: &Path) -> Result<Vec<String>, FileError>;

    /// Opens a file for reading and appending, creating an empty one where there is none.
    /// A new file lasts only after [`Files::sync_folder`].
    fn open(&self, path: &Path) -> Result<Arc<dyn File>, FileError>;

    /// Opens a file that must be there; `None` when it is not.
    fn open_existing(&self, path: &Path) -> Result<Option<Arc<dyn File>>, FileError>;

    /// Gives a file or folder another name in place of whatever had that name. Lasts only
    /// after [`Files::sync_folder`] of the folder or folders.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError>;

    /// Removes a file; nothing happens when there is none. Lasts only after [`Files::sync_folder`].
    fn remove(&self, path: &Path) -> Result<(), FileError>;

    /// Takes the lock file `path`, so that no other process works in its folder.
    fn lock(&self, path: &Path) -> Result<Lock, FileError>;
}

/// A lock file that is held until this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] Option<std::fs::File>);

/// An open file. Reading and appending may go on at the same time; one caller appends.
pub trait File: Send + Sync {
    /// Adds bytes at the end. After an error the end of the file is unknown: some of the
    /// bytes may stand there, and [`File::truncate`] takes them away.
    fn append(&self, bytes: &[u8]) -> Result<(), FileError>;

    /// Writes over bytes that are already there, without changing the length: for space that
    /// was allocated before. After an error the bytes in this place are unknown.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError>;

    /// Makes the content durable. An error here must end the process.
    fn sync(&self) -> Result<(), FileError>;

    /// Reads up to `length` bytes from `offset`; fewer only where the file ends.
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, FileError>;

    /// Cuts the file to `length` bytes. Lasts only after [`File::sync`].
    fn truncate(&self, length: u64) -> Result<(), FileError>;

    /// Bytes in the file.
    fn length(&self) -> Result<u64, FileError>;
}

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk is full, or a quota or limit is reached. Nothing is lost: free some space and
    /// try again.
    #[error("no space left to {operation} {path}: free some space on this disk, work then goes on")]
    NoSpace {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
    },
    /// A sync or a write failed: what is on the disk is unknown. The process must end and
    /// recover from what it finds at its next start.
    #[error(
        "cannot {operation} {path}: {source}; what is on the disk is unknown now, so the node has to stop and recover at its next start (check the disk)"
    )]
    Fatal {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process, or an older handle of this one, works in the folder.
    #[error("{path} is locked: another process uses this folder, stop it first")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The system refused an operation that changes no content: permissions, a missing folder.
    #[error("cannot {operation} {path}: {source}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FileError {
    /// Whether the process has to end.
    pub fn must_end(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }

    /// Whether freeing space mends it.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}
