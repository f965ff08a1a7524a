//! Blocks of other consenters, for a consenter whose log is too far behind.
//!
//! ```text
//! consenter: FetchBlocks ─▶ Deliver of another consenter ─▶ verified ─▶ block writer ─▶ consenter: Applied
//! ```
//! A block is taken only if it continues the chain and is signed as the channel demands. While
//! blocks are fetched that the Raft log does not follow yet, a file in the channel's folder
//! says so: otherwise they would look, after a crash, as if the log had been lost.
//! Source: Fabric `orderer/consensus/etcdraft/blockpuller.go`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream;
use prost::Message;
use ripstop_channel::{BlockSignatureError, ChannelConfig};
use ripstop_ledger::{BlockStore, BlockStoreError};
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_node::transport::{DialError, MESSAGE_BYTES_MAX};
use ripstop_proto::common::{Block, ChannelHeader, Envelope, Header, HeaderType, Payload, SignatureHeader};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::seek_info::SeekErrorResponse;
use ripstop_proto::orderer::{SeekInfo, SeekPosition, SeekSpecified, deliver_response, seek_position};
use ripstop_proto::{block, envelope};
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::backoff::Backoff;
use crate::chain::{FetchedBlocks, Fetching, Stopped};
use crate::members::{Caller, Member, Members};

/// How long a consenter may take for a block.
const PATIENCE: Duration = Duration::from_secs(5);
/// Blocks, and bytes of them, that are verified and stored at once.
const BLOCKS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 8 << 20;

/// Fetches blocks for one channel.
pub(crate) struct BlockFetch {
    pub(crate) config: Arc<ChannelConfig>,
    pub(crate) members: Arc<Members>,
    pub(crate) caller: Caller,
    pub(crate) signer: Arc<SigningIdentity>,
    pub(crate) store: Arc<BlockStore>,
    pub(crate) fetched: FetchedBlocks,
    /// The file that says that the log did not follow yet.
    pub(crate) catching_up: PathBuf,
}

/// Why a consenter is left for another.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error(transparent)]
    Connect(#[from] DialError),
    #[error("no block within {} s", PATIENCE.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the request for blocks cannot be signed: {0}")]
    Sign(#[from] SigningError),
    #[error("the stream broke: {0}")]
    Stream(#[from] tonic::Status),
    #[error("it ended the stream at block {next}, status {status}")]
    Ended { next: u64, status: i32 },
    #[error("refused its block: {0}")]
    Block(#[from] BadBlock),
    #[error("the block store: {0}")]
    Store(#[from] BlockStoreError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("the verification did not end: {0}")]
    Verification(#[from] tokio::task::JoinError),
}

/// Why a block is refused.
#[derive(Debug, thiserror::Error)]
enum BadBlock {
    #[error("it does not continue the chain at block {0}")]
    Place(u64),
    #[error("the data hash of block {0} is not that of its entries, or an entry is not in its one encoding")]
    Entries(u64),
    #[error(transparent)]
    Signatures(#[from] BlockSignatureError),
}

impl BlockFetch {
    /// Does what the consenter asks for until the channel ends.
    pub(crate) async fn run(self, mut wanted: mpsc::UnboundedReceiver<Fetching>) {
        // The log has not followed what was fetched up to here.
        let mut fetched = self.store.height();
        while let Some(mut fetching) = wanted.recv().await {
            // A later word takes the place of earlier ones.
            while let Ok(later) = wanted.try_recv() {
                fetching = later;
            }
            let channel_id = self.config.channel_id();
            let marked = match fetching {
                Fetching::UpTo(height) if self.store.height() >= height => continue,
                Fetching::UpTo(_) => mark(&self.catching_up),
                Fetching::CaughtUp(height) if height < fetched => continue,
                Fetching::CaughtUp(_) => unmark(&self.catching_up),
            };
            if let Err(error) = marked {
                let file = self.catching_up.display();
                tracing::error!(channel_id, %error, "cannot write or remove {file}: this consenter does not catch up");
                continue;
            }
            match fetching {
                Fetching::UpTo(height) => {
                    self.fetch_up_to(height).await;
                    fetched = height;
                }
                Fetching::CaughtUp(height) => {
                    tracing::info!(channel_id, height, "caught up: the Raft log goes on from here");
                }
            }
        }
    }

    /// Asks one consenter after the other until there are `height` blocks.
    async fn fetch_up_to(&self, height: u64) {
        let channel_id = self.config.channel_id();
        tracing::info!(channel_id, from = self.store.height(), height, "the Raft log is behind: fetching blocks");
        let mut backoff = Backoff::new();
        loop {
            for member in self.members.others() {
                let before = self.store.height();
                match self.fetch_from(member, height).await {
                    Ok(()) | Err(Left::Stopped(_)) => return,
                    Err(left) => {
                        tracing::warn!(
                            channel_id,
                            consenter = member.id,
                            address = member.address,
                            "fetching blocks: {left}"
                        );
                    }
                }
                if self.store.height() > before {
                    backoff.reset();
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn fetch_from(&self, member: &Member, height: u64) -> Result<(), Left> {
        let mut next = self.store.height();
        if next >= height {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let last = tokio::task::spawn_blocking(move || store.last_block()).await??;
        let mut tip = last.and_then(|block| block.header).map(|header| block::header_hash(&header)).unwrap_or_default();
        let mut answers = tokio::time::timeout(PATIENCE, self.open(member, next, height - 1)).await??;
        while next < height {
            let blocks = gather(&mut answers, next, height).await?;
            let config = Arc::clone(&self.config);
            let verification = move || verify(&blocks, next, tip, &config).map(|tip| (blocks, tip));
            let (blocks, new_tip) = tokio::task::spawn_blocking(verification).await??;
            (next, tip) = (next + blocks.len() as u64, new_tip);
            self.fetched.store(blocks).await?;
        }
        Ok(())
    }

    async fn open(
        &self,
        member: &Member,
        first: u64,
        last: u64,
    ) -> Result<Streaming<ripstop_proto::orderer::DeliverResponse>, Left> {
        let request = self.request(first, last)?;
        let connection = self.members.connect(member, &self.caller).await?;
        let mut client = AtomicBroadcastClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let requests = futures::StreamExt::chain(stream::iter([request]), stream::pending());
        Ok(client.deliver(requests).await?.into_inner())
    }

    /// A signed request for blocks, also of a consenter that has no leader.
    fn request(&self, first: u64, last: u64) -> Result<Envelope, SigningError> {
        let at = |number| Some(SeekPosition { r#type: Some(seek_position::Type::Specified(SeekSpecified { number })) });
        let seek = SeekInfo {
            start: at(first),
            stop: at(last),
            error_response: SeekErrorResponse::BestEffort.into(),
            ..SeekInfo::default()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let channel_header = ChannelHeader {
            r#type: HeaderType::DeliverSeekInfo.into(),
            channel_id: self.config.channel_id().to_owned(),
            timestamp: Some(prost_types::Timestamp { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() as i32 }),
            tls_cert_hash: self.caller.certificate_hash.to_vec().into(),
            ..ChannelHeader::default()
        };
        let nonce: [u8; 24] = rand::random();
        let creator = self.signer.serialized().clone();
        let signature_header = SignatureHeader { creator, nonce: nonce.to_vec().into() };
        let header = Header {
            channel_header: channel_header.encode_to_vec().into(),
            signature_header: signature_header.encode_to_vec().into(),
        };
        let payload = Payload { header: Some(header), data: seek.encode_to_vec().into() }.encode_to_vec();
        let signature = self.signer.sign(&payload)?;
        Ok(envelope::signed(payload.into(), signature.into()))
    }
}

/// The next blocks of a stream, as many as make one portion.
async fn gather(
    answers: &mut Streaming<ripstop_proto::orderer::DeliverResponse>,
    next: u64,
    height: u64,
) -> Result<Vec<Block>, Left> {
    let count = usize::try_from(height - next).unwrap_or(usize::MAX).min(BLOCKS_AT_ONCE);
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    while blocks.len() < count && bytes < BYTES_AT_ONCE {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await??;
        match answer.and_then(|answer| answer.r#type) {
            Some(deliver_response::Type::Block(block)) => {
                bytes += block.encoded_len();
                blocks.push(block);
            }
            Some(deliver_response::Type::Status(status)) => return Err(Left::Ended { next, status }),
            None => return Err(Left::Ended { next, status: 0 }),
        }
    }
    Ok(blocks)
}

/// Verifies that blocks continue the chain from `next` on, whose last header hash is `tip`, and
/// are signed as `config` demands; the hash of the last one.
fn verify(blocks: &[Block], mut next: u64, mut tip: [u8; 32], config: &ChannelConfig) -> Result<[u8; 32], BadBlock> {
    for block in blocks {
        let header = block.header.as_ref().ok_or(BadBlock::Place(next))?;
        if header.number != next || header.previous_hash != tip[..] {
            return Err(BadBlock::Place(next));
        }
        let entries = block.data.as_ref().map_or(&[][..], |data| &data.data);
        let canonical = block::is_config(block) || entries.iter().all(|entry| envelope::canonical(entry).is_ok());
        if entries.is_empty() || !canonical || header.data_hash != block::data_hash(entries)[..] {
            return Err(BadBlock::Entries(next));
        }
        config.check_block_signatures(block)?;
        (next, tip) = (next + 1, block::header_hash(header));
    }
    Ok(tip)
}

/// Makes the file, durably.
fn mark(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    File::create(path)?.sync_all()?;
    sync_folder(path)
}

/// Removes the file, durably.
fn unmark(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(()),
        Ok(()) => sync_folder(path),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
