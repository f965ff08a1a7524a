//! What a crash leaves of changes that were not synced.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) const SECTOR_BYTES: usize = 512;

/// What of the unsynced changes is found after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Everything that was written: the process ended, the machine went on.
    Written,
    /// Only what was synced: the power failed before anything else reached the disk.
    Synced,
    /// What was synced and, chosen by the seed, some sectors and some folder entries of the rest.
    Torn(u64),
    /// Names of everything that was written, and of the unsynced bytes any sectors, chosen by
    /// the seed, with zeros for the others: sectors reach the disk in any order.
    Reordered(u64),
    /// Entries and lengths of everything that was written, but zeros for unsynced bytes.
    Zeroed,
}

/// Names and what they stand for.
pub(super) type Entries = BTreeMap<PathBuf, Entry>;

/// A folder or the file with this id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Folder,
    File(u64),
}

/// What was written to a file, and what of it was synced.
#[derive(Default, Clone)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) durable: Vec<u8>,
}

impl Content {
    pub(super) fn surviving(&self, survival: Survival, chance: &mut Chance) -> Vec<u8> {
        let only_appended = self.bytes.starts_with(&self.durable);
        match survival {
            Survival::Written => self.bytes.clone(),
            Survival::Synced => self.durable.clone(),
            Survival::Zeroed if only_appended => {
                let mut bytes = self.durable.clone();
                bytes.resize(self.bytes.len(), 0);
                bytes
            }
            Survival::Torn(_) if only_appended => self.torn_tail(chance),
            Survival::Reordered(_) if only_appended => self.reordered_tail(chance),
            Survival::Torn(_) | Survival::Reordered(_) if self.bytes.len() == self.durable.len() => {
                self.torn_sectors(chance)
            }
            _ if chance.next().is_multiple_of(2) => self.durable.clone(),
            _ => self.bytes.clone(),
        }
    }

    /// Each sector that was written over is found old or new.
    fn torn_sectors(&self, chance: &mut Chance) -> Vec<u8> {
        let sectors = self.durable.chunks(SECTOR_BYTES).zip(self.bytes.chunks(SECTOR_BYTES));
        let surviving = sectors.map(|(old, new)| if old == new || chance.next().is_multiple_of(2) { old } else { new });
        surviving.flatten().copied().collect()
    }

    /// The unsynced tail up to the last sector that reached the disk, with zeros for those
    /// before it that did not. Sectors are those of the file.
    fn reordered_tail(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (index, sector) in self.bytes.chunks(SECTOR_BYTES).enumerate().skip(self.durable.len() / SECTOR_BYTES) {
            if chance.next().is_multiple_of(2) {
                let kept = self.durable.len().saturating_sub(index * SECTOR_BYTES);
                bytes.resize((index * SECTOR_BYTES).max(bytes.len()), 0);
                bytes.extend_from_slice(&sector[kept..]);
            }
        }
        bytes
    }

    fn torn_tail(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let tail = &self.bytes[self.durable.len()..];
        let kept = chance.next() as usize % (tail.len() + 1);
        for sector in tail[..kept].chunks(SECTOR_BYTES) {
            match chance.next().is_multiple_of(4) {
                true => bytes.resize(bytes.len() + sector.len(), 0),
                false => bytes.extend_from_slice(sector),
            }
        }
        bytes
    }
}

/// The names that are found after a crash.
pub(super) fn surviving_entries(
    written: &Entries,
    durable: &Entries,
    survival: Survival,
    chance: &mut Chance,
) -> Entries {
    match survival {
        Survival::Written | Survival::Zeroed | Survival::Reordered(_) => written.clone(),
        Survival::Synced => durable.clone(),
        Survival::Torn(_) => {
            let mut entries = durable.clone();
            let changed = written.iter().filter(|(path, entry)| durable.get(*path) != Some(*entry));
            for (path, entry) in changed {
                if chance.next().is_multiple_of(2) {
                    entries.insert(path.clone(), *entry);
                }
            }
            for path in durable.keys().filter(|path| !written.contains_key(*path)) {
                if chance.next().is_multiple_of(2) {
                    entries.remove(path);
                }
            }
            entries
        }
    }
}

/// A small deterministic sequence (SplitMix64): the same seed tears the same sectors.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
