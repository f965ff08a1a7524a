//! Well-formed transactions that an orderer takes and every peer finds invalid: endorsed by
//! the wrong people, writing where they may not, overtaken by others, or sent twice.

use ripstop_proto::kvrwset::{
    HashedRwSet, KvReadHash, KvWriteHash, KvrwSet, QueryReads, QueryReadsMerkleSummary, RangeQueryInfo, Version,
    range_query_info,
};
use ripstop_proto::protos::TxValidationCode::*;
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet};

use super::actors::Actors;
use super::committed::{Change, endorsed, outcome};
use super::proposal::{Draft, GARBAGE};
use super::stage::Stage;
use super::table::Table;
use super::transaction::{Endorsed, Outcome, read, writing};

/// A chaincode that Org1 alone endorses.
const LAX: &str = "lax";

pub(super) async fn run(stage: &Stage, table: &mut Table<'_>) {
    let deploy = ["chaincode", "deploy", "--name", LAX, "--version", "1.0", "--address", "127.0.0.1:9"];
    stage.network.ok(&[&deploy[..], &["--policy", "OR('Org1MSP.peer')"]].concat());
    endorsements(stage, table).await;
    namespaces(stage, table).await;
    conflicts(stage, table).await;
    summaries(stage, table).await;
    copies(stage, table).await;
}

async fn endorsements(stage: &Stage, table: &mut Table<'_>) {
    let Actors { user, admin, peer, other_peer, other_user, forged_peer, stranger, orderer, .. } = &stage.actors;
    let policy = "endorsement policy /Channel/Application/Endorsement is not satisfied: …";
    for (name, endorsers) in [
        ("nobody endorsed", &[][..]),
        ("endorsed by Org1 alone", &[peer]),
        ("endorsed twice by Org1's peer", &[peer, peer]),
        ("endorsed by clients", &[user, other_user]),
        ("endorsed by an admin of Org1", &[admin, other_peer]),
        ("endorsed by an orderer", &[peer, orderer]),
        ("endorsed by a false peer of Org2", &[peer, forged_peer]),
        ("endorsed by an unknown organization", &[peer, stranger]),
    ] {
        let envelope = Outcome::new(user, "basic").endorse(endorsers).sign(user);
        table.committed(&format!("transaction: {name}"), envelope, EndorsementPolicyFailure, policy).await;
    }
    let altered = |endorsed: &mut Endorsed| {
        let signature = endorsed.endorsements()[1].signature.to_vec();
        let last = signature.len() - 1;
        let flipped = signature.iter().enumerate().map(|(at, byte)| if at == last { byte ^ 1 } else { *byte });
        endorsed.endorsements()[1].signature = flipped.collect();
    };
    endorsed(stage, table, "an altered endorsement", altered, EndorsementPolicyFailure, policy).await;
    let exchanged = |endorsed: &mut Endorsed| {
        let first = endorsed.endorsements()[0].signature.clone();
        endorsed.endorsements()[1].signature = first;
    };
    endorsed(stage, table, "somebody else's endorsement", exchanged, EndorsementPolicyFailure, policy).await;
    let claimed = |endorsed: &mut Endorsed| endorsed.endorsements()[1].endorser = GARBAGE.into();
    endorsed(stage, table, "an endorser that is garbage", claimed, EndorsementPolicyFailure, policy).await;
    let other = Outcome::new(user, "basic").endorse(&[other_peer]).action.unwrap().endorsements.remove(0);
    let borrowed = |endorsed: &mut Endorsed| endorsed.endorsements()[1] = other;
    endorsed(stage, table, "an endorsement of another transaction", borrowed, EndorsementPolicyFailure, policy).await;
    let unused = |endorsed: &mut Endorsed| endorsed.endorsements()[1].signature.clear();
    endorsed(stage, table, "an endorsement without signature", unused, EndorsementPolicyFailure, policy).await;
}

async fn namespaces(stage: &Stage, table: &mut Table<'_>) {
    let Actors { user, peer, other_peer, .. } = &stage.actors;
    for namespace in ["nowhere", "qscc", "cscc", "lscc", "", "Basic", "basic/", "basic\0"] {
        let outcome = Outcome::new(user, "basic")
            .change(|outcome| outcome.read_write_set.namespaces.push(writing(namespace, "key")));
        let envelope = outcome.endorse(&[peer, other_peer]).sign(user);
        let text = format!("chaincode {namespace:?} has no usable definition on this channel");
        table.committed(&format!("transaction: a write to {namespace:?}"), envelope, InvalidChaincode, &text).await;
    }
    for name in ["nowhere", "qscc", "cscc"] {
        let outcome = Outcome::new(user, name).change(|outcome| outcome.read_write_set.namespaces.clear());
        let envelope = outcome.endorse(&[peer, other_peer]).sign(user);
        let text = format!("chaincode {name:?} has no usable definition on this channel");
        table.committed(&format!("transaction: a call of {name:?}"), envelope, InvalidChaincode, &text).await;
    }
    let envelope = Outcome::new(user, LAX).endorse(&[peer]).sign(user);
    table.committed("transaction: Org1 alone, where that is enough", envelope, Valid, "").await;
    let envelope = Outcome::new(user, LAX).endorse(&[other_peer]).sign(user);
    let text = "endorsement policy OR('Org1MSP.peer') is not satisfied: …";
    table.committed("transaction: Org2 alone, where Org1 is asked for", envelope, EndorsementPolicyFailure, text).await;
    for (namespace, text) in [
        ("basic", "endorsement policy /Channel/Application/Endorsement is not satisfied: …"),
        ("_lifecycle", "endorsement policy /Channel/Application/LifecycleEndorsement is not satisfied: …"),
    ] {
        let outcome = Outcome::new(user, LAX)
            .change(|outcome| outcome.read_write_set.namespaces.push(writing(namespace, "stolen")));
        let name = format!("transaction: a write to {namespace} that only lax's endorsers signed");
        table.committed(&name, outcome.endorse(&[peer]).sign(user), EndorsementPolicyFailure, text).await;
    }
    for (collection, text) in [
        ("secrets", "chaincode \"basic\" has no collection \"secrets\""),
        ("_implicit_org_Org9MSP", "chaincode \"basic\" has no collection \"_implicit_org_Org9MSP\""),
    ] {
        let outcome = Outcome::new(user, "basic").change(|outcome| hashed_write(outcome, collection));
        let envelope = outcome.endorse(&[peer, other_peer]).sign(user);
        let name = format!("transaction: a write to the collection {collection}");
        table.committed(&name, envelope, EndorsementPolicyFailure, text).await;
    }
    let outcome = Outcome::new(user, LAX).change(|outcome| hashed_write(outcome, "_implicit_org_Org2MSP"));
    let text = "endorsement policy /Channel/Application/Org2MSP/Endorsement is not satisfied: …";
    let name = "transaction: a write to Org2's own collection by Org1";
    table.committed(name, outcome.endorse(&[peer]).sign(user), EndorsementPolicyFailure, text).await;
}

fn hashed_write(outcome: &mut Outcome, collection: &str) {
    let write = KvWriteHash { key_hash: vec![1; 32].into(), value_hash: vec![2; 32].into(), ..KvWriteHash::default() };
    outcome.read_write_set.namespaces[0].collections.push(CollectionSet {
        name: collection.to_owned(),
        hashed: HashedRwSet { hashed_writes: vec![write], ..HashedRwSet::default() },
        pvt_rwset_hash: vec![3; 32].into(),
    });
}

async fn conflicts(stage: &Stage, table: &mut Table<'_>) {
    let cases: [(_, Change, _); 4] = [
        (
            "a read of a key that is not there",
            |outcome| outcome.read_write_set.namespaces[0].public.reads.push(read("nothing", Some((3, 0)))),
            MvccReadConflict,
        ),
        (
            "a read of an older version",
            |outcome| {
                let reads = vec![read("namespaces/fields/basic/Sequence", Some((0, 9)))];
                outcome.read_write_set.namespaces.push(NamespaceSet {
                    namespace: "_lifecycle".to_owned(),
                    public: KvrwSet { reads, ..KvrwSet::default() },
                    collections: Vec::new(),
                });
            },
            MvccReadConflict,
        ),
        (
            "a range with a key that is not there",
            |outcome| {
                let reads = QueryReads { kv_reads: vec![read("phantom1", Some((3, 0)))] };
                outcome.read_write_set.namespaces[0].public.range_queries_info.push(RangeQueryInfo {
                    start_key: "phantom".to_owned(),
                    end_key: "phantom~".to_owned(),
                    itr_exhausted: true,
                    reads_info: Some(range_query_info::ReadsInfo::RawReads(reads)),
                });
            },
            PhantomReadConflict,
        ),
        (
            "a private read of a key that is not there",
            |outcome| {
                hashed_write(outcome, "_implicit_org_Org1MSP");
                let version = Some(Version { block_num: 3, tx_num: 0 });
                let read = KvReadHash { key_hash: vec![1; 32].into(), version };
                outcome.read_write_set.namespaces[0].collections[0].hashed.hashed_reads.push(read);
            },
            MvccReadConflict,
        ),
    ];
    for (name, change, code) in cases {
        outcome(stage, table, name, change, code, "…").await;
    }
}

/// Summaries of ranges that no endorser makes; what they say never fits the state.
async fn summaries(stage: &Stage, table: &mut Table<'_>) {
    let cases: [(_, Change); 5] = [
        ("no degree", |outcome| range(outcome, summary(0, 1))),
        ("degree 1", |outcome| range(outcome, summary(1, 1))),
        ("the largest degree", |outcome| range(outcome, summary(u32::MAX, 1))),
        ("the highest level", |outcome| range(outcome, summary(50, u32::MAX))),
        ("a read without version", |outcome| {
            let reads = QueryReads { kv_reads: vec![read("asset", None)] };
            range(outcome, range_query_info::ReadsInfo::RawReads(reads));
        }),
    ];
    for (name, change) in cases {
        outcome(stage, table, &format!("a range with {name}"), change, PhantomReadConflict, "…").await;
    }
}

fn summary(max_degree: u32, max_level: u32) -> range_query_info::ReadsInfo {
    let max_level_hashes = vec![vec![1; 32].into()];
    range_query_info::ReadsInfo::ReadsMerkleHashes(QueryReadsMerkleSummary { max_degree, max_level, max_level_hashes })
}

/// Says that all keys of the contract were read, and what came of it.
fn range(outcome: &mut Outcome, reads_info: range_query_info::ReadsInfo) {
    outcome.read_write_set.namespaces[0].public.range_queries_info.push(RangeQueryInfo {
        start_key: String::new(),
        end_key: String::new(),
        itr_exhausted: true,
        reads_info: Some(reads_info),
    });
}

async fn copies(stage: &Stage, table: &mut Table<'_>) {
    let Actors { user, peer, other_peer, .. } = &stage.actors;
    let original = Outcome::new(user, "basic").endorse(&[peer, other_peer]).sign(user);
    table.committed("transaction: the original of a replay", original.clone(), Valid, "").await;
    table.committed("transaction: a replay", original, DuplicateTxid, "transaction id …").await;
    let draft = Draft::new(user, "basic", &[b"Put"]);
    let of_draft = |draft: Draft| Outcome::new(user, "basic").change(|outcome| outcome.draft = draft);
    let invalid = of_draft(draft.clone()).endorse(&[peer]).sign(user);
    let text = "endorsement policy /Channel/Application/Endorsement is not satisfied: …";
    table.committed("transaction: a first, invalid use of an id", invalid, EndorsementPolicyFailure, text).await;
    let second = of_draft(draft).endorse(&[peer, other_peer]).sign(user);
    table.committed("transaction: a second, correct use of the id", second, DuplicateTxid, "transaction id …").await;
}
