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
        let stat = Stat::of(pid)?;
        (!stat.is_zombie).then_some(Self { pid, started: stat.started })
    }

    /// Whether it runs, and has not been killed.
    pub(crate) fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| !stat.is_zombie && !stat.is_killed)
    }

    /// Whether nothing of it is left that holds a port. It may be neither alive nor ended: a
    /// killed process ends one thread after the other.
    pub(crate) fn has_ended(&self) -> bool {
        self.stat().is_none_or(|stat| stat.is_zombie && stat.threads <= 1)
    }

    fn stat(&self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.started == self.started)
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

/// What `/proc/PID/stat` says of a process.
struct Stat {
    /// Its main thread has ended.
    is_zombie: bool,
    threads: u32,
    started: u64,
    /// SIGKILL is on its way, or the main thread is ending.
    is_killed: bool,
}

/// The kernel's flag of a thread that is ending (`include/linux/sched.h`).
const PF_EXITING: u64 = 0x4;

impl Stat {
    /// Fields 3, 9, 20, 22 and 31; the name in field 2 may itself hold spaces and brackets.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace();
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        let pending: u64 = fields.nth(8)?.parse().ok()?;
        let is_killed = pending & 1 << (Signal::SIGKILL as u32 - 1) != 0 || flags & PF_EXITING != 0;
        Some(Self { is_zombie, threads, started, is_killed })
    }
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
    fn a_killed_process_is_not_alive_from_then_on_and_ends_soon() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.is_alive() && !process.has_ended());
        assert!(process.kill());
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(process.has_ended());
        assert!(!process.terminate());
    }
}
