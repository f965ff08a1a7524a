//! A chain in memory whose policy, health and clock the test sets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use ripstop_node::deliver::{Chain, Channels, Request};
use ripstop_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader,
};
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::orderer::{SeekInfo, SeekNewest, SeekNextCommit, SeekOldest, SeekPosition, SeekSpecified};
use tokio::sync::watch;

pub(crate) const CHANNEL: &str = "mychannel";
/// The time of the tests.
pub(crate) const NOW: Duration = Duration::from_secs(1_700_000_000);

pub(crate) struct MemoryChain {
    blocks: Mutex<Vec<Arc<Block>>>,
    heights: watch::Sender<u64>,
    pub(crate) healthy: watch::Sender<bool>,
    pub(crate) config_sequence: AtomicU64,
    pub(crate) authorized: watch::Sender<bool>,
    pub(crate) checks: AtomicUsize,
    pub(crate) expires_at: Mutex<Option<SystemTime>>,
    pub(crate) first_block: AtomicU64,
}

impl MemoryChain {
    /// A genesis block and `count - 1` further ones.
    pub(crate) fn new(count: u64) -> Arc<Self> {
        let chain = Self {
            blocks: Mutex::new(Vec::new()),
            heights: watch::Sender::new(0),
            healthy: watch::Sender::new(true),
            config_sequence: AtomicU64::new(0),
            authorized: watch::Sender::new(true),
            checks: AtomicUsize::new(0),
            expires_at: Mutex::new(None),
            first_block: AtomicU64::new(0),
        };
        for _ in 0..count {
            chain.append(100);
        }
        Arc::new(chain)
    }

    pub(crate) fn append(&self, data_bytes: usize) {
        let mut blocks = self.blocks.lock().unwrap();
        let number = blocks.len() as u64;
        let kind = if number == 0 { HeaderType::Config } else { HeaderType::EndorserTransaction };
        let entry = envelope(&ChannelHeader { r#type: kind.into(), ..channel_header() }, vec![7; data_bytes]);
        blocks.push(Arc::new(Block {
            header: Some(BlockHeader { number, ..BlockHeader::default() }),
            data: Some(BlockData { data: vec![entry.encode_to_vec().into()] }),
            metadata: Some(BlockMetadata { metadata: vec![vec![1].into(); 5] }),
        }));
        drop(blocks);
        self.heights.send_modify(|height| *height += 1);
    }
}

impl Chain for MemoryChain {
    fn heights(&self) -> watch::Receiver<u64> {
        self.heights.subscribe()
    }

    fn first_block(&self) -> u64 {
        self.first_block.load(Ordering::SeqCst)
    }

    async fn block(&self, number: u64) -> Result<Arc<Block>, String> {
        let blocks = self.blocks.lock().unwrap();
        blocks.get(usize::try_from(number).unwrap()).cloned().ok_or_else(|| format!("no block {number}"))
    }

    fn config_sequence(&self) -> u64 {
        self.config_sequence.load(Ordering::SeqCst)
    }

    fn authorize(&self, request: &Request) -> Result<(), String> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let known = request.identity == "someone" && request.signature == "signature";
        if known && *self.authorized.borrow() { Ok(()) } else { Err("policy not satisfied".to_owned()) }
    }

    fn expires_at(&self, _: &[u8]) -> Option<SystemTime> {
        *self.expires_at.lock().unwrap()
    }

    fn healthy(&self) -> Option<watch::Receiver<bool>> {
        Some(self.healthy.subscribe())
    }
}

#[derive(Default)]
pub(crate) struct MemoryChannels(pub(crate) BTreeMap<String, Arc<MemoryChain>>);

impl MemoryChannels {
    pub(crate) fn one(chain: &Arc<MemoryChain>) -> Arc<Self> {
        Arc::new(Self(BTreeMap::from([(CHANNEL.to_owned(), chain.clone())])))
    }
}

impl Channels for MemoryChannels {
    type Chain = MemoryChain;

    fn chain(&self, channel_id: &str) -> Option<Arc<MemoryChain>> {
        self.0.get(channel_id).cloned()
    }
}

pub(crate) fn timestamp(at: Duration) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_secs().cast_signed(), nanos: at.subsec_nanos().cast_signed() }
}

pub(crate) fn channel_header() -> ChannelHeader {
    ChannelHeader {
        r#type: HeaderType::DeliverSeekInfo.into(),
        channel_id: CHANNEL.to_owned(),
        timestamp: Some(timestamp(NOW)),
        ..ChannelHeader::default()
    }
}

pub(crate) fn envelope(channel_header: &ChannelHeader, data: Vec<u8>) -> Envelope {
    let signature_header = SignatureHeader { creator: "someone".into(), ..SignatureHeader::default() };
    let header = Header {
        channel_header: channel_header.encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let payload = Payload { header: Some(header), data: data.into() };
    Envelope { payload: payload.encode_to_vec().into(), signature: "signature".into() }
}

pub(crate) fn oldest() -> Type {
    Type::Oldest(SeekOldest {})
}

pub(crate) fn newest() -> Type {
    Type::Newest(SeekNewest {})
}

pub(crate) fn at(number: u64) -> Type {
    Type::Specified(SeekSpecified { number })
}

pub(crate) fn next_commit() -> Type {
    Type::NextCommit(SeekNextCommit {})
}

pub(crate) fn seek_info(start: Type, stop: Type) -> SeekInfo {
    SeekInfo {
        start: Some(SeekPosition { r#type: Some(start) }),
        stop: Some(SeekPosition { r#type: Some(stop) }),
        ..SeekInfo::default()
    }
}

pub(crate) fn seek(start: Type, stop: Type) -> Envelope {
    envelope(&channel_header(), seek_info(start, stop).encode_to_vec())
}

pub(crate) fn clock() -> SystemTime {
    UNIX_EPOCH + NOW
}
