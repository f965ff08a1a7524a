//! The threads over disks that fail.

use std::path::Path;

use ripstop_ledger::BlockRecord;
use ripstop_ledger::files::MemoryFiles;
use ripstop_msp::authority::{AuthorityKind, CertificateAuthority};
use ripstop_msp::{KeyKind, Role};
use ripstop_proto::common::{BlockHeader, Status};
use ripstop_proto::ripstop::v1::SubmitOutcome;
use tokio::sync::OwnedSemaphorePermit;

use super::*;
use crate::block_cutter::{BatchLimits, Cutting};
use crate::consenter::{RaftSettings, Settings};

/// A chain over two disks in memory, and what it says.
struct Setting {
    chain: Chain,
    log_disk: MemoryFiles,
    store_disk: MemoryFiles,
    store: Arc<BlockStore>,
    failures: tokio_mpsc::UnboundedReceiver<ChainFailure>,
    outcomes: tokio_mpsc::UnboundedReceiver<(SubmitOutcome, OwnedSemaphorePermit)>,
    to_outcomes: crate::receipt::Outcomes,
}

impl Setting {
    fn new(intake_bytes_max: u32) -> Self {
        let (log_disk, store_disk) = (MemoryFiles::new(), MemoryFiles::new());
        let folder = Path::new("raft");
        RaftLog::create(Arc::new(log_disk.clone()), folder, 4096, 7, &[1]).unwrap();
        let (log, recovered) = RaftLog::open(Arc::new(log_disk.clone()), folder, 4096, 7).unwrap().unwrap();
        let store = Arc::new(BlockStore::open(Arc::new(store_disk.clone()), "blocks").unwrap());
        let genesis = Block { header: Some(BlockHeader::default()), ..Block::default() };
        store.append(&BlockRecord { block: Some(genesis.clone()), ..BlockRecord::default() }).unwrap();
        let raft = RaftSettings {
            id: 1,
            election_ticks: 10,
            heartbeat_ticks: 1,
            uncommitted_bytes_max: 0,
            kept_bytes: 1 << 20,
            applied_index: 0,
            height: 1,
            catching_up: false,
            seed: 1,
        };
        let limits =
            BatchLimits { message_count_max: 3, preferred_bytes_max: 4096, timeout: Duration::from_secs(3600) };
        let cutting = Cutting::Adaptive { linger: Duration::from_millis(1) };
        let settings = Settings { raft, limits, cutting, in_flight_max: 5 };
        let authority = CertificateAuthority::new("example.com", AuthorityKind::Identity).unwrap();
        let issued = authority.issue_identity("orderer", Role::Orderer, KeyKind::Ed25519).unwrap();
        let signer = SigningIdentity::from_pem("OrdererMSP", issued.certificate_pem, issued.key_pem).unwrap();
        let (failure, failures) = tokio_mpsc::unbounded_channel();
        let (to_outcomes, outcomes) = tokio_mpsc::unbounded_channel();
        let chain = Chain::start(Parts {
            channel_id: "mychannel".to_owned(),
            consenter: Consenter::new(settings, recovered).unwrap(),
            consenter_id: 1,
            tick_interval: Duration::from_millis(100),
            log,
            writer: BlockWriter::after(&genesis, vec![1]).unwrap(),
            store: Arc::clone(&store),
            signer: Arc::new(signer),
            written: Box::new(|_| {}),
            fetching: tokio_mpsc::unbounded_channel().0,
            outbox: Box::new(|_| {}),
            intake_bytes_max,
            failures: failure,
        });
        Self { chain: chain.unwrap(), log_disk, store_disk, store, failures, outcomes, to_outcomes }
    }

    /// Brings envelopes of `bytes` each.
    async fn submit(&self, count: u64, bytes: usize) -> Result<(), Stopped> {
        let places = Arc::new(Semaphore::new(count as usize));
        let orders = (0..count).map(|correlation_id| {
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            let item = Item { correlation_id, place, outcomes: self.to_outcomes.clone() };
            let envelope = Bytes::from(vec![1; bytes]);
            (Order { envelope, size: bytes, config_sequence: 0 }, Some(item))
        });
        self.chain.submit(orders.collect()).await
    }

    async fn outcome(&mut self) -> SubmitOutcome {
        let outcome = tokio::time::timeout(Duration::from_secs(20), self.outcomes.recv()).await;
        outcome.unwrap().unwrap().0
    }
}

#[tokio::test]
async fn an_item_is_answered_when_its_block_is_durable() {
    let mut setting = Setting::new(1 << 20);
    assert!(setting.chain.leadership().borrow().is_self);
    setting.submit(2, 100).await.unwrap();
    let outcome = setting.outcome().await;
    assert_eq!((outcome.status(), outcome.correlation_id), (Status::Success, 0));
    let after_power_cut = setting.store_disk.restart(ripstop_ledger::files::Survival::Synced);
    let store = BlockStore::open(Arc::new(after_power_cut), "blocks").unwrap();
    let block = store.block(1).unwrap().unwrap();
    assert_eq!(block.data.unwrap().data.len(), 2);
    setting.chain.stop();
    assert!(setting.failures.try_recv().is_err());
}

#[tokio::test]
async fn more_envelopes_than_there_is_room_for_wait_and_get_through() {
    let mut setting = Setting::new(4096);
    tokio::time::timeout(Duration::from_secs(20), setting.submit(40, 1000)).await.unwrap().unwrap();
    for _ in 0..40 {
        assert_eq!(setting.outcome().await.status(), Status::Success);
    }
    // One that is larger than all the room takes all of it.
    setting.submit(1, 100_000).await.unwrap();
    assert_eq!(setting.outcome().await.status(), Status::Success);
    let blocks = (1..setting.store.height()).map(|number| setting.store.block(number).unwrap().unwrap());
    let envelopes: usize = blocks.map(|block| block.data.unwrap().data.len()).sum();
    assert_eq!(envelopes, 41);
    setting.chain.stop();
}

/// The chain ends by `expected`, and nobody is told that an envelope was ordered.
async fn fails(mut setting: Setting, expected: fn(&FailureCause) -> bool) {
    setting.submit(1, 100).await.unwrap();
    let failure = tokio::time::timeout(Duration::from_secs(20), setting.failures.recv()).await.unwrap().unwrap();
    assert!(failure.is_disk_failure() && expected(&failure.cause), "{failure}");
    assert!(failure.to_string().starts_with("channel mychannel: "), "{failure}");
    setting.chain.stop();
    assert_eq!(setting.outcome().await.status(), Status::ServiceUnavailable);
    assert!(setting.submit(1, 100).await.is_err(), "a chain that has ended takes nothing");
}

#[tokio::test]
async fn a_failed_sync_of_the_raft_log_ends_the_chain() {
    let setting = Setting::new(1 << 20);
    setting.log_disk.fail_sync(setting.log_disk.syncs() + 1);
    fails(setting, |cause| matches!(cause, FailureCause::Log(error) if error.must_end())).await;
}

#[tokio::test]
async fn a_failed_sync_of_the_block_store_ends_the_chain() {
    let setting = Setting::new(1 << 20);
    setting.store_disk.fail_sync(setting.store_disk.syncs() + 1);
    fails(setting, |cause| matches!(cause, FailureCause::Store(error) if error.must_end())).await;
}
