//! What a key holds, proved by the peers of a running network and verified by those who only
//! have certificates: our own program, and Ethereum's library in Node.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prost::Message;
use ripstop_ledger::Options;
use ripstop_ledger::store::{Batch, Stores};
use ripstop_proto::ripstop::v1::BlockRoots;
use serde_json::{Value, json};

use crate::network::{Network, RIPSTOP, text};
use crate::node_sdk::{install_packages, interop};

const ORG1_PEER: &str = "peer0.org1.example.com";
const ORG2_PEER: &str = "peer0.org2.example.com";

/// A folder of those who verify: proof files, and the organizations' MSPs but no network.
struct Verifier {
    folder: tempfile::TempDir,
}

impl Verifier {
    /// Takes a copy of the MSP folders of both organizations.
    fn of(network: &Network) -> Self {
        let verifier = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["org1", "org2"] {
            copy(&network.organization(&format!("{name}.example.com")).join("msp"), &verifier.path(name));
        }
        verifier
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, proof: &Value) -> PathBuf {
        std::fs::write(self.path(name), proof.to_string()).unwrap();
        self.path(name)
    }

    /// `verify-proof` with these further arguments.
    fn run(&self, file: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(RIPSTOP);
        command.current_dir(self.folder.path()).arg("verify-proof").arg(file).args(arguments).output().unwrap()
    }

    /// The line that says what is wrong, under this exit code.
    fn refused(&self, file: &Path, arguments: &[&str], code: i32) -> String {
        let output = self.run(file, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}{}", text(&output.stdout));
        assert!(output.stdout.is_empty() && said.lines().count() == 1 && said.starts_with("ripstop: "), "{said}");
        said
    }

    fn proved(&self, file: &Path, arguments: &[&str]) -> Value {
        let output = self.run(file, &[&["--json"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

const BOTH: &[&str] = &["--msp", "org1", "--msp", "org2"];

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// The proof of a key, which all peers signed.
fn prove(network: &Network, arguments: &[&str]) -> Value {
    let output = network.run(&[&["state", "basic"], arguments, &["--prove"]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(proof["attestations"].as_array().unwrap().len(), 2, "{proof}");
    proof
}

/// What the Node program says of each file, in order.
fn verified_by_node(files: &[PathBuf]) -> Vec<bool> {
    let output = Command::new("node").arg("verify-state-proof.js").args(files).current_dir(interop()).output();
    let output = output.expect("this test needs Node 20");
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), files.len(), "{said}{}", text(&output.stderr));
    let proved: Vec<bool> = said.lines().map(|line| line.starts_with("proved ")).collect();
    assert_eq!(output.status.code(), Some(i32::from(!proved.iter().all(|proved| *proved))));
    proved
}

/// Every string of hexadecimal digits in a proof, with one digit changed in the middle of it,
/// and every other field with another value, by name.
fn altered(proof: &Value) -> Vec<(String, Value)> {
    let mut altered = Vec::new();
    for pointer in pointers(proof, "") {
        let mut copy = proof.clone();
        let place = copy.pointer_mut(&pointer).unwrap();
        *place = match place {
            Value::String(text) if text.len() > 15 => {
                let middle = text.len() / 2;
                let digit = if &text[middle..=middle] == "0" { "1" } else { "0" };
                json!(format!("{}{digit}{}", &text[..middle], &text[middle + 1..]))
            }
            Value::String(text) => json!(format!("{text}1")),
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            other => panic!("{pointer} is {other}"),
        };
        altered.push((pointer, copy));
    }
    altered
}

fn pointers(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, it)| pointers(it, &format!("{at}/{name}"))).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, it)| pointers(it, &format!("{at}/{index}"))).collect()
        }
        Value::Null => Vec::new(),
        _ => vec![at.to_owned()],
    }
}

#[test]
fn proofs_of_a_running_network_are_verified_offline_and_by_ethereums_library_and_altered_ones_are_not() {
    install_packages();
    let network = Network::up(&[]);
    let created = network.json(&["submit", "--json", "basic", "CreateAsset", "asset70", "green", "10", "Ada", "500"]);
    let moved = network.json(&["submit", "--json", "basic", "TransferAsset", "asset70", "Zoë ✓"]);
    let older_height = (created["block"].as_u64().unwrap() + 1).to_string();

    let shown = network.json(&["state", "basic", "asset70", "--json"]);
    assert_eq!(shown["version"], json!([moved["block"], moved["tx_index"]]));
    assert!(shown["value"].as_str().unwrap().contains("Zoë ✓"), "{shown}");
    let older = network.json(&["state", "basic", "asset70", "--json", "--at", &older_height, "--as", "User1@org2"]);
    assert!(older["value"].as_str().unwrap().contains("\"Owner\":\"Ada\""), "{older}");
    let words = network.ok(&["state", "basic", "asset70"]);
    assert!(words.contains("\"asset70\" of \"basic\"") && words.contains("as written by transaction 0"), "{words}");
    assert!(network.ok(&["state", "basic", "asset71"]).contains("there is no such key"));

    let proofs = [
        prove(&network, &["asset70"]),
        prove(&network, &["asset70", "--at", &older_height, "--peer", ORG2_PEER]),
        prove(&network, &["asset71"]),
    ];
    let verifier = Verifier::of(&network);
    let early = network.refused(&["state", "basic", "asset70", "--at", "1000"]);
    assert!(early.contains("height 1000 cannot be proved: the ledger has"), "{early}");
    network.ok(&["network", "down"]);

    let files = [0, 1, 2].map(|index| verifier.write(&format!("proof{index}.json"), &proofs[index]));
    let proved = files.each_ref().map(|file| verifier.proved(file, BOTH));
    assert_eq!((&proved[0]["value"], &proved[0]["version"]), (&shown["value"], &shown["version"]));
    assert_eq!((&proved[1]["value"], &proved[1]["block"]), (&older["value"], &created["block"]));
    assert_eq!((&proved[2]["value"], &proved[2]["key"]), (&Value::Null, &json!("asset71")));
    let signers: Vec<_> = proved[0]["signed_by"].as_array().unwrap().iter().map(|it| &it["msp_id"]).collect();
    assert_eq!(signers, ["Org1MSP", "Org2MSP"]);
    let words = text(&verifier.run(&files[0], BOTH).stdout);
    assert!(words.starts_with("PROVED") && words.contains("signed by Org2MSP ("), "{words}");
    assert!(words.contains("CN=peer0.org2.example.com)"), "{words}");
    let one = verifier.proved(&files[0], &["--msp", "org2"]);
    assert_eq!(one["not_counted"][0]["msp_id"], "Org1MSP", "{one}");
    assert_eq!(verified_by_node(&files), [true; 3]);

    // Whatever is altered is refused; the library sees all but the signatures.
    let mut for_node = Vec::new();
    for (number, proof) in proofs.iter().enumerate() {
        for (field, proof) in altered(proof) {
            // The nodes that show one key absent may show it of another, too.
            if proof["value"].is_null() && ["/key", "/namespace"].contains(&field.as_str()) {
                continue;
            }
            let file = verifier.write(&format!("altered {number} {}.json", field.replace('/', " ")), &proof);
            let said = verifier.refused(&file, BOTH, 1);
            assert!(said.contains("proves nothing") || said.contains("cannot be used"), "{field}: {said}");
            if !["/attestations", "/format", "/block_roots"].iter().any(|name| field.starts_with(name)) {
                for_node.push(file);
            }
        }
        let mut other_root = proof.clone();
        let signed = hex::decode(proof["block_roots"].as_str().unwrap()).unwrap();
        let mut roots = BlockRoots::decode(&signed[..]).unwrap();
        roots.state_root = roots.state_root.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into();
        other_root["block_roots"] = json!(hex::encode(roots.encode_to_vec()));
        for_node.push(verifier.write(&format!("other root {number}.json"), &other_root));
    }
    assert!(for_node.len() > 20, "{for_node:?}");
    let refused = verified_by_node(&for_node);
    let passed: Vec<_> = for_node.iter().zip(refused).filter(|(_, proved)| *proved).collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn a_proof_brings_no_trust_of_its_own_and_what_is_wrong_is_told_in_one_line() {
    let network = Network::up(&[]);
    let proof = prove(&network, &["asset1"]);
    let verifier = Verifier::of(&network);
    let file = verifier.write("proof.json", &proof);
    let orderers = network.dir().join("organizations/ordererOrganizations/example.com/msp");
    copy(&orderers, &verifier.path("foreign"));

    let nobody = verifier.refused(&file, &[], 2);
    assert!(nobody.contains("--msp"), "{nobody}");
    let foreign = verifier.refused(&file, &["--msp", "foreign"], 1);
    assert!(foreign.contains("peers of 0 of the 1 trusted organizations signed the roots, 1 are needed"), "{foreign}");
    assert!(foreign.contains("that of Org1MSP does not count: no trusted authority issued"), "{foreign}");
    let two = verifier.refused(&file, &["--msp", "org1", "foreign"], 1);
    assert!(two.contains("peers of 1 of the 2 trusted organizations"), "{two}");
    verifier.proved(&file, &["--msp", "org1", "foreign", "--orgs", "1"]);
    let twice = verifier.refused(&file, &["--msp", "org1", "org1"], 1);
    assert!(twice.contains("peers of 1 of the 2"), "an organization counted twice: {twice}");
    let many = verifier.refused(&file, &["--msp", "org1", "org2", "--orgs", "3"], 2);
    assert!(many.contains("--orgs 3 cannot be met: --msp names 2"), "{many}");
    let empty = verifier.refused(&file, &["--msp", "nowhere"], 2);
    assert!(empty.contains("--msp: ") && empty.contains("nowhere"), "{empty}");
    let missing = verifier.refused(&verifier.path("nothing.json"), BOTH, 1);
    assert!(missing.contains("cannot read"), "{missing}");
    std::fs::write(verifier.path("text.json"), "dear").unwrap();
    let garbage = verifier.refused(&verifier.path("text.json"), BOTH, 1);
    assert!(garbage.contains("the file is no state proof"), "{garbage}");

    let elsewhere = network.refused(&["state", "basic", "asset1", "--channel", "elsewhere"]);
    assert!(elsewhere.contains("shows no state of channel elsewhere"), "{elsewhere}");
    let private = network.refused(&["state", "basic$$psecrets", "asset1"]);
    assert!(private.contains("never private values in clear"), "{private}");
    for refused in [elsewhere, private] {
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

/// Changes the last byte of a value in the state of a peer that is stopped.
fn alter(ledger: &Path, key: &str) {
    let store = Stores::open(Options::default().stores.as_ref(), &ledger.join("derived")).unwrap();
    let key = format!("dbasic\0{key}").into_bytes();
    let mut entry = store.snapshot().get(&key).unwrap().unwrap().to_vec();
    *entry.last_mut().unwrap() ^= 1;
    let mut batch = Batch::default();
    batch.put(key, entry);
    store.write(&batch, true).unwrap();
}

#[test]
fn a_peer_that_is_down_or_whose_state_was_altered_does_not_sign_and_is_named() {
    let network = Network::up(&[]);
    network.ok(&["submit", "basic", "CreateAsset", "asset70", "green", "10", "Ada", "500"]);
    network.ok(&["network", "stop", ORG1_PEER]);
    let ask = || {
        let output = network.run(&["state", "basic", "asset70", "--prove", "--as", "User1@org2"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(proof["attestations"].as_array().unwrap().len(), 1);
        text(&output.stderr)
    };
    let down = ask();
    assert!(down.starts_with(&format!("ripstop: {ORG1_PEER} did not sign: ")) && down.lines().count() == 1, "{down}");

    alter(&network.ledger(ORG1_PEER), "asset70");
    network.ok(&["network", "start", ORG1_PEER]);
    let refused = network.refused(&["state", "basic", "asset70", "--peer", ORG1_PEER]);
    for part in [ORG1_PEER, "key \"asset70\" of \"basic\"", "is not proved", "ripstop ledger rebuild"] {
        assert!(refused.contains(part) && refused.lines().count() == 1, "{refused}");
    }
    let altered = ask();
    assert!(altered.contains("is not proved") && altered.contains("(DataLoss)"), "{altered}");
}
