//! Blocks and transactions as the program prints them: of a running network, and of chains that
//! a real Fabric peer wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::block::{data_hash, header_hash};
use ripstop_proto::common::{Block, BlockHeader};
use serde_json::Value;

use crate::network::{Network, RIPSTOP, repository, text};

/// The block file of a chain, unpacked into `folder`.
fn unpacked(folder: &Path, chain: &str) -> PathBuf {
    let packed = repository().join(format!("ledger/testdata/fabric-chain/{chain}.blockfile.zst"));
    let path = folder.join(format!("{chain} blockfile_000000"));
    std::fs::write(&path, zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap()).unwrap();
    path
}

fn decode(path: &Path, more: &[&str]) -> std::process::Output {
    std::process::Command::new(RIPSTOP).args(["block", "decode"]).arg(path).args(more).output().unwrap()
}

fn decoded(path: &Path) -> Value {
    let output = decode(path, &["--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn each<'a>(value: &'a Value, list: &str) -> &'a Vec<Value> {
    value[list].as_array().unwrap()
}

#[test]
fn real_chains_are_decoded_and_everything_that_can_be_recomputed_is_equal() {
    let folder = tempfile::tempdir().unwrap();
    let codes_of = |chain: &str, count: usize| {
        let decoded = decoded(&unpacked(folder.path(), chain));
        assert_eq!((decoded["count"].as_u64(), &decoded["error"]), (Some(count as u64), &Value::Null));
        let blocks = each(&decoded, "blocks");
        assert_eq!(blocks.len(), count);
        let mut codes: BTreeMap<String, usize> = BTreeMap::new();
        for (number, block) in blocks.iter().enumerate() {
            assert_eq!(block["number"], number);
            assert_eq!(block["data_hash_matches"], true, "block {number}");
            if number > 0 {
                assert_eq!(block["previous_hash_matches"], true, "block {number}");
                assert_eq!(block["previous_hash"], blocks[number - 1]["hash"]);
                assert_eq!(block["commit_hash"].as_str().unwrap().len(), 64);
                assert_eq!(each(block, "signatures").len(), 1);
            }
            assert!(each(block, "signatures").iter().all(|it| it["verified"] == true && it["msp_id"] == "OrdererMSP"));
            for transaction in each(block, "transactions") {
                assert_eq!(transaction["tx_id_matches"], true, "{transaction}");
                assert!(transaction["undecodable"].is_null(), "{transaction}");
                *codes.entry(transaction["code"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        (codes, decoded)
    };
    let (codes, lifecycle) = codes_of("lifecycle", 8);
    assert_eq!(codes, BTreeMap::from([("VALID".to_owned(), 8)]));
    let (codes, mixed) = codes_of("mixed", 117);
    let expected = [
        ("ENDORSEMENT_POLICY_FAILURE", 70),
        ("MVCC_READ_CONFLICT", 172),
        ("PHANTOM_READ_CONFLICT", 263),
        ("VALID", 1491),
    ];
    assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)).into());
    the_configuration_is_opened(&lifecycle["blocks"][0]);
    read_and_write_sets_are_counted(&mixed);
}

fn the_configuration_is_opened(genesis: &Value) {
    let channel = &genesis["transactions"][0]["configuration"]["channel_group"];
    let orderer = &channel["groups"]["Orderer"];
    assert_eq!(orderer["values"]["ConsensusType"]["value"]["type"], "etcdraft");
    assert_eq!(orderer["policies"]["BlockValidation"]["policy"], "ANY Writers");
    let organization = &channel["groups"]["Application"]["groups"]["Org1MSP"];
    let organization =
        if organization.is_null() { &channel["groups"]["Application"]["groups"]["Org1"] } else { organization };
    assert_eq!(organization["values"]["MSP"]["value"]["msp_id"], "Org1MSP");
    assert_eq!(organization["policies"]["Admins"]["policy"], "OR('Org1MSP.admin')");
}

/// The counts of the table beside the chains.
fn read_and_write_sets_are_counted(mixed: &Value) {
    let transactions = || each(mixed, "blocks").iter().flat_map(|block| each(block, "transactions"));
    let namespaces = || transactions().filter_map(|transaction| transaction["namespaces"].as_array()).flatten();
    let ranges = || namespaces().flat_map(|namespace| each(namespace, "ranges"));
    assert_eq!(ranges().filter(|range| !range["hashes"].is_null()).count(), 154);
    assert_eq!(ranges().filter(|range| range["exhausted"] == false).count(), 57);
    assert_eq!(transactions().filter(|it| it["endorsements"].as_array().is_some_and(|it| it.len() == 2)).count(), 608);
    let collections = || namespaces().flat_map(|namespace| each(namespace, "collections"));
    let writes = collections().flat_map(|collection| each(collection, "hashed_writes"));
    assert!(writes.count() >= 24);
    assert!(namespaces().flat_map(|namespace| each(namespace, "metadata_writes")).count() > 200);
}

/// The same, without the program: the hashes and signatures that it compares are themselves right.
#[test]
fn real_chains_verify_against_the_certificates_in_their_configuration() {
    let packed = repository().join("ledger/testdata/fabric-chain/mixed.blockfile.zst");
    let blocks = records(zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap().into());
    let config = ChannelConfig::from_block(&blocks[0]).unwrap();
    for pair in blocks.windows(2) {
        let [before, block] = pair else { unreachable!("windows of two") };
        let header = block.header.as_ref().unwrap();
        assert_eq!(header.previous_hash, header_hash(before.header.as_ref().unwrap())[..]);
        assert_eq!(header.data_hash, data_hash(&block.data.as_ref().unwrap().data)[..]);
        config.check_block_signatures(block).unwrap();
    }
    let mut altered = blocks[1].clone();
    altered.header.as_mut().unwrap().number += 1;
    config.check_block_signatures(&altered).unwrap_err();
}

/// The blocks of a Fabric block file, read in the plainest way.
fn records(mut file: Bytes) -> Vec<Block> {
    fn number(bytes: &mut Bytes) -> u64 {
        prost::encoding::decode_varint(bytes).unwrap()
    }
    fn part(bytes: &mut Bytes) -> Bytes {
        let length = number(bytes) as usize;
        bytes.split_to(length)
    }
    fn list(bytes: &mut Bytes) -> Vec<Bytes> {
        (0..number(bytes)).map(|_| part(bytes)).collect()
    }
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let mut record = part(&mut file);
        let number = number(&mut record);
        let (data_hash, previous_hash) = (part(&mut record), part(&mut record));
        let header = Some(BlockHeader { number, previous_hash, data_hash });
        let data = Some(ripstop_proto::common::BlockData { data: list(&mut record) });
        let metadata = Some(ripstop_proto::common::BlockMetadata { metadata: list(&mut record) });
        blocks.push(Block { header, data, metadata });
    }
    blocks
}

#[test]
fn blocks_envelopes_and_cut_files_are_recognised_and_garbage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = unpacked(folder.path(), "lifecycle");
    let file = std::fs::read(&path).unwrap();
    let blocks = records(file.clone().into());
    let genesis = folder.path().join("genesis.block");
    std::fs::write(&genesis, blocks[0].encode_to_vec()).unwrap();
    assert_eq!(decoded(&genesis)["block"]["number"], 0);
    let envelope = folder.path().join("envelope");
    std::fs::write(&envelope, &blocks[7].data.as_ref().unwrap().data[0]).unwrap();
    assert_eq!(decoded(&envelope)["envelope"]["function"], "CommitChaincodeDefinition");

    // As a crash leaves it: the blocks before the cut are shown, and the cut is told.
    std::fs::write(&path, &file[..file.len() - 10]).unwrap();
    let cut = decoded(&path);
    assert_eq!(cut["count"], 7);
    assert!(cut["error"].as_str().unwrap().contains("10 of its"), "{}", cut["error"]);
    assert!(text(&decode(&path, &[]).stdout).contains("called    _lifecycle ApproveChaincodeDefinitionForMyOrg("));

    let garbage = folder.path().join("garbage");
    for bytes in [&b"#!/bin/sh\nexit 0\n"[..], &[0xff; 4000], &[0; 4000], b""] {
        std::fs::write(&garbage, bytes).unwrap();
        let output = decode(&garbage, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    }
}

#[test]
fn blocks_and_transactions_of_a_network_are_printed() {
    let network = Network::up(&[]);
    let submitted = network.json(&["submit", "--json", "basic", "CreateAsset", "asset77", "red", "1", "Eve", "2"]);
    let tx_id = submitted["tx_id"].as_str().unwrap();
    let transaction = network.json(&["tx", tx_id, "--json"]);
    assert_eq!(transaction["block"], submitted["block"]);
    assert_eq!((&transaction["index"], &transaction["code"]), (&0.into(), &"VALID".into()));
    assert_eq!((&transaction["tx_id"], &transaction["tx_id_matches"]), (&tx_id.into(), &true.into()));
    let written = each(&transaction, "namespaces").iter().find(|it| it["namespace"] == "basic").unwrap();
    assert_eq!(written["writes"][0]["key"], "asset77");
    assert_eq!(written["reads"][0]["version"], Value::Null);

    let number = submitted["block"].to_string();
    let block = network.json(&["block", &number, "--json"]);
    assert_eq!(block["transactions"][0]["tx_id"], tx_id);
    assert_eq!((&block["previous_hash_matches"], &block["data_hash_matches"]), (&true.into(), &true.into()));
    let of_org2 = network.json(&["block", "newest", "--json", "--peer", "peer0.org2", "--as", "User1@org2"]);
    assert_eq!(unsigned(of_org2), unsigned(block.clone()));
    let shown = network.ok(&["block", &number]);
    assert!(shown.contains("called    basic CreateAsset(asset77, red, 1, Eve, 2)"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours in a pipe");
    assert!(network.ok(&["tx", tx_id]).starts_with(&format!("block {number}\n  0  VALID\n")));

    let refused = network.refused(&["block", "99"]);
    assert!(refused.contains("no such block number [99]"), "{refused}");
    let refused = network.refused(&["tx", "abc"]);
    assert!(refused.contains("no such transaction ID [abc]"), "{refused}");
    // One peer's end does not keep the others' blocks from being read.
    network.ok(&["network", "kill", "peer0.org1"]);
    let refused = network.refused(&["block", "0"]);
    assert!(refused.contains("peer0.org1"), "{refused}");
    assert_eq!(unsigned(network.json(&["block", &number, "--json", "--peer", "peer0.org2"])), unsigned(block));
}

/// A block without its signatures: each orderer signs what it delivers with its own key.
fn unsigned(mut block: Value) -> Value {
    assert!(block.as_object_mut().unwrap().remove("signatures").is_some_and(|it| it[0]["msp_id"] == "OrdererMSP"));
    block
}
