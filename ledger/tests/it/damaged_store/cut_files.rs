//! LevelDB's folder as it was at many points of a run, with files cut at any place or
//! removed, beside the blocks of the whole run: the answers are those of the whole run.
//!
//! `RIPSTOP_CUT_IMAGES` and `RIPSTOP_CUT_SEED` set how many and which.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::RngExt;
use ripstop_ledger::Ledger;

use super::{BLOCKS, Outcome, answers, copy, entries, make, options, outcome};
use crate::environment::{fast_folder, number, random};

const IMAGES: u64 = 60;
const SEED: u64 = 5;

#[test]
fn index_and_state_of_any_age_with_cut_or_missing_files_are_mended_from_the_blocks() {
    let folder = fast_folder();
    let whole = folder.path().join("whole");
    let age = |number: u64| folder.path().join(format!("derived at {number}"));
    make(&whole, |number| copy(&whole.join("derived"), &age(number)));
    let ledger = Ledger::open(&whole, options()).unwrap();
    let expected = answers(&ledger);
    drop(ledger);

    let (images, seed) = (number("RIPSTOP_CUT_IMAGES", IMAGES), number("RIPSTOP_CUT_SEED", SEED));
    let mut rng = random(seed);
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    for image in 0..images {
        let path = folder.path().join("image");
        copy(&whole.join("blocks"), &path.join("blocks"));
        let number = rng.random_range(1..=BLOCKS);
        copy(&age(number), &path.join("derived"));
        let mut place = format!("RIPSTOP_CUT_SEED={seed}, image {image}, of block {number}");
        for _ in 0..rng.random_range(0..4) {
            let files = entries(&path.join("derived"));
            let file = &files[rng.random_range(0..files.len())];
            let bytes = fs::read(file).unwrap();
            match rng.random_range(0..3) {
                0 => fs::remove_file(file).unwrap(),
                _ => fs::write(file, &bytes[..rng.random_range(0..=bytes.len())]).unwrap(),
            }
            place += &format!(", {}", file.file_name().unwrap().display());
        }
        let outcome = outcome(&path, &expected, &place);
        assert!(matches!(outcome, Outcome::Whole | Outcome::Mended), "{place}: {outcome:?}");
        *outcomes.entry(outcome).or_default() += 1;
        fs::remove_dir_all(&path).unwrap();
    }
    println!("{images} images: {outcomes:?}");
}

#[test]
fn a_missing_folder_of_index_and_state_is_built_again_from_the_blocks() {
    let folder = fast_folder();
    make(folder.path(), |_| {});
    let ledger = Ledger::open(folder.path(), options()).unwrap();
    let expected = answers(&ledger);
    assert!(expected.iter().all(Result::is_ok));
    drop(ledger);
    fs::remove_dir_all(folder.path().join("derived")).unwrap();
    assert_eq!(outcome(folder.path(), &expected, "no folder"), Outcome::Whole);
}
