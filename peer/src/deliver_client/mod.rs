//! Takes a channel's blocks from its orderers, verifies each and hands it on.
//!
//! It speaks Fabric's `orderer.AtomicBroadcast/Deliver`: a signed request that
//! starts at the ledger's height and never ends. Endpoints come from the
//! configuration in force; when one fails, the next is asked, and after a round
//! of failures the client waits a little. One that is silent is left when others
//! are ahead (`others`). It judges the chain and the orderers'
//! signatures (`chain`), never a transaction: that is `validator`.

mod backoff;
mod chain;
mod endpoints;
mod others;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_node::transport::{ClientIdentity, DialError, Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::block;
use ripstop_proto::common::{Block, Envelope, Status};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::deliver_response;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use self::others::{Ahead, Others};
use crate::channel::Channel;

pub use backoff::Backoff;
pub use chain::{BadBlock, Tip, verify};
pub use endpoints::{Endpoint, endpoints, seek_from};

/// How long one endpoint may take to accept a connection and the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an orderer may keep back a block that another one has; after half of it without a
/// block the others are asked how far they are.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// As whom orderers are asked, and how they are reached.
#[derive(Clone)]
pub struct Caller {
    /// Signs the requests.
    pub identity: Arc<SigningIdentity>,
    /// Opens the connections.
    pub dialer: Dialer,
    /// Shown to orderers that ask for a TLS certificate. Leave it out where they do not
    /// demand one: an orderer that only knows other authorities ends the connection.
    pub tls: Option<ClientIdentity>,
    /// SHA-256 of that certificate's DER, which such orderers find in the request.
    pub tls_certificate_hash: [u8; 32],
}

/// Follows the orderers of one channel.
pub struct DeliverClient {
    channel: Arc<Channel>,
    caller: Caller,
    backoff: Backoff,
    silence_max: Duration,
    random: StdRng,
}

/// Why an orderer is left for another.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error(transparent)]
    Connect(#[from] DialError),
    #[error("no answer to the request for blocks within {} s", CONNECT_TIMEOUT.as_secs())]
    Silent,
    #[error("the request for blocks cannot be signed: {0}")]
    Sign(#[from] SigningError),
    #[error("the stream broke: {0}")]
    Stream(#[from] tonic::Status),
    #[error("the orderer ended the stream with status {0}")]
    Status(&'static str),
    #[error("the orderer ended the stream")]
    Ended,
    #[error("the orderer sent a message that is neither block nor status")]
    Empty,
    #[error("it sent nothing, and {} has block {}", .0.endpoint.address, .0.newest)]
    Overtaken(Ahead),
    #[error("refused the block: {0}")]
    BadBlock(#[from] BadBlock),
    #[error("the verification did not end: {0}")]
    Verification(#[from] tokio::task::JoinError),
}

impl DeliverClient {
    /// A client that draws the order of endpoints and its waiting times from `seed`.
    pub fn new(channel: Arc<Channel>, caller: Caller, backoff: Backoff, seed: u64) -> Self {
        Self { channel, caller, backoff, silence_max: SILENCE_MAX, random: StdRng::seed_from_u64(seed) }
    }

    /// Asks other orderers how far they are once the one that is followed has sent nothing
    /// for so long (default 2 s), and leaves it after as long again.
    #[must_use]
    pub fn with_silence_max(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    /// Sends verified blocks from the ledger's height on, in order and without gap,
    /// until `shutdown` or until nobody receives them any more.
    pub async fn run(mut self, delivered_blocks: mpsc::Sender<Block>, shutdown: CancellationToken) {
        let mut tip = match Tip::of(self.channel.ledger()) {
            Ok(tip) => tip,
            Err(error) => {
                tracing::error!(channel = self.channel.id(), "cannot read the last block: {error}");
                return;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow_orderers(&mut tip, &delivered_blocks) => {}
        }
    }

    /// Round after round over the endpoints; ends when nobody receives blocks.
    async fn follow_orderers(&mut self, tip: &mut Tip, delivered_blocks: &mpsc::Sender<Block>) {
        while !delivered_blocks.is_closed() {
            let mut endpoints = endpoints(&self.channel.config());
            if endpoints.is_empty() {
                tracing::error!(channel = self.channel.id(), "the configuration names no orderer endpoint");
            }
            endpoints.shuffle(&mut self.random);
            let mut endpoints = VecDeque::from(endpoints);
            while let Some(endpoint) = endpoints.pop_front() {
                let next_number = tip.next_number;
                let Err(left) = self.follow(&endpoint, tip, delivered_blocks).await else { return };
                tracing::warn!(
                    channel = self.channel.id(),
                    orderer = endpoint.address,
                    next_block = tip.next_number,
                    "leaving the orderer: {left}"
                );
                if tip.next_number > next_number {
                    self.backoff.reset();
                }
                if let Left::Overtaken(Ahead { endpoint, .. }) = left {
                    endpoints.retain(|other| *other != endpoint);
                    endpoints.push_front(endpoint);
                }
            }
            tokio::time::sleep(self.backoff.next(&mut self.random)).await;
        }
    }

    /// Takes blocks from one orderer until something is wrong with it. `Ok` means
    /// that nobody receives blocks any more.
    async fn follow(
        &self,
        endpoint: &Endpoint,
        tip: &mut Tip,
        delivered_blocks: &mpsc::Sender<Block>,
    ) -> Result<(), Left> {
        let opening = self.open(endpoint, tip.next_number);
        let mut answers = tokio::time::timeout(CONNECT_TIMEOUT, opening).await.map_err(|_| Left::Silent)??;
        tracing::info!(
            channel = self.channel.id(),
            orderer = endpoint.address,
            next_block = tip.next_number,
            "following the orderer"
        );
        let mut others = Others::new(self, endpoint);
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.next() => answer.ok_or(Left::Ended)??,
                ahead = others.ahead_of(tip.next_number) => return Err(Left::Overtaken(ahead)),
            };
            let block = match answer.r#type.ok_or(Left::Empty)? {
                deliver_response::Type::Block(block) => block,
                deliver_response::Type::Status(status) => return Err(Left::Status(name_of(status))),
            };
            let (block, next_tip) = self.verified(block, *tip).await?;
            let (is_config, sequence) = (block::is_config(&block), self.channel.config().sequence());
            if delivered_blocks.send(block).await.is_err() {
                return Ok(());
            }
            *tip = next_tip;
            if is_config {
                self.wait_for_config_after(sequence, delivered_blocks).await;
            }
        }
    }

    async fn open(
        &self,
        endpoint: &Endpoint,
        next_number: u64,
    ) -> Result<tonic::Streaming<ripstop_proto::orderer::DeliverResponse>, Left> {
        let request = self.request(next_number)?;
        let connection =
            self.caller.dialer.connect(&endpoint.address, &endpoint.tls_roots_pem, self.caller.tls.as_ref()).await?;
        let mut client = AtomicBroadcastClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
        // The request side stays open: an orderer may take its end for ours.
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        Ok(client.deliver(requests).await?.into_inner())
    }

    fn request(&self, next_number: u64) -> Result<Envelope, SigningError> {
        seek_from(
            self.channel.id(),
            next_number,
            &self.caller.identity,
            self.caller.tls_certificate_hash,
            rand::random(),
            SystemTime::now(),
        )
    }

    /// Verifies off the runtime's threads: a block's hashes cover megabytes.
    async fn verified(&self, block: Block, tip: Tip) -> Result<(Block, Tip), Left> {
        let config = self.channel.config();
        let verification = move || verify(&block, &tip, &config).map(|next_tip| (block, next_tip));
        Ok(tokio::task::spawn_blocking(verification).await??)
    }

    /// Waits for the configuration after `sequence`, since the block after a
    /// configuration block is signed under the new one.
    async fn wait_for_config_after(&self, sequence: u64, delivered_blocks: &mpsc::Sender<Block>) {
        let mut sequences = self.channel.config_sequences();
        tokio::select! {
            _ = sequences.wait_for(|newest| *newest > sequence) => {}
            () = delivered_blocks.closed() => {}
        }
    }
}

fn name_of(status: i32) -> &'static str {
    Status::try_from(status).map_or("unknown", |status| status.as_str_name())
}
