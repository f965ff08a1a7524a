//! One byte of one file is another: in blocks, their offsets, LevelDB's files, and the rest.
//!
//! `RIPSTOP_FLIPS` and `RIPSTOP_FLIP_SEED` set how many and which.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use ripstop_ledger::Ledger;

use super::{Answer, Outcome, answers, copy, files_below, make, options, outcome, outcome_of};
use crate::environment::{fast_folder, number, random};

const FLIPS: u64 = 300;
const SEED: u64 = 6;

/// How often each kind of file gave each outcome.
type Counts = BTreeMap<(String, Outcome), u64>;

#[test]
fn a_flipped_byte_in_any_file_never_gives_a_wrong_or_absent_value() {
    let folder = fast_folder();
    let whole = folder.path().join("whole");
    make(&whole, |_| {});
    let ledger = Ledger::open(&whole, options()).unwrap();
    let expected = answers(&ledger);
    drop(ledger);
    let files = files_below(&whole);

    let (flips, seed) = (number("RIPSTOP_FLIPS", FLIPS), number("RIPSTOP_FLIP_SEED", SEED));
    let mut rng = random(seed);
    let mut counts = Counts::new();
    for flip in 0..flips {
        let path = folder.path().join("image");
        copy(&whole, &path);
        let (file, offset) = choose(&files, &mut rng);
        let name = file.strip_prefix(&whole).unwrap();
        let place = format!("RIPSTOP_FLIP_SEED={seed}, flip {flip}, {} at {offset}", name.display());
        let outcome = flip_one(&path, &path.join(name), offset, rng.random_range(0..16), &expected, &place);
        *counts.entry((kind(name), outcome)).or_default() += 1;
        std::fs::remove_dir_all(&path).unwrap();
    }
    println!("{flips} flips: {counts:#?}");
    let count = |part: &str, outcome| counts.get(&(part.to_owned(), outcome)).copied().unwrap_or_default();
    if flips >= FLIPS {
        assert!(count("blocks", Outcome::Refused) > 0 && count("blocks", Outcome::Named) > 0, "{counts:?}");
        assert!(count("offsets", Outcome::Whole) > 0 && count("ldb", Outcome::Mended) > 0, "{counts:?}");
    }
}

/// Flips one bit, for every second choice only after the ledger was opened. LevelDB maps its
/// tables into memory and checks their indexes and filters only when it opens them, so a
/// change under an open table is not always noticed: tables are flipped before.
fn flip_one(path: &Path, file: &Path, offset: u64, choice: u8, expected: &[Answer], place: &str) -> Outcome {
    let flip = || {
        let file = OpenOptions::new().read(true).write(true).open(file);
        // LevelDB has given the file another name or removed it: there is nothing to flip.
        let Ok(file) = file else { return };
        let mut byte = [0];
        if file.read_at(&mut byte, offset).unwrap() == 1 {
            file.write_at(&[byte[0] ^ (1 << (choice / 2))], offset).unwrap();
        }
    };
    let is_table = file.extension().is_some_and(|extension| extension == "ldb");
    if is_table || choice.is_multiple_of(2) {
        flip();
        return outcome(path, expected, place);
    }
    let ledger = Ledger::open(path, options()).unwrap();
    flip();
    outcome_of(ledger, path, expected, place)
}

/// A file and a place in it: of half the flips every file is as likely as any other, of the
/// other half every byte.
fn choose(files: &[PathBuf], rng: &mut TestRng) -> (PathBuf, u64) {
    let sizes: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
    loop {
        let mut place = rng.random_range(0..sizes.iter().sum());
        let by_file = rng.random_range(0..files.len());
        if rng.random_bool(0.5) && sizes[by_file] > 0 {
            return (files[by_file].clone(), place % sizes[by_file]);
        }
        for (file, size) in files.iter().zip(&sizes) {
            if place < *size {
                return (file.clone(), place);
            }
            place -= size;
        }
    }
}

/// The ending of the file's name, or without one what stands before its number.
fn kind(name: &Path) -> String {
    let name = name.file_name().unwrap().to_string_lossy().into_owned();
    name.rsplit_once('.').map_or_else(|| name.split('-').next().unwrap_or(&name).to_owned(), |(_, end)| end.to_owned())
}
