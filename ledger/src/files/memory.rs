//! Files in memory that crash on demand.
//!
//! Every change counts as one operation. After [`MemoryFiles::crash_at`] the chosen
//! operation is cut short and all later ones fail, as for a process that is gone;
//! [`MemoryFiles::restart`] then gives what a disk may hold at the next start. Content
//! and folder entries are durable only once synced, each for itself, as POSIX says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::faults::{self, Fault, Faults};
use super::survival::{self, Chance, Content, Entries, Entry, Survival};
use super::{File, FileError, Files, Lock};

/// Files in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    contents: BTreeMap<u64, Content>,
    entries: Entries,
    durable_entries: Entries,
    next_id: u64,
    faults: Faults,
}

impl MemoryFiles {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changing operations there were: creations, appends, truncations, renames,
    /// removals and syncs.
    pub fn operations(&self) -> u64 {
        self.disk.lock().faults.operations
    }

    /// How many syncs of files and folders there were.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().faults.syncs
    }

    /// Crashes at operation `number`, counted from 1 over all of [`MemoryFiles::operations`].
    /// An append is then half done, any other operation not at all.
    pub fn crash_at(&self, number: u64) {
        self.disk.lock().faults.crash_at = Some(number);
    }

    /// Lets sync `number`, counted from 1 over all of [`MemoryFiles::syncs`], fail once.
    pub fn fail_sync(&self, number: u64) {
        self.disk.lock().faults.failing_sync = Some(number);
    }

    /// Lets operation `number`, counted as for [`MemoryFiles::crash_at`], fail once. An
    /// append is then half done, any other operation not at all; later ones succeed.
    pub fn fail_at(&self, number: u64, fault: Fault) {
        self.disk.lock().faults.failing_operation = Some((number, fault));
    }

    /// Lets sync `number` succeed without making anything durable, as a disk that lies.
    pub fn drop_sync(&self, number: u64) {
        self.disk.lock().faults.dropped_sync = Some(number);
    }

    /// Lets the disk be full once all files together hold this many bytes; `None` lifts it.
    pub fn set_capacity_bytes(&self, capacity: Option<u64>) {
        self.disk.lock().faults.capacity_bytes = capacity;
    }

    /// Changes one byte of a file, also in its durable content. Says whether there is such a byte.
    pub fn flip_byte(&self, path: &Path, offset: usize) -> bool {
        let mut disk = self.disk.lock();
        let Some(Entry::File(id)) = disk.entries.get(path).copied() else { return false };
        let content = disk.contents.entry(id).or_default();
        for bytes in [&mut content.durable, &mut content.bytes] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 0x40;
            }
        }
        offset < content.bytes.len()
    }

    /// The disk as found at the next start. The files handed out so far stay with the old one.
    pub fn restart(&self, survival: Survival) -> Self {
        let old = self.disk.lock();
        let seed = match survival {
            Survival::Torn(seed) | Survival::Reordered(seed) => seed,
            _ => 0,
        };
        let mut chance = Chance(seed);
        let entries = survival::surviving_entries(&old.entries, &old.durable_entries, survival, &mut chance);
        let mut contents = BTreeMap::new();
        for entry in entries.values() {
            if let Entry::File(id) = entry {
                let bytes = old.contents.get(id).map(|content| content.surviving(survival, &mut chance));
                let bytes = bytes.unwrap_or_default();
                contents.insert(*id, Content { durable: bytes.clone(), bytes });
            }
        }
        let durable_entries = entries.clone();
        let next_id = old.next_id;
        Self { disk: Arc::new(Mutex::new(Disk { contents, entries, durable_entries, next_id, ..Disk::default() })) }
    }
}

impl Disk {
    fn file_id(&self, path: &Path) -> Option<u64> {
        match self.entries.get(path) {
            Some(Entry::File(id)) => Some(*id),
            _ => None,
        }
    }

    fn free_bytes(&self) -> usize {
        let used: u64 = self.contents.values().map(|content| content.bytes.len() as u64).sum();
        self.faults.capacity_bytes.map_or(usize::MAX, |capacity| capacity.saturating_sub(used) as usize)
    }
}

impl Files for MemoryFiles {
    fn create_folder(&self, folder: &Path) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        for folder in folder.ancestors() {
            if folder.as_os_str().is_empty() || disk.entries.contains_key(folder) {
                break;
            }
            disk.faults.begin("create folder", folder)?;
            disk.entries.insert(folder.to_owned(), Entry::Folder);
            disk.durable_entries.insert(folder.to_owned(), Entry::Folder);
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        if !disk.faults.begin_sync("sync folder", folder)? {
            return Ok(());
        }
        let inside: Vec<(PathBuf, Entry)> = disk
            .entries
            .iter()
            .filter(|(path, _)| path.parent() == Some(folder))
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        disk.durable_entries.retain(|path, _| path.parent() != Some(folder));
        disk.durable_entries.extend(inside);
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<String>, FileError> {
        let disk = self.disk.lock();
        disk.faults.alive("list", folder)?;
        let inside = disk.entries.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>, FileError> {
        if let Some(file) = self.open_existing(path)? {
            return Ok(file);
        }
        let mut disk = self.disk.lock();
        disk.faults.begin("create", path)?;
        let id = disk.next_id;
        disk.next_id += 1;
        disk.contents.insert(id, Content::default());
        disk.entries.insert(path.to_owned(), Entry::File(id));
        Ok(self.handle(path, id))
    }

    fn open_existing(&self, path: &Path) -> Result<Option<Arc<dyn File>>, FileError> {
        let disk = self.disk.lock();
        disk.faults.alive("open", path)?;
        Ok(disk.file_id(path).map(|id| self.handle(path, id)))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        disk.faults.begin("rename", from)?;
        let moved: Vec<PathBuf> = disk.entries.keys().filter(|path| path.starts_with(from)).cloned().collect();
        if moved.is_empty() {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(FileError::Refused { operation: "rename", path: from.to_owned(), source });
        }
        for path in moved {
            let below = path.strip_prefix(from).unwrap_or(Path::new(""));
            let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            if let Some(entry) = disk.entries.remove(&path) {
                disk.entries.insert(target, entry);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        disk.faults.begin("remove", path)?;
        disk.entries.remove(path);
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Lock, FileError> {
        self.disk.lock().faults.alive("lock", path)?;
        Ok(Lock(None))
    }
}

impl MemoryFiles {
    fn handle(&self, path: &Path, id: u64) -> Arc<dyn File> {
        Arc::new(MemoryFile { disk: Arc::clone(&self.disk), id, path: path.to_owned() })
    }
}

struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    id: u64,
    path: PathBuf,
}

impl MemoryFile {
    fn extend(&self, disk: &mut Disk, bytes: &[u8]) {
        disk.contents.entry(self.id).or_default().bytes.extend_from_slice(bytes);
    }
}

impl File for MemoryFile {
    fn append(&self, bytes: &[u8]) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        let was_alive = !disk.faults.crashed;
        if let Err(error) = disk.faults.begin("append to", &self.path) {
            if was_alive {
                self.extend(&mut disk, &bytes[..bytes.len() / 2]);
            }
            return Err(error);
        }
        let fitting = bytes.len().min(disk.free_bytes());
        self.extend(&mut disk, &bytes[..fitting]);
        match fitting < bytes.len() {
            true => Err(FileError::NoSpace { operation: "append to", path: self.path.clone() }),
            false => Ok(()),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        let was_alive = !disk.faults.crashed;
        let begun = disk.faults.begin("write to", &self.path);
        let written = match (&begun, was_alive) {
            (Ok(()), _) => bytes,
            (Err(_), true) => &bytes[..bytes.len() / 2],
            (Err(_), false) => &[],
        };
        let content = disk.contents.entry(self.id).or_default();
        match content.bytes.get_mut(offset as usize..offset as usize + written.len()) {
            Some(place) => place.copy_from_slice(written),
            None => return Err(faults::fatal("write to", &self.path, "the bytes lie beyond the end of the file")),
        }
        begun
    }

    fn sync(&self) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        if disk.faults.begin_sync("sync", &self.path)? {
            let content = disk.contents.entry(self.id).or_default();
            content.durable.clone_from(&content.bytes);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, FileError> {
        let disk = self.disk.lock();
        disk.faults.alive("read", &self.path)?;
        let bytes = disk.contents.get(&self.id).map_or(&[][..], |content| &content.bytes);
        let start = bytes.len().min(offset as usize);
        Ok(bytes[start..bytes.len().min(start + length)].to_vec())
    }

    fn truncate(&self, length: u64) -> Result<(), FileError> {
        let mut disk = self.disk.lock();
        disk.faults.begin("truncate", &self.path)?;
        disk.contents.entry(self.id).or_default().bytes.resize(length as usize, 0);
        Ok(())
    }

    fn length(&self) -> Result<u64, FileError> {
        let disk = self.disk.lock();
        disk.faults.alive("look at", &self.path)?;
        Ok(disk.contents.get(&self.id).map_or(0, |content| content.bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::survival::SECTOR_BYTES;

    fn written(files: &MemoryFiles, path: &str) -> Option<Vec<u8>> {
        let file = files.open_existing(Path::new(path)).unwrap()?;
        Some(file.read_at(0, 10_000).unwrap())
    }

    #[test]
    fn bytes_written_over_are_torn_by_the_sector() {
        let files = MemoryFiles::new();
        let file = files.open(Path::new("log")).unwrap();
        file.append(&[1; 4 * SECTOR_BYTES]).unwrap();
        file.sync().unwrap();
        files.sync_folder(Path::new("")).unwrap();
        file.write_at(SECTOR_BYTES as u64, &[2; 2 * SECTOR_BYTES]).unwrap();
        assert!(file.write_at(3 * SECTOR_BYTES as u64, &[2; SECTOR_BYTES + 1]).is_err(), "beyond the end");

        let after = |survival| written(&files.restart(survival), "log").unwrap();
        assert_eq!(after(Survival::Synced), [1; 4 * SECTOR_BYTES]);
        assert_eq!(after(Survival::Written)[SECTOR_BYTES..3 * SECTOR_BYTES], [2; 2 * SECTOR_BYTES]);
        let torn: std::collections::BTreeSet<Vec<u8>> = (0..40)
            .map(|seed| after(Survival::Torn(seed)).chunks(SECTOR_BYTES).map(|sector| sector[0]).collect())
            .collect();
        assert_eq!(torn.into_iter().collect::<Vec<_>>(), [[1, 1, 1, 1], [1, 1, 2, 1], [1, 2, 1, 1], [1, 2, 2, 1]]);
    }

    #[test]
    fn unsynced_bytes_and_entries_are_lost_when_the_power_fails() {
        let files = MemoryFiles::new();
        files.create_folder(Path::new("log")).unwrap();
        let kept = files.open(Path::new("log/kept")).unwrap();
        kept.append(b"synced").unwrap();
        kept.sync().unwrap();
        files.sync_folder(Path::new("log")).unwrap();
        kept.append(b" not").unwrap();
        let lost = files.open(Path::new("log/lost")).unwrap();
        lost.append(b"x").unwrap();
        lost.sync().unwrap();

        let after = files.restart(Survival::Synced);
        assert_eq!(written(&after, "log/kept").unwrap(), b"synced");
        assert_eq!(written(&after, "log/lost"), None);
        let after = files.restart(Survival::Written);
        assert_eq!(written(&after, "log/kept").unwrap(), b"synced not");
        assert_eq!(written(&after, "log/lost").unwrap(), b"x");
        let after = files.restart(Survival::Zeroed);
        assert_eq!(written(&after, "log/kept").unwrap(), b"synced\0\0\0\0");
    }

    #[test]
    fn after_a_crash_nothing_works_until_the_restart() {
        let files = MemoryFiles::new();
        let file = files.open(Path::new("a")).unwrap();
        files.crash_at(2);
        assert!(file.append(b"1234").unwrap_err().must_end());
        assert!(file.sync().is_err());
        assert!(file.read_at(0, 1).is_err());
        let after = files.restart(Survival::Written);
        assert_eq!(written(&after, "a").unwrap(), b"12", "the append was half done");
    }

    #[test]
    fn torn_sectors_are_the_same_for_the_same_seed() {
        let files = MemoryFiles::new();
        let file = files.open(Path::new("a")).unwrap();
        file.sync().unwrap();
        files.sync_folder(Path::new("")).unwrap();
        file.append(&[7; 5000]).unwrap();
        let images: Vec<_> = (0..20).map(|seed| written(&files.restart(Survival::Torn(seed)), "a").unwrap()).collect();
        let again: Vec<_> = (0..20).map(|seed| written(&files.restart(Survival::Torn(seed)), "a").unwrap()).collect();
        assert_eq!(images, again);
        assert!(images.iter().any(|image| image.contains(&0) && image.contains(&7)));
    }
}
