//! Stage one on keys that have an endorsement policy of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_ledger::{CheckedBlock, Ledger, Options};
use ripstop_msp::{SigningIdentity, policy_text};
use ripstop_peer::validator::{Before, validate};
use ripstop_proto::block::{self, TRANSACTIONS_FILTER};
use ripstop_proto::common::{Block, SignaturePolicyEnvelope};
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvWrite};
use ripstop_proto::protos::TxValidationCode::{
    self as Code, EndorsementPolicyFailure, InvalidChaincode, InvalidEndorserTransaction, InvalidOtherReason, Valid,
};
use ripstop_proto::read_write_set::NamespaceSet;

use crate::block_file;
use crate::blocks::{commit_unjudged, signature_policy};
use crate::transactions::{Draft, hashed_writes, writes};
use crate::validator::{BOTH, Setting};

const ORG1: &str = "OR('Org1MSP.peer')";
const ORG2: &str = "OR('Org2MSP.peer')";

fn policy(text: &str) -> SignaturePolicyEnvelope {
    policy_text::parse(text).unwrap()
}

fn entries(policy: Vec<u8>) -> Vec<KvMetadataEntry> {
    vec![KvMetadataEntry { name: "VALIDATION_PARAMETER".to_owned(), value: policy.into() }]
}

/// A namespace in which the policy of `key` is set.
fn sets_policy(namespace: &str, key: &str, policy: impl Into<Vec<u8>>) -> NamespaceSet {
    let mut set = writes(namespace, &[]);
    set.public.metadata_writes.push(KvMetadataWrite { key: key.to_owned(), entries: entries(policy.into()) });
    set
}

/// A namespace in which the policy of a collection's key is set.
fn sets_hashed_policy(namespace: &str, collection: &str, key: &str, policy: impl Into<Vec<u8>>) -> NamespaceSet {
    let mut set = hashed_writes(namespace, collection, &[]);
    let key_hash = sha256(&[key.as_bytes()]).to_vec().into();
    set.collections[0].hashed.metadata_writes.push(KvMetadataWriteHash { key_hash, entries: entries(policy.into()) });
    set
}

fn writes_hashed(collection: &str, key: &str) -> NamespaceSet {
    hashed_writes("collected", collection, &[(sha256(&[key.as_bytes()]), sha256(&[b"value"]))])
}

fn deletes(key: &str) -> NamespaceSet {
    let mut set = writes("basic", &[]);
    set.public.writes.push(KvWrite { key: key.to_owned(), is_delete: true, ..KvWrite::default() });
    set
}

struct Keys(Setting);

impl Keys {
    /// Committed keys, by namespace and name, each with its policy.
    fn with(keys: &[(&'static str, &str, Vec<u8>)]) -> Self {
        let setting = Setting::new();
        for (index, (namespace, key, policy)) in keys.iter().enumerate() {
            let mut set = sets_policy(namespace, key, policy.clone());
            set.public.writes = writes(namespace, &[(key, "value")]).public.writes;
            let entry = setting.draft(90_000 + index as u64).sets([set]).entry();
            assert_eq!(commit_unjudged(&setting.ledger.ledger, vec![entry]).codes, [Valid]);
        }
        Self(setting)
    }

    fn none() -> Self {
        Self::with(&[])
    }

    fn org1(&self) -> &SigningIdentity {
        &self.0.organizations.org1.peer
    }

    fn org2(&self) -> &SigningIdentity {
        &self.0.organizations.org2.peer
    }

    fn both(&self) -> [&SigningIdentity; 2] {
        [self.org1(), self.org2()]
    }

    fn draft<'a>(&'a self, endorsers: &[&'a SigningIdentity], set: NamespaceSet) -> Draft<'a> {
        let mut draft = Draft::new(&self.0.organizations.org1.client, endorsers, rand_nonce());
        draft.chaincode.clone_from(&set.namespace);
        draft.sets([set])
    }

    fn code<'a>(&'a self, endorsers: &[&'a SigningIdentity], set: NamespaceSet) -> Code {
        self.codes(vec![self.draft(endorsers, set).entry()])[0]
    }

    /// The codes of one block.
    fn codes(&self, entries: Vec<Bytes>) -> Vec<Code> {
        self.0.findings(entries).unwrap().into_iter().map(|finding| finding.verdict.code).collect()
    }

    /// The codes of a block of transactions that both organizations endorsed.
    fn codes_of(&self, sets: Vec<NamespaceSet>) -> Vec<Code> {
        self.codes(sets.into_iter().map(|set| self.draft(&self.both(), set).entry()).collect())
    }
}

/// Differs from call to call, which is all that is asked of it.
fn rand_nonce() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn the_policy_of_a_key_takes_the_place_of_its_chaincodes() {
    let keys = Keys::with(&[("basic", "mine", policy(ORG1).encode_to_vec())]);
    let (one, two) = (keys.org1(), keys.org2());
    assert_eq!(keys.code(&[one], writes("basic", &[("mine", "v")])), Valid);
    assert_eq!(keys.code(&[one], sets_policy("basic", "mine", policy(ORG2).encode_to_vec())), Valid);
    assert_eq!(keys.code(&[one], deletes("mine")), Valid);
    assert_eq!(keys.code(&[two], writes("basic", &[("mine", "v")])), EndorsementPolicyFailure);
    assert_eq!(keys.code(&[one], writes("basic", &[("other", "v")])), EndorsementPolicyFailure);
    assert_eq!(keys.code(&[one], writes("basic", &[("mine", "v"), ("other", "v")])), EndorsementPolicyFailure);
    assert_eq!(keys.code(&[one], sets_policy("basic", "other", Vec::new())), EndorsementPolicyFailure);
    assert_eq!(keys.code(&[one], writes("basic", &[])), EndorsementPolicyFailure, "nothing written: the chaincode's");
}

#[test]
fn a_key_may_ask_for_more_than_its_chaincode_and_the_refusal_says_so() {
    let keys = Keys::with(&[("open", "guarded", policy(BOTH).encode_to_vec())]);
    assert_eq!(keys.code(&[keys.org1()], writes("open", &[("free", "v")])), Valid);
    assert_eq!(keys.code(&keys.both(), writes("open", &[("guarded", "v")])), Valid);
    let entry = keys.draft(&[keys.org1()], writes("open", &[("free", "v"), ("guarded", "v")])).entry();
    let verdict = keys.0.findings(vec![entry]).unwrap().remove(0).verdict;
    assert_eq!(verdict.code, EndorsementPolicyFailure);
    let reason = verdict.reason.unwrap();
    assert_eq!((reason.namespace.as_str(), reason.key.as_str()), ("open", "guarded"));
    assert_eq!((reason.signed_by, reason.missing), (vec!["Org1MSP".to_owned()], vec!["Org2MSP".to_owned()]));
    assert!(reason.rule.contains("Org2MSP"), "{}", reason.rule);
}

#[test]
fn an_empty_policy_is_none() {
    let keys = Keys::with(&[("basic", "cleared", Vec::new())]);
    assert_eq!(keys.code(&[keys.org1()], writes("basic", &[("cleared", "v")])), EndorsementPolicyFailure);
    assert_eq!(keys.code(&keys.both(), writes("basic", &[("cleared", "v")])), Valid);
}

#[test]
fn a_policy_that_is_none_is_satisfied_by_nobody_and_does_not_stop_the_channel() {
    let no_rule = SignaturePolicyEnvelope { rule: None, ..policy(ORG1) };
    let no_identities = SignaturePolicyEnvelope { identities: Vec::new(), ..policy(ORG1) };
    let later_version = SignaturePolicyEnvelope { version: 7, ..policy(ORG1) };
    let keys = Keys::with(&[
        ("open", "undecodable", vec![0xff, 0xff]),
        ("open", "no rule", no_rule.encode_to_vec()),
        ("open", "no identities", no_identities.encode_to_vec()),
        ("open", "later version", later_version.encode_to_vec()),
        ("open", "application policy", signature_policy(ORG1).encode_to_vec()),
    ]);
    for key in ["undecodable", "no rule", "no identities", "application policy"] {
        assert_eq!(keys.code(&keys.both(), writes("open", &[(key, "v")])), EndorsementPolicyFailure, "{key}");
    }
    assert_eq!(keys.code(&keys.both(), writes("open", &[("later version", "v")])), Valid);
}

#[test]
fn keys_of_collections_have_policies_by_their_hash() {
    let keys = Keys::none();
    let mut set = sets_hashed_policy("collected", "loose", "k", policy(ORG2).encode_to_vec());
    set.collections[0].hashed.hashed_writes = writes_hashed("loose", "k").collections[0].hashed.hashed_writes.clone();
    let entry = keys.draft(&[], set).entry();
    assert_eq!(commit_unjudged(&keys.0.ledger.ledger, vec![entry]).codes, [Valid]);
    let (one, two) = (keys.org1(), keys.org2());
    assert_eq!(keys.code(&[one], writes_hashed("loose", "k")), EndorsementPolicyFailure);
    assert_eq!(keys.code(&[two], writes_hashed("loose", "k")), Valid);
    assert_eq!(keys.code(&[one], writes_hashed("loose", "other")), Valid);
    assert_eq!(keys.code(&[two], writes_hashed("plain", "k")), EndorsementPolicyFailure, "another collection's key");
    assert_eq!(keys.code(&[one], sets_hashed_policy("collected", "loose", "k", Vec::new())), EndorsementPolicyFailure);
}

#[test]
fn who_writes_a_key_after_its_policy_was_written_in_the_block_is_refused() {
    let keys = Keys::none();
    let codes = keys.codes_of(vec![
        writes("basic", &[("k", "before")]),
        sets_policy("basic", "k", policy(ORG1).encode_to_vec()),
        writes("basic", &[("k", "v")]),
        deletes("k"),
        sets_policy("basic", "k", Vec::new()),
        writes("basic", &[("other", "v")]),
        writes("other", &[("k", "another namespace")]),
    ]);
    let refused = EndorsementPolicyFailure;
    assert_eq!(codes, [Valid, Valid, refused, refused, refused, Valid, Valid]);

    let set = || sets_policy("basic", "k", policy(ORG1).encode_to_vec());
    let entries = [set(), writes("basic", &[("k", "v")])].map(|set| keys.draft(&keys.both(), set).entry());
    let reason = keys.0.findings(entries.to_vec()).unwrap().remove(1).verdict.reason.unwrap();
    assert!(reason.text.starts_with("transaction 0 of this block writes the metadata of the key"), "{}", reason.text);
    assert_eq!((reason.namespace.as_str(), reason.key.as_str()), ("basic", "k"));
}

#[test]
fn collections_are_told_apart_in_a_block_too() {
    let keys = Keys::none();
    let codes = keys.codes_of(vec![
        sets_hashed_policy("collected", "loose", "k", policy(ORG1).encode_to_vec()),
        writes_hashed("plain", "k"),
        writes_hashed("loose", "k"),
        writes_hashed("loose", "other"),
    ]);
    assert_eq!(codes, [Valid, Valid, EndorsementPolicyFailure, Valid]);
}

#[test]
fn a_transaction_that_was_refused_changes_no_policy() {
    let keys = Keys::none();
    let set = |key| sets_policy("basic", key, policy(ORG1).encode_to_vec());
    let mut after_a_change = set("k");
    after_a_change.public.metadata_writes.extend(set("j").public.metadata_writes);
    let both = keys.both();
    let codes = keys.codes(vec![
        keys.draft(&both[..1], set("k")).entry(),
        keys.draft(&both, writes("basic", &[("k", "not endorsed enough")])).entry(),
        keys.draft(&both, set("k")).entry(),
        keys.draft(&both, after_a_change).entry(),
        keys.draft(&both, writes("basic", &[("j", "v")])).entry(),
    ]);
    let refused = EndorsementPolicyFailure;
    assert_eq!(codes, [refused, Valid, Valid, refused, Valid]);
}

#[test]
fn what_becomes_of_a_change_in_another_namespace_or_later_does_not_matter() {
    let keys = Keys::none();
    let set = || sets_policy("basic", "k", policy(ORG1).encode_to_vec());
    let write = || keys.draft(&keys.both(), writes("basic", &[("k", "v")])).entry();
    let with = |other: &str| {
        let mut draft = keys.draft(&keys.both(), set());
        draft.sets.namespaces.push(writes(other, &[("x", "y")]));
        draft.entry()
    };
    // Namespaces are judged in ascending order.
    assert_eq!(keys.codes(vec![with("zebra"), write()]), [InvalidChaincode, EndorsementPolicyFailure]);
    assert_eq!(keys.codes(vec![with("aardvark"), write()]), [InvalidChaincode, Valid]);

    // The second copy of an id is a duplicate only behind the ledger's door.
    let copy = keys.draft(&keys.both(), set()).entry();
    assert_eq!(keys.codes(vec![copy.clone(), copy]), [Valid, EndorsementPolicyFailure]);
}

#[test]
fn what_never_came_to_its_policy_is_passed_over() {
    let keys = Keys::none();
    let set = || sets_policy("basic", "k", policy(ORG1).encode_to_vec());
    let known = keys.draft(&keys.both(), set());
    commit_unjudged(&keys.0.ledger.ledger, vec![known.entry()]);
    let mut forged = keys.draft(&keys.both(), set());
    forged.changes.envelope.push(Box::new(|envelope| envelope.signature = Bytes::from_static(b"forged")));
    let mut without_action = keys.draft(&keys.both(), set());
    without_action.changes.transaction.push(Box::new(|transaction| transaction.actions.clear()));
    let codes = keys.codes(vec![
        known.entry(),
        forged.entry(),
        without_action.entry(),
        Bytes::from_static(b"no envelope"),
        keys.draft(&keys.both(), writes("basic", &[("k", "v")])).entry(),
    ]);
    let expected =
        [Code::DuplicateTxid, Code::BadCreatorSignature, InvalidEndorserTransaction, InvalidOtherReason, Valid];
    assert_eq!(codes, expected);
}

fn stored_codes(block: &Block) -> Vec<Code> {
    let filter = block::metadata_slot(block, TRANSACTIONS_FILTER);
    filter.iter().map(|code| Code::try_from(i32::from(*code)).unwrap()).collect()
}

#[test]
fn each_verdict_on_a_real_chain_is_the_one_that_fabric_stored() {
    let blocks = block_file::mixed();
    let config = Arc::new(ChannelConfig::from_block(&blocks[0]).unwrap());
    let channel_id = config.channel_id().to_owned();
    let ledger = Ledger::create("ledger", &channel_id, blocks[0].clone(), Options::in_memory()).unwrap();
    let ledger = Arc::new(ledger);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut within_block = 0;
    for stored in &blocks[1..] {
        let number = stored.header.as_ref().unwrap().number;
        let before = Before { config: config.clone(), state: ledger.state(), ledger: ledger.clone() };
        let findings = validate(stored, &before).unwrap();
        let stage_one = |code: Code| match code {
            Code::MvccReadConflict | Code::PhantomReadConflict => Valid,
            other => other,
        };
        let found: Vec<Code> = findings.iter().map(|finding| finding.verdict.code).collect();
        let expected: Vec<Code> = stored_codes(stored).into_iter().map(stage_one).collect();
        assert_eq!(found, expected, "stage one of block {number}");

        let reasons = findings.iter().filter_map(|finding| finding.verdict.reason.as_ref());
        within_block += reasons.filter(|reason| reason.text.contains("of this block writes the metadata")).count();
        let verdicts = findings.into_iter().map(|finding| finding.verdict).collect();
        let checked = CheckedBlock { block: stored.clone(), verdicts, private_writes: Vec::new() };
        let committed = ledger.commit(checked).unwrap();
        assert_eq!(committed.codes, stored_codes(stored), "final codes of block {number}");
        assert_eq!(Some(committed.commit_hash), block::commit_hash(stored), "commit hash of block {number}");
        committed.codes.iter().for_each(|code| *counts.entry(code.as_str_name()).or_default() += 1);
    }
    let expected = [
        ("ENDORSEMENT_POLICY_FAILURE", 70),
        ("MVCC_READ_CONFLICT", 172),
        ("PHANTOM_READ_CONFLICT", 263),
        ("VALID", 1490),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    assert!(within_block > 0, "no refusal because of an earlier transaction of the block");
}
