//! Files on a disk.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, FileError, Files, Lock};

/// The file system of the machine. Content is synced with `fdatasync`, folders with `fsync`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn create_folder(&self, folder: &Path) -> Result<(), FileError> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        let above = folder.parent().unwrap_or(Path::new(""));
        self.create_folder(above)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(refused("create folder", folder, error)),
            _ => self.sync_folder(above),
        }
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), FileError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)
            .map_err(|error| refused("open folder", folder, error))?
            .sync_all()
            .map_err(|source| FileError::Fatal { operation: "sync folder", path: folder.to_owned(), source })
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, FileError> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| refused("list", folder, error))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| refused("list", folder, error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>, FileError> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| refused("open", path, error))?;
        Ok(Arc::new(DiskFile { file, path: path.to_owned() }))
    }

    fn open_existing(&self, path: &Path) -> Result<Option<Arc<dyn File>>, FileError> {
        match fs::OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused("open", path, error)),
            Ok(file) => Ok(Some(Arc::new(DiskFile { file, path: path.to_owned() }))),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        fs::rename(from, to).map_err(|error| refused("rename", from, error))
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refused("remove", path, error)),
            _ => Ok(()),
        }
    }

    fn lock(&self, path: &Path) -> Result<Lock, FileError> {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|error| refused("open", path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(Some(file))),
            Err(fs::TryLockError::WouldBlock) => Err(FileError::Locked { path: path.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(refused("lock", path, error)),
        }
    }
}

struct DiskFile {
    file: fs::File,
    path: PathBuf,
}

impl DiskFile {
    /// A change of content that failed: full disk, or anything else.
    fn changed(&self, operation: &'static str, source: io::Error) -> FileError {
        match is_full(&source) {
            true => FileError::NoSpace { operation, path: self.path.clone() },
            false => FileError::Fatal { operation, path: self.path.clone(), source },
        }
    }
}

impl File for DiskFile {
    fn append(&self, bytes: &[u8]) -> Result<(), FileError> {
        // Not opened for appending only, since writing at an offset would then append, too.
        let end = self.length()?;
        self.file.write_all_at(bytes, end).map_err(|error| self.changed("append to", error))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all_at(bytes, offset).map_err(|error| self.changed("write to", error))
    }

    fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(|source| FileError::Fatal { operation: "sync", path: self.path.clone(), source })
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(refused("read", &self.path, error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn truncate(&self, length: u64) -> Result<(), FileError> {
        self.file.set_len(length).map_err(|error| self.changed("truncate", error))
    }

    fn length(&self) -> Result<u64, FileError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|error| refused("look at", &self.path, error))
    }
}

fn refused(operation: &'static str, path: &Path, source: io::Error) -> FileError {
    match is_full(&source) {
        true => FileError::NoSpace { operation, path: path.to_owned() },
        false => FileError::Refused { operation, path: path.to_owned(), source },
    }
}

/// A limit on file sizes counts, too: nothing is lost, and it can be lifted.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_goes_to_the_end_and_writing_over_stays_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("log");
        DiskFiles.create_folder(path.parent().unwrap()).unwrap();
        let file = DiskFiles.open(&path).unwrap();
        file.append(b"0123").unwrap();
        file.write_at(1, b"xy").unwrap();
        file.append(b"45").unwrap();
        file.sync().unwrap();
        drop(file);
        let file = DiskFiles.open_existing(&path).unwrap().unwrap();
        file.append(b"6").unwrap();
        assert_eq!(file.read_at(0, 100).unwrap(), b"0xy3456");
        file.truncate(2).unwrap();
        file.append(b"z").unwrap();
        assert_eq!((file.read_at(1, 5).unwrap(), file.length().unwrap()), (b"xz".to_vec(), 3));
    }

    #[test]
    fn what_is_not_there_is_not_an_error_where_the_trait_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(DiskFiles.open_existing(&missing).unwrap().is_none());
        assert!(DiskFiles.list(&missing).unwrap().is_empty());
        DiskFiles.remove(&missing).unwrap();
        assert!(matches!(DiskFiles.rename(&missing, &missing), Err(FileError::Refused { .. })));
    }
}
