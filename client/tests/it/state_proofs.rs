//! Proofs of state: who has to vouch, and that nothing can be altered.

use std::num::NonZeroUsize;

use bytes::Bytes;
use prost::Message;
use ripstop_client::{Attestation, Msp, SigningIdentity, StateContent, StateProof, StateProofError, majority};
use ripstop_msp::material::{self, Node, Organization, OrganizationKind};
use ripstop_msp::{KeyKind, Role};
use ripstop_proto::block_roots::signing_input;
use ripstop_proto::ripstop::v1::{BlockRoots, SignedBlockRoots};
use ripstop_trie::{StateTrie, Write, WriteSet, state_leaf, state_path};
use serde_json::{Value, json};

/// An organization with a peer and a user.
struct Party {
    msp: Msp,
    peer: SigningIdentity,
    user: SigningIdentity,
    _folder: tempfile::TempDir,
}

impl Party {
    fn new(number: u8, node_keys: KeyKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (domain, msp_id) = (format!("org{number}.example.com"), format!("Org{number}MSP"));
        let peer = format!("peer0.{domain}");
        let node = Node { name: peer.clone(), role: Role::Peer, sans: Vec::new() };
        let organization = Organization {
            domain,
            kind: OrganizationKind::Peers,
            nodes: vec![node],
            users: vec!["User1".to_owned()],
            node_keys,
            user_keys: KeyKind::P256,
        };
        let folders = material::write(folder.path(), &organization).unwrap();
        let signing = |folder| SigningIdentity::from_msp_folder(&msp_id, folder).unwrap();
        Self {
            msp: Msp::from_folder(&msp_id, folders.msp()).unwrap(),
            peer: signing(folders.node(&peer, Role::Peer).msp()),
            user: signing(folders.user("User1").msp()),
            _folder: folder,
        }
    }
}

fn parties() -> [Party; 2] {
    [Party::new(1, KeyKind::Ed25519), Party::new(2, KeyKind::P256)]
}

fn attest(block_roots: &Bytes, signer: &SigningIdentity) -> Attestation {
    let identity = signer.serialized().clone();
    let signed =
        SignedBlockRoots { block_roots: block_roots.clone(), identity: identity.clone(), signature: Bytes::new() };
    Attestation { identity, signature: signer.sign(&signing_input(&signed)).unwrap().into() }
}

/// The proof of a key in a state of twenty; the even ones have metadata.
fn proof(key: &str, signers: &[&SigningIdentity]) -> StateProof {
    let keys: Vec<String> = (0..20).map(|number| format!("key{number}")).collect();
    let of = |key: &str| {
        let number: u64 = key.strip_prefix("key")?.parse().ok().filter(|number| *number < 20)?;
        let metadata = number.is_multiple_of(2).then(|| Bytes::from_static(b"metadata"));
        Some(StateContent { block_number: 7, tx_index: number, value: format!("value of {key}").into(), metadata })
    };
    let leaf = |key: &String| {
        let content = of(key).unwrap();
        state_leaf(content.block_number, content.tx_index, &content.value, content.metadata.as_deref())
    };
    let leaves: Vec<_> = keys.iter().map(|key| (state_path("basic", key.as_bytes()), leaf(key))).collect();
    let mut trie = StateTrie::in_memory();
    let writes = leaves.iter().map(|(path, leaf)| Write { path: *path, value: Some(leaf) });
    let state_root = trie.apply(9, &WriteSet::new(writes)).unwrap().to_vec().into();
    let roots = BlockRoots { channel_id: "mychannel".into(), number: 9, state_root, ..Default::default() };
    let block_roots: Bytes = roots.encode_to_vec().into();
    let nodes = trie.prove(&state_path("basic", key.as_bytes())).unwrap().nodes;
    StateProof {
        channel_id: "mychannel".into(),
        namespace: "basic".into(),
        key: key.into(),
        block_number: 9,
        content: of(key),
        nodes: nodes.into_iter().map(Bytes::from).collect(),
        attestations: signers.iter().map(|signer| attest(&block_roots, signer)).collect(),
        block_roots,
    }
}

fn count(needed: usize) -> NonZeroUsize {
    NonZeroUsize::new(needed).unwrap()
}

#[test]
fn a_proof_that_enough_organizations_signed_holds_and_so_does_its_file() {
    let parties = parties();
    let msps = parties.each_ref().map(|party| party.msp.clone());
    for key in ["key3", "key4", "absent"] {
        let proof = proof(key, &[&parties[0].peer, &parties[1].peer]);
        let vouchers = proof.verify(&msps, count(2)).unwrap();
        let ids: Vec<_> = vouchers.counted.iter().map(|voucher| voucher.msp_id.as_str()).collect();
        assert_eq!((ids, vouchers.not_counted.len()), (vec!["Org1MSP", "Org2MSP"], 0));
        assert_eq!(proof.content.is_none(), key == "absent");
        assert_eq!(StateProof::from_json(proof.to_json().unwrap().as_bytes()), Ok(proof));
    }
}

#[test]
fn more_than_half_is_a_majority() {
    let majorities = [1, 2, 3, 4, 5].map(|organizations| majority(count(organizations)).get());
    assert_eq!(majorities, [1, 2, 2, 3, 3]);
}

#[test]
fn only_peers_of_trusted_organizations_count_and_each_organization_once() {
    let parties = parties();
    let [one, two] = &parties;
    let msps = parties.each_ref().map(|party| party.msp.clone());
    let too_few = |signers: &[&SigningIdentity], msps: &[Msp]| {
        let refused = proof("key3", signers).verify(msps, count(2)).unwrap_err();
        let StateProofError::TooFew { counted, not_counted, .. } = refused else { panic!("{refused}") };
        (counted, not_counted)
    };
    assert_eq!(too_few(&[], &msps), (0, String::new()));
    assert_eq!(too_few(&[&one.peer, &one.peer], &msps), (1, String::new()));
    let (counted, why) = too_few(&[&one.peer, &two.user], &msps);
    assert!(counted == 1 && why.contains("is no peer but has the role Client"), "{why}");
    let stranger = Party::new(2, KeyKind::P256);
    let (counted, why) = too_few(&[&one.peer, &stranger.peer], &msps);
    assert_eq!((counted, &*why), (1, "; that of Org2MSP does not count: no trusted authority issued its certificate"));
    let twice = [one.msp.clone(), one.msp.clone()];
    assert_eq!(too_few(&[&one.peer, &one.peer], &twice).0, 1);

    let enough = proof("key3", &[&one.peer, &stranger.peer]).verify(&msps, count(1)).unwrap();
    assert_eq!((enough.counted.len(), enough.not_counted.len()), (1, 1));
}

#[test]
fn a_signature_counts_for_its_own_roots_and_identity_only() {
    let parties = parties();
    let [one, two] = &parties;
    let msps = parties.each_ref().map(|party| party.msp.clone());
    let mut taken = proof("key3", &[&one.peer, &two.peer]);
    taken.attestations[1].signature = taken.attestations[0].signature.clone();
    assert!(matches!(taken.verify(&msps, count(1)), Err(StateProofError::Signature { .. })));
    let mut other = proof("key3", &[&one.peer]);
    other.block_roots = BlockRoots { number: 9, ..Default::default() }.encode_to_vec().into();
    assert!(matches!(other.verify(&msps, count(1)), Err(StateProofError::Signature { .. })));
}

/// The nodes, the key and the content that peers signed for, one of them exchanged.
#[test]
fn what_does_not_belong_together_is_named() {
    let [one, _] = parties();
    let msps = [one.msp.clone()];
    let genuine = proof("key4", &[&one.peer]);
    let refused = |change: &dyn Fn(&mut StateProof)| {
        let mut proof = genuine.clone();
        change(&mut proof);
        proof.verify(&msps, count(1)).unwrap_err().to_string()
    };
    let content =
        |change: fn(&mut StateContent)| move |proof: &mut StateProof| proof.content.as_mut().map_or((), change);
    assert!(refused(&|proof| proof.channel_id = "other".into()).contains("field \"channel\" says \"other\""));
    assert!(refused(&|proof| proof.block_number = 8).contains("field \"block\" says 8, what was signed says 9"));
    assert!(refused(&|proof| proof.key = "key5".into()).contains("do not fit the state root"));
    assert!(
        refused(&content(|it| it.tx_index = 5)).contains("field \"version\" says [7, 5], what was signed says [7, 4]")
    );
    assert!(refused(&content(|it| it.value = Bytes::new())).contains("the value is not the one"));
    assert!(refused(&content(|it| it.metadata = Some(Bytes::new()))).contains("the metadata is not the one"));
    assert!(refused(&|proof| proof.content = None).contains("the key had a value, and the proof brings none"));
    // The path of a composite key of "basic" is that of another key of "basic\0".
    assert!(refused(&|proof| proof.namespace = "basic\0".into()).contains("no zero byte"));

    let mut hidden = genuine.clone();
    hidden.content.as_mut().unwrap().metadata = None;
    assert!(hidden.verify(&msps, count(1)).unwrap().metadata_is_missing);
    let mut absent = proof("absent", &[&one.peer]);
    absent.content = genuine.content.clone();
    assert_eq!(absent.verify(&msps, count(1)), Err(StateProofError::Absent));
}

/// Every place of a file that holds a value.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, it)| pointers(it, &format!("{at}/{name}"))).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, it)| pointers(it, &format!("{at}/{index}"))).collect()
        }
        _ => vec![at.to_owned()],
    }
}

/// What a value can be altered to: every byte of bytes and texts, one by one.
fn altered(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1), json!(-1), json!("1")],
        Value::String(text) => match hex::decode(text) {
            Ok(bytes) => (0..bytes.len())
                .map(|place| {
                    let mut bytes = bytes.clone();
                    bytes[place] ^= 1 << (place % 8);
                    json!(hex::encode(bytes))
                })
                .chain([json!(text.to_owned() + "00"), json!(&text[2..]), json!("zz")])
                .collect(),
            Err(_) => (0..text.len())
                .map(|place| json!(format!("{}~{}", &text[..place], &text[place + 1..])))
                .chain([json!(text.to_owned() + "~")])
                .collect(),
        },
        _ => vec![json!("00"), json!([7, 4])],
    }
}

#[test]
fn a_file_with_any_byte_of_any_field_altered_is_refused() {
    let parties = parties();
    let msps = parties.each_ref().map(|party| party.msp.clone());
    let mut tried = 0;
    for key in ["key3", "key4"] {
        let proof = proof(key, &[&parties[0].peer, &parties[1].peer]);
        let file: Value = serde_json::from_str(&proof.to_json().unwrap()).unwrap();
        for pointer in pointers(&file, "") {
            for value in altered(file.pointer(&pointer).unwrap()) {
                let mut file = file.clone();
                *file.pointer_mut(&pointer).unwrap() = value.clone();
                let read = StateProof::from_json(file.to_string().as_bytes());
                let verified = read.and_then(|proof| proof.verify(&msps, count(2)));
                assert!(verified.is_err(), "{pointer} altered to {value}");
                tried += 1;
            }
        }
    }
    assert!(tried > 4_000, "{tried}");
}

#[test]
fn a_file_that_is_cut_or_has_other_fields_is_refused() {
    let [one, _] = parties();
    let json = proof("key3", &[&one.peer]).to_json().unwrap();
    for length in (0..json.len()).step_by(7) {
        assert!(StateProof::from_json(&json.as_bytes()[..length]).is_err(), "cut to {length}");
    }
    let mut file: Value = serde_json::from_str(&json).unwrap();
    file["trust"] = json!("me");
    assert!(matches!(StateProof::from_json(file.to_string().as_bytes()), Err(StateProofError::File(_))));
    file.as_object_mut().unwrap().remove("trust");
    file["value"] = Value::Null;
    let refused = StateProof::from_json(file.to_string().as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("version and value stand together"), "{refused}");
}
