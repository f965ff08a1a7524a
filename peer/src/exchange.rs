//! Peers of a channel tell each other that they are there, how far they are, what runs on
//! them, and which roots they vouch for.
//!
//! Once per second each peer calls the peers that it knows of: anchor peers of the channel's
//! configuration, those that its settings name, and whoever was introduced by one of them. The
//! gateway learns from it whom to ask (`known_peers`), and `divergence` whose state differs.
//!
//! ```text
//! round ──ExchangeRequest{own word, words of live peers, number of a block}──▶ service
//!       ◀─ExchangeResponse{its word, words it has, its signed roots}──────────
//! ```
//! It decides nothing: a word is believed when a peer of the channel signed it (`word`), which
//! says who speaks and not that it is true. One exchange is about one channel, so nobody learns
//! of channels that they are not in.

mod calls;
mod known_peers;
mod round;
mod service;
mod settling;
mod word;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use ripstop_ledger::LedgerError;
use ripstop_msp::{SigningError, SigningIdentity};
use ripstop_node::transport::Dialer;
use ripstop_proto::block;
use ripstop_proto::ripstop::v1::{BlockRoots, ChaincodeStatus, PeerStatus, SignedBlockRoots, SignedPeerStatus};

use self::calls::{CONNECT_TIMEOUT, Connections};
use self::service::Callers;
use crate::attestation::attest;
use crate::channel::{Channel, Channels};
use crate::gateway::LocalPeer;
use crate::lifecycle::LifecycleError;
use crate::lifecycle::invocable::Invocables;

pub use self::known_peers::{Acquaintance, KnownPeers};
pub use self::word::{Attestation, PeerWord, Unbelievable, attestation};

/// The exchange of one peer, over all its channels; clones are the same.
#[derive(Clone)]
pub struct PeerExchange(Arc<Parts>);

struct Parts {
    channels: Arc<Channels>,
    invocables: Arc<Invocables>,
    identity: Arc<SigningIdentity>,
    local: LocalPeer,
    bootstrap: Vec<String>,
    started_at_ms: u64,
    connections: Connections,
    callers: Mutex<Callers>,
    /// The newest word of ourselves, by channel.
    own_words: Mutex<HashMap<String, Arc<OwnWord>>>,
}

/// What this peer says of itself on one channel.
struct OwnWord {
    signed: SignedPeerStatus,
    /// Of the newest block, where the ledger has roots.
    roots: Option<(u64, SignedBlockRoots)>,
}

/// Why this peer cannot say anything of itself.
#[derive(Debug, thiserror::Error)]
enum Speechless {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("its own address {0:?} is no host:port")]
    Endpoint(String),
    #[error("a part of it broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

impl PeerExchange {
    /// An exchange that speaks for the peer `local` as `identity`. `bootstrap`: addresses that
    /// are called beside the channels' anchor peers. `now`: when the process started.
    pub fn new(
        local: LocalPeer,
        channels: Arc<Channels>,
        invocables: Arc<Invocables>,
        identity: Arc<SigningIdentity>,
        dialer: Dialer,
        bootstrap: Vec<String>,
        now: SystemTime,
    ) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Parts {
            channels,
            invocables,
            identity,
            local,
            bootstrap,
            started_at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            connections: Connections::new(dialer.with_connect_timeout(CONNECT_TIMEOUT)),
            callers: Mutex::default(),
            own_words: Mutex::default(),
        }))
    }
}

impl Parts {
    /// What is said of this peer as it is now. Reads state and signs.
    fn speak(&self, channel: &Channel) -> Result<OwnWord, Speechless> {
        let view = channel.ledger().state();
        let number = view.height().saturating_sub(1);
        let roots = match self.known_word(channel.id()).and_then(|word| word.roots.clone()) {
            Some((of, roots)) if of == number => Some(roots),
            _ => self.vouch(channel, number)?,
        };
        let endpoint = self.local.address.clone();
        let tls_name = word::host_of(&endpoint).ok_or_else(|| Speechless::Endpoint(endpoint.clone()))?.to_owned();
        let defined = self.invocables.defined(channel.id(), &view)?.into_iter();
        let chaincodes = defined.take(word::CHAINCODES_MAX).map(|found| ChaincodeStatus {
            name: found.name,
            version: found.version,
            sequence: found.sequence,
            installed: found.runs_here,
        });
        let status = PeerStatus {
            channel_id: channel.id().to_owned(),
            endpoint,
            tls_name,
            identity: self.identity.serialized().clone(),
            started_at_ms: self.started_at_ms,
            height: view.height(),
            roots: roots.clone(),
            chaincodes: chaincodes.collect(),
            diverged: channel.finding().current().is_some(),
        };
        Ok(OwnWord { signed: word::sign(&status, &self.identity)?, roots: roots.map(|roots| (number, roots)) })
    }

    /// Signs the roots of a block; `None` where there is no such block or it has no roots.
    fn vouch(&self, channel: &Channel, number: u64) -> Result<Option<SignedBlockRoots>, Speechless> {
        let Some(roots) = roots_of(channel, number)? else { return Ok(None) };
        Ok(Some(attest(&self.identity, &roots)?))
    }

    fn known_word(&self, channel_id: &str) -> Option<Arc<OwnWord>> {
        self.own_words.lock().get(channel_id).cloned()
    }
}

/// The roots that this peer gave to a block.
fn roots_of(channel: &Channel, number: u64) -> Result<Option<BlockRoots>, LedgerError> {
    Ok(channel.ledger().block(number)?.as_deref().and_then(block::block_roots))
}
