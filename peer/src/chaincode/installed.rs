//! The packages installed on this peer, one file each, named by label and hash.
//!
//! ```text
//! <folder>/<label>.<64 hex digits>.tar.gz      the package, byte for byte
//! ```
//! A file appears under its name only after its bytes are on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use prost::Message;
use ripstop_proto::hash::{Hash, sha256};
use ripstop_proto::lifecycle::StateData;
use ripstop_proto::lifecycle::state_data::Type as Value;

use super::package::{Package, PackageError, check_label, package_id};

const SUFFIX: &str = ".tar.gz";
const HASH_DIGITS: usize = 64;

/// Why a package is not installed or cannot be read again.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The package itself is at fault.
    #[error("could not parse as a chaincode install package: {0}")]
    Package(#[from] PackageError),
    /// The same bytes are installed already.
    #[error("chaincode already successfully installed (package ID '{0}')")]
    AlreadyInstalled(String),
    /// No such package here.
    #[error("chaincode install package '{0}' not found")]
    NotFound(String),
    /// The file on disk is no longer what was installed.
    #[error("the file of chaincode package '{0}' was altered on disk: remove it and install the package again")]
    Altered(String),
    /// The disk.
    #[error("{path}: {cause}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// A package's id and label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstalledPackage {
    /// `label:hash`.
    pub package_id: String,
    /// The label alone.
    pub label: String,
}

/// All packages of this peer.
#[derive(Debug)]
pub struct InstalledPackages {
    folder: PathBuf,
    /// By the hash that an approval of the package leaves in state.
    packages: RwLock<BTreeMap<Hash, InstalledPackage>>,
    generation: AtomicU64,
    installing: Mutex<()>,
}

impl InstalledPackages {
    /// Opens the folder, which is made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, InstallError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|cause| disk(&folder, cause))?;
        let mut packages = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(|cause| disk(&folder, cause))? {
            let entry = entry.map_err(|cause| disk(&folder, cause))?;
            if let Some(package) = entry.file_name().to_str().and_then(from_file_name) {
                packages.insert(approval_hash(&package.package_id), package);
            }
        }
        Ok(Self { folder, packages: RwLock::new(packages), generation: AtomicU64::new(0), installing: Mutex::new(()) })
    }

    /// Stores a package for good: when this returns, its bytes are synced.
    ///
    /// # Errors
    /// When the package is malformed or installed already, or the disk fails.
    pub fn install(&self, bytes: &[u8]) -> Result<InstalledPackage, InstallError> {
        let label = Package::parse(bytes)?.metadata.label;
        let package = InstalledPackage { package_id: package_id(&label, bytes), label };
        let _one_at_a_time = self.installing.lock();
        let hash = approval_hash(&package.package_id);
        if self.packages.read().contains_key(&hash) {
            return Err(InstallError::AlreadyInstalled(package.package_id));
        }
        write_synced(&self.folder, &file_name(&package.package_id), bytes)?;
        self.packages.write().insert(hash, package.clone());
        self.generation.fetch_add(1, Ordering::Release);
        Ok(package)
    }

    /// Counts installations, so that answers derived from the list can be kept.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// All packages, by label and hash.
    pub fn list(&self) -> Vec<InstalledPackage> {
        let mut packages: Vec<_> = self.packages.read().values().cloned().collect();
        packages.sort();
        packages
    }

    /// The package of this id.
    pub fn get(&self, package_id: &str) -> Option<InstalledPackage> {
        self.by_approval_hash(&approval_hash(package_id))
    }

    /// The package whose id an organization approved, found by the hash of that approval.
    pub fn by_approval_hash(&self, hash: &Hash) -> Option<InstalledPackage> {
        self.packages.read().get(hash).cloned()
    }

    /// The bytes of an installed package.
    ///
    /// # Errors
    /// When it is not installed, was altered on disk, or the disk fails.
    pub fn load(&self, package_id: &str) -> Result<Bytes, InstallError> {
        let package = self.get(package_id).ok_or_else(|| InstallError::NotFound(package_id.to_owned()))?;
        let path = self.folder.join(file_name(package_id));
        let bytes = fs::read(&path).map_err(|cause| disk(&path, cause))?;
        if super::package::package_id(&package.label, &bytes) != package_id {
            return Err(InstallError::Altered(package_id.to_owned()));
        }
        Ok(bytes.into())
    }
}

/// The hash that stands in `_lifecycle` for an approved package id.
fn approval_hash(package_id: &str) -> Hash {
    let data = StateData { r#type: Some(Value::String(package_id.to_owned())) };
    sha256(&[&data.encode_to_vec()])
}

fn file_name(package_id: &str) -> String {
    format!("{}{SUFFIX}", package_id.replacen(':', ".", 1))
}

fn from_file_name(name: &str) -> Option<InstalledPackage> {
    let (label, hash) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if hash.len() != HASH_DIGITS || !hash.bytes().all(is_digit) || check_label(label).is_err() {
        return None;
    }
    Some(InstalledPackage { package_id: format!("{label}:{hash}"), label: label.to_owned() })
}

fn write_synced(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), InstallError> {
    let unfinished = folder.join("installing.tmp");
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(name))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|cause| disk(&unfinished, cause))
}

fn disk(path: &Path, cause: std::io::Error) -> InstallError {
    InstallError::Disk { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::super::package::tests::archive;
    use super::*;

    #[test]
    fn an_installed_package_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = archive(&[("metadata.json", br#"{"type":"ccaas","label":"a.b_1"}"#), ("code.tar.gz", b"code")]);
        let packages = InstalledPackages::open(folder.path()).unwrap();
        let installed = packages.install(&bytes).unwrap();
        assert_eq!(packages.generation(), 1);
        let again = packages.install(&bytes).unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("chaincode already successfully installed (package ID '{}')", installed.package_id)
        );
        let reopened = InstalledPackages::open(folder.path()).unwrap();
        assert_eq!(reopened.list(), vec![installed.clone()]);
        assert_eq!(reopened.load(&installed.package_id).unwrap(), bytes);
        assert_eq!(reopened.by_approval_hash(&approval_hash(&installed.package_id)), Some(installed));
    }

    #[test]
    fn an_altered_file_is_noticed_when_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = archive(&[("metadata.json", br#"{"type":"ccaas","label":"a"}"#), ("code.tar.gz", b"code")]);
        let packages = InstalledPackages::open(folder.path()).unwrap();
        let installed = packages.install(&bytes).unwrap();
        fs::write(folder.path().join(file_name(&installed.package_id)), b"other").unwrap();
        assert!(matches!(packages.load(&installed.package_id), Err(InstallError::Altered(_))));
        assert!(matches!(packages.load("b:00"), Err(InstallError::NotFound(_))));
    }

    #[test]
    fn other_files_in_the_folder_are_not_packages() {
        assert_eq!(from_file_name("installing.tmp"), None);
        assert_eq!(from_file_name("basic.1234.tar.gz"), None);
        let hash = "0".repeat(64);
        assert_eq!(from_file_name(&format!("basic.{hash}.tar.gz")).unwrap().package_id, format!("basic:{hash}"));
        assert_eq!(from_file_name(&format!("..{hash}.tar.gz")), None);
    }
}
