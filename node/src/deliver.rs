//! Deliver: streams of blocks, with the same rules at the orderer and at the peer.
//!
//! ```text
//! seek      positions and behaviour to a range of block numbers, or a refusal; pure
//! request   a signed envelope to a checked request, or a refusal; pure, `now` given
//! form      how blocks and statuses look in a service's response type
//! session   one gRPC stream: request, blocks, status, next request
//! ```
//! Where blocks come from and who may read them is behind [`Chain`] and [`Channels`]: this
//! module knows neither a ledger nor a policy. Source: Fabric `common/deliver`.

mod form;
mod request;
mod seek;
mod session;

use std::sync::Arc;
use std::time::SystemTime;

use ripstop_proto::common::{Block, Status};
use tokio::sync::watch;

pub use form::{Form, OrdererBlocks, PeerBlocks};
pub use request::{Request, Terms};
pub use seek::{Range, Seek};
pub use session::{Deliver, stream};

/// A status other than SUCCESS, and why; the stream ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status:?}: {reason}")]
pub struct Refusal {
    /// What the client is told.
    pub status: Status,
    /// What the log is told; Fabric sends no text, so neither do we.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(status: Status, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

/// The channels a node serves.
pub trait Channels: Send + Sync + 'static {
    /// One channel's chain.
    type Chain: Chain;

    /// The chain of the channel with this id, if it is here.
    fn chain(&self, channel_id: &str) -> Option<Arc<Self::Chain>>;
}

/// One channel's blocks, and who may have them.
pub trait Chain: Send + Sync + 'static {
    /// The chain's height, and word of every further block. A height is shown once the
    /// blocks below it can be read.
    fn heights(&self) -> watch::Receiver<u64>;

    /// The number of the first block that is here; more than 0 after a start from a
    /// snapshot.
    fn first_block(&self) -> u64 {
        0
    }

    /// Block `number`, below the height.
    ///
    /// # Errors
    /// The reason why it cannot be read; the client is told SERVICE_UNAVAILABLE.
    fn block(&self, number: u64) -> impl Future<Output = Result<Arc<Block>, String>> + Send;

    /// The sequence of the configuration in force; access is checked again when it moved.
    fn config_sequence(&self) -> u64;

    /// Whether the signed request satisfies the policy that guards these blocks now.
    ///
    /// # Errors
    /// The reason for the log; the client is told FORBIDDEN.
    fn authorize(&self, request: &Request) -> Result<(), String>;

    /// When the identity's certificate expires; none when it does not or cannot be read.
    fn expires_at(&self, identity: &[u8]) -> Option<SystemTime>;

    /// Whether consensus works here; while not, only best-effort requests are served.
    /// None where there is no consensus, as on a peer.
    fn healthy(&self) -> Option<watch::Receiver<bool>> {
        None
    }
}
