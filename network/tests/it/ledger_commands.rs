//! `ripstop ledger …` on the chains of a real Fabric peer, and on files that are no chains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ripstop_ledger::{Ledger, Options};
use serde_json::{Value, json};

use crate::network::{RIPSTOP, text};

/// A folder with the block files of the real chains in it.
struct Chains {
    folder: tempfile::TempDir,
}

impl Chains {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["lifecycle", "mixed"] {
            fs::write(folder.path().join(name), chain(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Runs a command in this folder.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(RIPSTOP).current_dir(self.folder.path()).arg("ledger").args(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} was not refused: {}", text(&output.stdout));
        let told = text(&output.stderr);
        assert!(told.starts_with("ripstop: ") && !told.contains("panicked"), "{told}");
        told
    }

    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(arguments);
        let stdout = text(&output.stdout);
        let value = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}\n{stdout}\n{}", text(&output.stderr));
        });
        (value, output.status.code())
    }
}

fn chain(name: &str) -> Vec<u8> {
    let path = format!("{}/../ledger/testdata/fabric-chain/{name}.blockfile.zst", env!("CARGO_MANIFEST_DIR"));
    zstd::decode_all(fs::File::open(path).unwrap()).unwrap()
}

fn rows(folder: &Path, namespace: &str) -> Vec<(String, ripstop_ledger::VersionedValue)> {
    let ledger = Ledger::open(folder, Options::default()).unwrap();
    ledger.state().range(namespace, "", "").map(Result::unwrap).collect()
}

#[test]
fn the_whole_pipeline_gives_every_code_and_commit_hash_of_a_real_chain() {
    let chains = Chains::new();
    let (mut told, code) = chains.json(&["import", "--fabric", "lifecycle", "--dir", "ledger", "--json"]);
    let root = told["state_root"].take();
    assert_eq!(root.as_str().unwrap().len(), 64, "{root}");
    let expected = json!({
        "channel": "ch1", "blocks": 8, "transactions": 8, "codes": { "VALID": 8 },
        "codes_equal": true, "commit_hashes": 7, "commit_hashes_equal": true,
        "state_root": null, "first_difference": null,
    });
    assert_eq!((told, code), (expected, Some(0)));
    chains.ok(&["verify", "ledger"]);
}

#[test]
fn with_trusted_codes_every_conflict_and_commit_hash_of_a_real_chain_is_computed_again() {
    let chains = Chains::new();
    let import = ["import", "--fabric", "mixed", "--dir", "ledger", "--trust-codes", "--json"];
    let (told, code) = chains.json(&import);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        told["codes"],
        json!({
            "ENDORSEMENT_POLICY_FAILURE": 70, "MVCC_READ_CONFLICT": 172, "PHANTOM_READ_CONFLICT": 263, "VALID": 1_491,
        })
    );
    assert_eq!(
        (&told["blocks"], &told["transactions"], &told["commit_hashes"]),
        (&json!(117), &json!(1_996), &json!(116))
    );
    assert_eq!((&told["codes_equal"], &told["commit_hashes_equal"]), (&json!(true), &json!(true)));
    assert_eq!((&told["first_difference"], told["state_root"].as_str().unwrap().len()), (&Value::Null, 64));
    assert!(chains.refused(&import).contains("is not empty"));

    let state = rows(&chains.path("ledger"), "bench");
    assert!(state.len() > 100);
    let (verified, _) = chains.json(&["verify", "ledger", "--json"]);
    assert_eq!((&verified["blocks"], &verified["derived"]["state"]), (&json!(117), &json!("equal")));
    assert!(chains.ok(&["rebuild", "ledger"]).contains("117 blocks"));
    assert_eq!(rows(&chains.path("ledger"), "bench"), state);

    chains.ok(&["export", "ledger", "--output", "chain"]);
    assert!(fs::read(chains.path("chain/blockfile_000000")).unwrap() == chain("mixed"), "the export differs");
    chains.ok(&["import", "--fabric", "chain/blockfile_000000", "--dir", "again", "--trust-codes"]);
    assert_eq!(rows(&chains.path("again"), "bench"), state);
    assert!(chains.refused(&["export", "ledger", "--output", "chain"]).contains("--output"));
}

#[test]
fn a_chain_may_come_in_several_files() {
    let chains = Chains::new();
    let whole = chain("mixed");
    let mut file = ripstop_proto::block_file::BlockFile::new(&whole[..]);
    (0..50).for_each(|_| drop(file.next_block().unwrap()));
    let (first, second) = whole.split_at(file.offset() as usize);
    chains.file("blockfile_000000", first);
    chains.file("blockfile_000001", second);
    let both = ["import", "--fabric", "blockfile_000000", "blockfile_000001", "--dir", "a", "--trust-codes"];
    assert!(chains.ok(&both).contains("117 with 1996 transactions"));
    let reversed = ["import", "--fabric", "blockfile_000001", "blockfile_000000", "--dir", "b", "--trust-codes"];
    assert!(chains.refused(&reversed).contains("begin with block 50"));
    let gap = ["import", "--fabric", "blockfile_000000", "--fabric", "blockfile_000000", "--dir", "c", "--trust-codes"];
    let told = chains.refused(&gap);
    assert!(
        told.contains("does not follow")
            && told.contains("stopped at block 50, those before are in c: blockfile_000000, the block at offset 0"),
        "{told}"
    );
}

#[test]
fn what_differs_is_counted_the_first_is_named_and_the_exit_code_is_1() {
    let chains = Chains::new();
    let mut altered = chain("mixed");
    let mut file = ripstop_proto::block_file::BlockFile::new(&altered[..]);
    // The stored codes stand in the metadata, after everything that is hashed or signed.
    let (number, conflict, place) = loop {
        let block = file.next_block().unwrap().unwrap();
        let codes = block.metadata.unwrap().metadata[2].clone();
        if let Some(conflict) = codes.iter().position(|code| *code == 11) {
            let end = file.offset() as usize;
            let begin = altered[..end].windows(codes.len()).rposition(|window| window == codes).unwrap();
            break (block.header.unwrap().number, conflict, begin + conflict);
        }
    };
    altered[place] = 12;
    chains.file("altered", &altered);
    let (told, code) = chains.json(&["import", "--fabric", "altered", "--dir", "ledger", "--trust-codes", "--json"]);
    assert_eq!((&told["codes_equal"], &told["commit_hashes_equal"], code), (&json!(false), &json!(true), Some(1)));
    let first = json!({
        "block": number, "tx_index": conflict, "ours": "MVCC_READ_CONFLICT", "theirs": "PHANTOM_READ_CONFLICT",
    });
    assert_eq!(told["first_difference"], first);
    let output = chains.run(&["import", "--fabric", "altered", "--dir", "other", "--trust-codes"]);
    let shown = text(&output.stdout);
    assert!(shown.contains("1 of 1996 DIFFER") && shown.contains("first          transaction"), "{shown}");
}

#[test]
fn hostile_files_are_refused_with_file_and_offset() {
    let chains = Chains::new();
    let whole = chain("mixed");
    chains.file("empty", b"");
    chains.file("torn", &whole[..whole.len() - 1]);
    chains.file("huge", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    chains.file("counts", &[4, 0, 0, 0, 100]);
    chains.file("text", b"#!/bin/sh\necho this is no chain\n");
    chains.file("zeros", &[0; 4096]);
    fs::create_dir(chains.path("folder")).unwrap();
    for (index, (name, told)) in [
        ("empty", "there is no block"),
        ("torn", "1 of its"),
        ("huge", "at offset 0 a record of"),
        ("counts", "offset 0 is no block"),
        ("text", "offset 0"),
        ("zeros", "offset 0 is no block"),
        ("folder", "folder/blockfile_*"),
        ("missing", "cannot read missing"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = format!("ledger-{index}");
        for trust in [&["--trust-codes"][..], &[]] {
            let arguments = [&["import", "--fabric", name, "--dir", &dir][..], trust].concat();
            if name == "torn" && trust.is_empty() {
                continue; // Much is computed before the end is seen.
            }
            let error = chains.refused(&arguments);
            assert!(error.contains(told), "{name}: {error}");
            let is_whole = name == "torn" && error.contains("stopped at block 116, those before are in");
            assert!(is_whole || !chains.path(&dir).exists(), "{name}: {error}");
        }
    }
}

#[test]
fn a_flipped_byte_is_refused_or_told_as_a_difference_and_never_believed() {
    let chains = Chains::new();
    let whole = chain("lifecycle");
    for (index, place) in (0..whole.len()).step_by(whole.len() / 12).enumerate() {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        chains.file("flipped", &flipped);
        for trust in [&[][..], &["--trust-codes"]] {
            let dir = format!("ledger-{index}-{}", trust.len());
            let arguments = [&["import", "--fabric", "flipped", "--dir", &dir][..], trust].concat();
            let output = chains.run(&arguments);
            let shown = text(&output.stdout) + &text(&output.stderr);
            assert!(!shown.contains("panicked"), "byte {place}: {shown}");
            // Only metadata that nothing covers may be another: the orderer's signatures, when
            // codes are trusted.
            assert!(output.status.code() == Some(1) || !trust.is_empty(), "byte {place}: {shown}");
        }
    }
}

#[test]
fn folders_without_ledger_and_wrong_usage_are_told() {
    let chains = Chains::new();
    for command in ["verify", "rebuild", "export"] {
        assert!(chains.refused(&[command, "."]).contains("holds no ledger"), "{command}");
        assert!(chains.refused(&[command, "lifecycle"]).contains("is a file"), "{command}");
        assert!(chains.refused(&[command, "nowhere"]).contains("cannot look at nowhere"), "{command}");
        assert_eq!(chains.run(&[command]).status.code(), Some(2), "{command}");
    }
    for wrong in [&["import"][..], &["import", "--fabric", "lifecycle"], &["import", "--dir", "x"], &["sideways"], &[]]
    {
        assert_eq!(chains.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_damaged_block_is_told_with_its_place() {
    let chains = Chains::new();
    chains.ok(&["import", "--fabric", "lifecycle", "--dir", "ledger", "--trust-codes"]);
    let segment = chains.path("ledger/blocks/000000000000.blocks");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for command in ["verify", "rebuild", "export"] {
        let told = chains.refused(&[command, "ledger"]);
        assert!(told.contains("000000000000.blocks is damaged at offset"), "{command}: {told}");
    }
}
