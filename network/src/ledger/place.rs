//! Which ledger is meant by a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::cli::Place;

/// A ledger's folder holds this one, with the segments of the chain in it.
const BLOCKS: &str = "blocks";
/// From a network's folder down to a ledger's: `nodes/NAME/data/channels/CHANNEL`.
const DEPTH_MAX: usize = 5;

impl Place {
    /// The one ledger in the folder.
    ///
    /// # Errors
    /// When there is none, or more than one, which are named then.
    pub(crate) fn ledger(&self) -> anyhow::Result<PathBuf> {
        let folder = &self.folder;
        let about = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
        if !about.is_dir() {
            bail!("{} is a file: name the folder of a ledger, of a node or of a network", folder.display());
        }
        let mut found = Vec::new();
        gather(folder, DEPTH_MAX, &mut found)?;
        found.sort();
        match &found[..] {
            [ledger] => Ok(ledger.clone()),
            [] => bail!(
                "{} holds no ledger: name the folder of a ledger (with {BLOCKS}/ in it), of a node or of a network",
                folder.display()
            ),
            several => {
                let lines: String = several.iter().map(|ledger| format!("\n  {}", ledger.display())).collect();
                bail!("{} holds {} ledgers, name one of them:{lines}", folder.display(), several.len())
            }
        }
    }
}

/// Adds the ledgers in and below `folder`. Links are not followed.
fn gather(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if is_ledger(folder) {
        found.push(folder.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if entry.file_type().with_context(unreadable)?.is_dir() {
            gather(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

fn is_ledger(folder: &Path) -> bool {
    let is_segment = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "blocks");
    fs::read_dir(folder.join(BLOCKS)).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_segment)))
}

/// Requires a folder that is not there yet, or empty.
pub(super) fn require_unused(folder: &Path, option: &str) -> anyhow::Result<()> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot use {} as a folder", folder.display())),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("{} is not empty: name a new or empty folder with {option}", folder.display()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ledgers(places: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for place in places {
            let blocks = folder.path().join(place).join(BLOCKS);
            fs::create_dir_all(&blocks).unwrap();
            fs::write(blocks.join("000000000000.blocks"), "").unwrap();
        }
        folder
    }

    fn ledger(folder: PathBuf) -> anyhow::Result<PathBuf> {
        Place { folder }.ledger()
    }

    #[test]
    fn a_ledger_is_found_in_its_own_folder_in_a_node_s_and_in_a_network_s() {
        let place = "nodes/peer0/data/channels/mychannel";
        let folder = with_ledgers(&[place]);
        for asked in ["", "nodes", "nodes/peer0", place] {
            let asked = folder.path().join(asked);
            assert_eq!(ledger(asked).unwrap(), folder.path().join(place));
        }
    }

    #[test]
    fn of_several_ledgers_one_has_to_be_named() {
        let folder = with_ledgers(&["nodes/a/data/channels/x", "nodes/b/data/channels/x", "nodes/b/data/channels/y"]);
        let told = ledger(folder.path().to_owned()).unwrap_err().to_string();
        assert!(told.contains("holds 3 ledgers") && told.contains("b/data/channels/y"), "{told}");
        ledger(folder.path().join("nodes/a")).unwrap();
    }

    #[test]
    fn a_folder_without_ledger_a_file_and_nothing_are_told_apart() {
        let folder = with_ledgers(&[]);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (asked, told) in [
            (folder.path().to_owned(), "holds no ledger"),
            (file, "is a file"),
            (folder.path().join("missing"), "cannot look at"),
        ] {
            let error = format!("{:#}", ledger(asked).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
