//! Which processes run for a network, and whether a process is still the one we started.
//!
//! A pid alone may have been given to somebody else since, so the time at which the process
//! began is kept beside it.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::folder::{read_json, write_json};

/// A process that we started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks after boot at which it began.
    started: u64,
}

/// One process under the supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Supervised {
    pub(crate) name: String,
    pub(crate) process: Process,
    /// How it ended, once it did.
    pub(crate) ended: Option<String>,
}

/// What the supervisor writes down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Processes {
    pub(crate) supervisor: Process,
    pub(crate) supervised: Vec<Supervised>,
}

impl Process {
    /// The process with this pid, now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_ticks(pid)? })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.started)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> bool {
        self.signal(Signal::SIGTERM)
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) -> bool {
        self.signal(Signal::SIGKILL)
    }

    /// Tells a supervisor that there is a request to start something.
    pub(crate) fn wake(&self) -> bool {
        self.signal(Signal::SIGUSR1)
    }

    fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid as i32), signal).is_ok()
    }
}

/// Field 22 of `/proc/PID/stat`, which has the threads in field 20; the name in field 2 may itself hold spaces and brackets.
/// A process that ended and only waits to be noticed counts as gone, but not while other threads
/// of it are still ending: until then its ports are taken.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    if matches!(state, "Z" | "X") && threads <= 1 {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

impl Processes {
    /// Reads what a supervisor wrote; `None` when there never was one.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        read_json(path)
    }

    /// Writes it down.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_json(path, self)
    }

    /// What was last noted of the process with this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Supervised> {
        self.supervised.iter().find(|supervised| supervised.name == name)
    }

    /// The process that runs under `name`, if it does.
    pub(crate) fn running(&self, name: &str) -> Option<&Process> {
        let supervised = self.find(name)?;
        supervised.process.is_alive().then_some(&supervised.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_with_its_pid_but_another_start_is_not() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.kill());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(!process.terminate());
    }
}
