//! A network of its own for one test, stopped and removed with it.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The program under test.
pub(crate) const RIPSTOP: &str = env!("CARGO_BIN_EXE_ripstop");

/// A running network in a temporary folder.
pub(crate) struct Network {
    folder: tempfile::TempDir,
    name: String,
}

impl Network {
    /// Brings one up on ports of its own.
    pub(crate) fn up(options: &[&str]) -> Self {
        let network = Self::in_folder("a network");
        network.ok(&[&["network", "up", "--port-base", &port_base().to_string()], options].concat());
        network
    }

    /// A folder of this name for a network that is not made yet.
    pub(crate) fn in_folder(name: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), name: name.to_owned() }
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(RIPSTOP).arg("--dir").arg(self.dir()).args(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed; its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?} failed:\n{}\n{}", text(&output.stderr), self.logs());
        text(&output.stdout)
    }

    /// Runs a command that has to fail; its standard error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} was not refused: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// The JSON object that a command prints, whatever its exit code.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{stdout}\n{stderr}"))
    }

    /// The status of one node.
    pub(crate) fn node(&self, name: &str) -> Value {
        let status = self.json(&["network", "status", "--json"]);
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    /// The folder of an organization's material.
    pub(crate) fn organization(&self, domain: &str) -> PathBuf {
        self.dir().join("organizations/peerOrganizations").join(domain)
    }

    /// The folder of a peer's ledger of the channel.
    pub(crate) fn ledger(&self, peer: &str) -> PathBuf {
        self.dir().join("nodes").join(peer).join("data/channels/mychannel")
    }

    /// The ends of all logs, for a failing test's message.
    fn logs(&self) -> String {
        let mut logs = String::new();
        let Ok(files) = std::fs::read_dir(self.dir().join("logs")) else { return logs };
        for file in files.flatten() {
            let content = std::fs::read_to_string(file.path()).unwrap_or_default();
            let lines: Vec<&str> = content.lines().collect();
            let end = lines[lines.len().saturating_sub(20)..].join("\n");
            logs.push_str(&format!("--- {}\n{end}\n", file.path().display()));
        }
        logs
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        if self.dir().exists() {
            self.run(&["network", "down"]);
        }
    }
}

/// The first port of a block that no other network of these tests gets: while a node is down its
/// port is free, and must not go to somebody else.
fn port_base() -> u32 {
    const BLOCK: u32 = 64;
    // Below the ports that the system gives to outgoing connections.
    const BLOCKS: Range<u32> = 192..512;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id();
    loop {
        let block = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % BLOCKS.len() as u32 + BLOCKS.start;
        let mut ports = block * BLOCK..(block + 1) * BLOCK;
        if ports.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16)).is_ok()) {
            return block * BLOCK;
        }
    }
}

/// Text of a process.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
