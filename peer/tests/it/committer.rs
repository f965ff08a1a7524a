//! The committer on a channel in memory, with transactions that a simulator made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::files::MemoryFiles;
use ripstop_ledger::{Options, Simulator};
use ripstop_peer::channel::Channel;
use ripstop_peer::committer::{self, CommitterError};
use ripstop_peer::deliver_client::{Tip, verify};
use ripstop_peer::validator::Halt;
use ripstop_proto::block::{TRANSACTIONS_FILTER, commit_hash, metadata_slot};
use ripstop_proto::common::{Block, HeaderType};
use ripstop_proto::hash::sha256;
use ripstop_proto::lifecycle::ApproveChaincodeDefinitionForMyOrgArgs;
use ripstop_proto::protos::{
    ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload, ChaincodeSpec, TxValidationCode as Code,
};
use ripstop_proto::read_write_set::ReadWriteSet;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::block_file;
use crate::blocks::{self, Definition, define};
use crate::organizations::Organizations;
use crate::transactions::{Draft, hashed_writes};

/// A channel whose committer runs.
struct Running {
    organizations: Organizations,
    channel: Arc<Channel>,
    delivered_blocks: mpsc::Sender<Block>,
    shutdown: CancellationToken,
    committer: JoinHandle<Result<(), CommitterError>>,
    nonce: u64,
}

impl Running {
    /// For a peer of organization 1, with chaincode `basic` defined.
    fn new() -> Self {
        let organizations = Organizations::new();
        let channel = organizations.channel();
        define(channel.ledger(), &organizations, &[Definition::new("basic", "OR('Org1MSP.peer','Org2MSP.peer')")]);
        let (delivered_blocks, receiver) = mpsc::channel(2);
        let shutdown = CancellationToken::new();
        let committer =
            tokio::spawn(committer::run(Arc::clone(&channel), "Org1MSP".to_owned(), receiver, shutdown.clone()));
        Self { organizations, channel, delivered_blocks, shutdown, committer, nonce: 0 }
    }

    /// An endorsed transaction that does what `act` does on the state of now.
    fn transaction(&mut self, act: impl FnOnce(&mut Simulator)) -> Bytes {
        let mut simulator = self.channel.ledger().simulator();
        act(&mut simulator);
        let sets = simulator.finish().read_write_set.encode_to_vec();
        let sets = ReadWriteSet::decode(sets.into()).unwrap();
        self.draft().sets(sets.namespaces).entry()
    }

    fn draft(&mut self) -> Draft<'_> {
        self.nonce += 1;
        Draft::new(&self.organizations.org1.client, &[&self.organizations.org1.peer], self.nonce)
    }

    /// Delivers a block and waits until it is committed.
    async fn commit(&self, entries: Vec<Bytes>) -> (Block, Vec<Code>) {
        let block = blocks::after(&Tip::of(self.channel.ledger()).unwrap(), entries);
        let number = block.header.as_ref().unwrap().number;
        self.delivered_blocks.send(block).await.unwrap();
        self.channel.ledger().heights().wait_for(|height| *height > number).await.unwrap();
        let block = self.channel.ledger().block(number).unwrap().unwrap();
        let filter = metadata_slot(&block, TRANSACTIONS_FILTER);
        let codes = filter.iter().map(|code| Code::try_from(i32::from(*code)).unwrap()).collect();
        (Arc::unwrap_or_clone(block), codes)
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.committer.await.unwrap().unwrap();
    }
}

fn put(key: &'static str) -> impl Fn(&mut Simulator) {
    move |simulator| simulator.put_state("basic", key, Bytes::from_static(b"value")).unwrap()
}

fn get_and_put(key: &'static str) -> impl Fn(&mut Simulator) {
    move |simulator| {
        simulator.get_state("basic", key).unwrap();
        put(key)(simulator);
    }
}

/// Reads all keys from `a` to `z` and writes `result`.
fn sum_up(result: &'static str) -> impl Fn(&mut Simulator) {
    move |simulator| {
        let range = simulator.open_range("basic", "a", "z");
        while simulator.next(range).unwrap().is_some() {}
        put(result)(simulator);
    }
}

#[tokio::test]
async fn a_read_that_is_stale_within_or_between_blocks_is_a_conflict() {
    let mut running = Running::new();
    let [first, second, third] = [(); 3].map(|()| running.transaction(get_and_put("k")));
    let (_, codes) = running.commit(vec![first, second]).await;
    assert_eq!(codes, [Code::Valid, Code::MvccReadConflict]);
    let (_, codes) = running.commit(vec![third]).await;
    assert_eq!(codes, [Code::MvccReadConflict]);
    let fourth = running.transaction(get_and_put("k"));
    assert_eq!(running.commit(vec![fourth]).await.1, [Code::Valid]);
    running.end().await;
}

#[tokio::test]
async fn a_row_that_appears_in_a_range_within_or_between_blocks_is_a_phantom() {
    let mut running = Running::new();
    let [row, other_row] = ["m", "n"].map(|key| running.transaction(put(key)));
    let [first, second] = ["zz1", "zz2"].map(|key| running.transaction(sum_up(key)));
    let (_, codes) = running.commit(vec![row, first]).await;
    assert_eq!(codes, [Code::Valid, Code::PhantomReadConflict]);
    let (_, codes) = running.commit(vec![second]).await;
    assert_eq!(codes, [Code::PhantomReadConflict]);
    let third = running.transaction(sum_up("zz3"));
    assert_eq!(running.commit(vec![third, other_row]).await.1, [Code::Valid, Code::Valid]);
    running.end().await;
}

#[tokio::test]
async fn a_copy_of_a_transaction_is_a_duplicate_in_its_block_and_later() {
    let mut running = Running::new();
    let entry = running.transaction(put("k"));
    let (_, codes) = running.commit(vec![entry.clone(), entry.clone()]).await;
    assert_eq!(codes, [Code::Valid, Code::DuplicateTxid]);
    assert_eq!(running.commit(vec![entry]).await.1, [Code::DuplicateTxid]);
    running.end().await;
}

#[tokio::test]
async fn refused_transactions_leave_their_reason_and_nothing_else() {
    let mut running = Running::new();
    let mut draft = running.draft().sets([crate::transactions::writes("basic", &[("k", "v")])]);
    draft.endorsers.clear();
    let entry = draft.entry();
    let (block, codes) = running.commit(vec![entry]).await;
    assert_eq!(codes, [Code::EndorsementPolicyFailure]);
    assert!(commit_hash(&block).is_some());
    assert_eq!(running.channel.ledger().state().get("basic", "k").unwrap(), None);
    let record = running.channel.ledger().record(2).unwrap().unwrap();
    assert_eq!(record.refusals.len(), 1);
    assert_eq!(record.refusals[0].rule, "OR('Org1MSP.peer', 'Org2MSP.peer')");
    running.end().await;
}

#[tokio::test]
async fn who_waits_hears_of_the_commit_when_the_state_can_be_read() {
    let mut running = Running::new();
    let mut draft = running.draft().sets([crate::transactions::writes("basic", &[("k", "v")])]);
    draft.nonce = vec![9; 24];
    let (tx_id, entry) = (draft.tx_id(), draft.entry());
    let channel = Arc::clone(&running.channel);
    let waiting = channel.commits().wait(&tx_id);
    let watching = tokio::spawn(async move {
        let committed = waiting.await.unwrap();
        (committed, channel.ledger().state().get("basic", "k").unwrap().is_some())
    });
    let first = running.transaction(put("other"));
    running.commit(vec![first, entry]).await;
    let (committed, readable) = watching.await.unwrap();
    assert_eq!((committed.block_number, committed.tx_index, committed.code), (2, 1, Code::Valid));
    assert!(readable);
    assert_eq!(running.channel.commits().waiting_count(), 0);
    running.end().await;
}

#[tokio::test]
async fn commit_hashes_chain_over_the_blocks() {
    let mut running = Running::new();
    let mut hashes = Vec::new();
    for _ in 0..3 {
        let entry = running.transaction(put("k"));
        hashes.push(commit_hash(&running.commit(vec![entry]).await.0).unwrap());
    }
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    running.end().await;
}

/// An approval of organization `msp_id`, of which one hash is that of the real value.
fn approval(running: &mut Running, msp_id: &str) -> Bytes {
    let args = ApproveChaincodeDefinitionForMyOrgArgs {
        sequence: 1,
        name: "new".into(),
        version: "1".into(),
        ..Default::default()
    };
    let input = ChaincodeInput {
        args: vec![Bytes::from_static(b"ApproveChaincodeDefinitionForMyOrg"), args.encode_to_vec().into()],
        ..Default::default()
    };
    let spec = ChaincodeSpec { input: Some(input), ..Default::default() };
    let payload = ChaincodeProposalPayload {
        input: ChaincodeInvocationSpec { chaincode_spec: Some(spec) }.encode_to_vec().into(),
        ..Default::default()
    };
    let package_id: &[u8] = b"\x1a\x00";
    let hash = (sha256(&[b"chaincode-sources/fields/new#1/PackageID"]), sha256(&[package_id]));
    let Organizations { org1, org2, .. } = &running.organizations;
    running.nonce += 1;
    let endorser = if msp_id == "Org1MSP" { &org1.peer } else { &org2.peer };
    let mut draft = Draft::new(&org1.client, &[endorser], running.nonce);
    draft.chaincode = "_lifecycle".into();
    draft.proposal_payload = payload.encode_to_vec().into();
    draft.sets([hashed_writes("_lifecycle", &format!("_implicit_org_{msp_id}"), &[hash])]).entry()
}

#[tokio::test]
async fn the_own_organizations_approvals_are_kept_in_clear() {
    let mut running = Running::new();
    let entries = vec![approval(&mut running, "Org1MSP"), approval(&mut running, "Org2MSP")];
    assert_eq!(running.commit(entries).await.1, [Code::Valid, Code::Valid]);
    let state = running.channel.ledger().state();
    let clear =
        |collection| state.private("_lifecycle", collection, "chaincode-sources/fields/new#1/PackageID").unwrap();
    assert_eq!(clear("_implicit_org_Org1MSP").unwrap().value, Bytes::from_static(b"\x1a\x00"));
    assert_eq!(clear("_implicit_org_Org2MSP"), None);
    running.end().await;
}

#[tokio::test]
async fn the_chain_of_a_real_network_gets_fabrics_codes_and_commit_hashes() {
    let chain = block_file::lifecycle();
    let channel = Channel::create("mychannel".as_ref(), chain[0].clone(), Options::in_memory()).unwrap();
    let (delivered_blocks, receiver) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    let committer =
        tokio::spawn(committer::run(Arc::clone(&channel), "Org2MSP".to_owned(), receiver, shutdown.clone()));
    let mut tip = Tip::of(channel.ledger()).unwrap();
    for block in &chain[1..] {
        tip = verify(block, &tip, &channel.config()).unwrap();
        delivered_blocks.send(block.clone()).await.unwrap();
        channel.ledger().heights().wait_for(|height| *height == tip.next_number).await.unwrap();
        let committed = channel.ledger().block(tip.next_number - 1).unwrap().unwrap();
        assert_eq!(metadata_slot(&committed, TRANSACTIONS_FILTER), metadata_slot(block, TRANSACTIONS_FILTER));
        assert_eq!(commit_hash(&committed), commit_hash(block));
    }
    assert!(tip.next_number > 5);
    shutdown.cancel();
    committer.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_configuration_update_stops_the_channel_before_its_block() {
    let mut running = Running::new();
    let mut draft = running.draft();
    draft.changes.channel_header.push(Box::new(|header| header.r#type = HeaderType::Config as i32));
    let entry = draft.entry();
    let height = running.channel.ledger().height();
    let block = blocks::after(&Tip::of(running.channel.ledger()).unwrap(), vec![entry]);
    running.delivered_blocks.send(block).await.unwrap();
    let end = running.committer.await.unwrap().unwrap_err();
    assert!(matches!(&end, CommitterError::Halted { halt: Halt::ConfigUpdate { .. }, .. }), "{end}");
    assert!(!end.is_fatal());
    assert!(end.to_string().contains("mychannel"), "{end}");
    assert_eq!(running.channel.ledger().height(), height);
}

/// A committer over files that a test can make fail, and a block to give it.
fn over_failing_files() -> (MemoryFiles, Arc<Channel>, Block) {
    let organizations = Organizations::new();
    let files = MemoryFiles::new();
    let options = Options { files: Arc::new(files.clone()), ..Options::in_memory() };
    let channel = Channel::create("mychannel".as_ref(), organizations.genesis.clone(), options).unwrap();
    let entry = Draft::new(&organizations.org1.client, &[], 1).entry();
    let block = blocks::after(&Tip::of(channel.ledger()).unwrap(), vec![entry]);
    (files, channel, block)
}

#[tokio::test]
async fn a_failed_sync_has_to_end_the_process() {
    let (files, channel, block) = over_failing_files();
    files.fail_sync(files.syncs() + 1);
    let (delivered_blocks, receiver) = mpsc::channel(1);
    delivered_blocks.send(block).await.unwrap();
    let end = committer::run(channel, "Org1MSP".to_owned(), receiver, CancellationToken::new()).await.unwrap_err();
    assert!(end.is_fatal(), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_makes_the_committer_wait_until_there_is_space() {
    let (files, channel, block) = over_failing_files();
    files.set_capacity_bytes(Some(0));
    let (delivered_blocks, receiver) = mpsc::channel(1);
    delivered_blocks.send(block).await.unwrap();
    drop(delivered_blocks);
    let committing = committer::run(Arc::clone(&channel), "Org1MSP".to_owned(), receiver, CancellationToken::new());
    let mut committing = std::pin::pin!(committing);
    let waited = tokio::time::timeout(Duration::from_secs(30), &mut committing).await;
    assert!(waited.is_err() && channel.ledger().height() == 1);
    files.set_capacity_bytes(None);
    committing.await.unwrap();
    assert_eq!(channel.ledger().height(), 2);
}
