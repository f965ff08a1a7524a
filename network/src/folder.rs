//! The folder of a local network: where everything is, and which network it holds.
//!
//! ```text
//! DIR/network.json               what the network consists of; written last when it is made
//! DIR/processes.json             what the supervisor runs; written by it
//! DIR/start.json                 what the supervisor is asked to start again; written by commands
//! DIR/organizations/…            certificates and keys, laid out as cryptogen does
//! DIR/channel-artifacts/CH.block the genesis block
//! DIR/nodes/NAME/config.toml     a node's configuration; its data beside it
//! DIR/logs/NAME.log              what a process prints
//! DIR/peercfg/core.yaml          for Fabric's own `peer` program
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ripstop_msp::material::{OrganizationFolders, OrganizationKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::output::progress;
use crate::topology::{ORDERER_DOMAIN, Organization, Topology};

/// Marks a folder as ours from the first moment on.
const MARK: &str = ".ripstop-network";
/// What the network consists of.
const TOPOLOGY: &str = "network.json";

/// The folder of one network; the path is absolute.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// What stands in a folder before `network up`.
pub(crate) enum Found {
    /// Nothing: a network can be made.
    Empty,
    /// An attempt that did not come to its end; it holds nothing of value.
    Unfinished,
    /// A network.
    Network(Box<Topology>),
}

impl Folder {
    /// The folder `path`, which need not exist.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{} is no usable path", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks what is there.
    pub(crate) fn look(&self) -> anyhow::Result<Found> {
        if !self.path.exists() {
            return Ok(Found::Empty);
        }
        if !self.path.is_dir() {
            bail!("{} is a file: name a folder with --dir", self.path.display());
        }
        if self.path.join(TOPOLOGY).exists() {
            return Ok(Found::Network(Box::new(self.topology()?)));
        }
        if self.is_ours() {
            return Ok(Found::Unfinished);
        }
        let mut entries =
            std::fs::read_dir(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        if entries.next().is_some() {
            bail!("{} holds other files and no network: name an empty or new folder with --dir", self.path.display());
        }
        Ok(Found::Empty)
    }

    /// Whether the folder is marked as ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.path.join(MARK).exists()
    }

    /// Makes the folder and marks it as ours.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        std::fs::write(self.path.join(MARK), "This folder belongs to a local Ripstop network.\n")
            .with_context(|| format!("cannot write into {}", self.path.display()))
    }

    /// Removes the folder if it is marked as ours. The mark goes last, so that what is left of
    /// an interrupted removal is still known to be ours.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.remove_all().with_context(|| format!("cannot remove {}", self.path.display()))
    }

    /// Removes what is in the folder, if it is marked as ours, but neither mark nor folder.
    pub(crate) fn clear_content(&self) -> anyhow::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.remove_content().with_context(|| format!("cannot remove what is in {}", self.path.display()))
    }

    fn remove_all(&self) -> std::io::Result<()> {
        self.remove_content()?;
        std::fs::remove_file(self.path.join(MARK))?;
        // The folder may be named by a link, which stays.
        std::fs::remove_dir(self.path.canonicalize()?)
    }

    fn remove_content(&self) -> std::io::Result<()> {
        let path = &self.path;
        match std::fs::remove_file(path.join(TOPOLOGY)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name() == MARK {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Holds back other commands that change what runs, until the returned file is dropped.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let cannot = || format!("cannot lock {}", self.path.display());
        let folder = File::open(&self.path).with_context(cannot)?;
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) => progress(&"waiting for another ripstop command in this folder"),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        folder.lock().with_context(cannot)?;
        Ok(folder)
    }

    /// The network this folder holds.
    pub(crate) fn topology(&self) -> anyhow::Result<Topology> {
        let path = self.path.join(TOPOLOGY);
        read_json(&path)?.with_context(|| {
            format!(
                "there is no network in {}: make one with `ripstop network up`, or name another folder with --dir",
                self.path.display()
            )
        })
    }

    /// Writes down what the network consists of; from then on it exists.
    pub(crate) fn write_topology(&self, topology: &Topology) -> anyhow::Result<()> {
        write_json(&self.path.join(TOPOLOGY), topology)
    }

    pub(crate) fn processes_file(&self) -> PathBuf {
        self.path.join("processes.json")
    }

    pub(crate) fn start_request(&self) -> PathBuf {
        self.path.join("start.json")
    }

    pub(crate) fn organizations(&self) -> PathBuf {
        self.path.join("organizations")
    }

    /// Where an organization's certificates and keys are.
    pub(crate) fn organization(&self, organization: &Organization) -> OrganizationFolders {
        OrganizationFolders::of(self.organizations(), OrganizationKind::Peers, &organization.domain)
    }

    /// Where the ordering organization's certificates and keys are.
    pub(crate) fn orderer_organization(&self) -> OrganizationFolders {
        OrganizationFolders::of(self.organizations(), OrganizationKind::Orderers, ORDERER_DOMAIN)
    }

    pub(crate) fn genesis_block(&self, channel: &str) -> PathBuf {
        self.path.join("channel-artifacts").join(format!("{channel}.block"))
    }

    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.path.join("nodes").join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }
}

/// Reads a JSON file; `None` when there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} was not written by this version", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a JSON file whole or not at all.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let making = path.with_extension("json.new");
    std::fs::write(&making, serde_json::to_vec_pretty(value)?)
        .and_then(|()| std::fs::rename(&making, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_alone() {
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("thesis.txt"), "dear").unwrap();
        let folder = Folder::new(other.path()).unwrap();
        let refused = folder.look().err().unwrap().to_string();
        assert!(refused.contains("holds other files"), "{refused}");
        folder.clear().unwrap();
        assert!(other.path().join("thesis.txt").exists());
    }

    #[test]
    fn an_unfinished_network_is_recognised_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(&parent.path().join("a network")).unwrap();
        assert!(matches!(folder.look().unwrap(), Found::Empty));
        folder.create().unwrap();
        assert!(matches!(folder.look().unwrap(), Found::Unfinished));
        folder.clear().unwrap();
        assert!(!folder.path().exists());
    }
}
