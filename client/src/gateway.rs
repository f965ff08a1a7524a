//! An identity on a connection to a gateway peer.

use std::sync::Arc;
use std::time::Duration;

use ripstop_proto::gateway::gateway_client::GatewayClient;
use tonic::transport::Channel;

use crate::connection::Connection;
use crate::{Freshness, Network, Signer, SystemFreshness};

/// The largest message in either direction, as peers have it. (tonic's own limit is 4 MiB.)
const MESSAGE_BYTES_MAX: usize = 100 * 1024 * 1024;

/// A gateway as one identity uses it. Cheap to clone; any number of gateways may share a
/// connection.
#[derive(Clone)]
pub struct Gateway {
    connection: Arc<Connection>,
}

/// How long to wait for the answer to each step.
///
/// The defaults are those of Fabric's sample applications: 5 s, 15 s, 5 s, 60 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A query.
    pub evaluate: Duration,
    /// Collecting endorsements.
    pub endorse: Duration,
    /// Until the ordering service has accepted the transaction.
    pub submit: Duration,
    /// Until the transaction is in a block. A gateway waits for ever for a transaction
    /// that never comes.
    pub commit_status: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            evaluate: Duration::from_secs(5),
            endorse: Duration::from_secs(15),
            submit: Duration::from_secs(5),
            commit_status: Duration::from_secs(60),
        }
    }
}

impl Gateway {
    /// Uses `channel`, which the caller made (with TLS where the peer asks for it), to act
    /// as `identity`. Sends nothing yet.
    pub fn connect(channel: Channel, identity: impl Signer + 'static) -> Self {
        let client = GatewayClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let connection = Connection {
            client,
            signer: Arc::new(identity),
            freshness: Arc::new(SystemFreshness),
            timeouts: Timeouts::default(),
        };
        Self { connection: Arc::new(connection) }
    }

    /// The same gateway with other deadlines.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { connection: Arc::new(Connection { timeouts, ..self.connection.as_ref().clone() }) }
    }

    /// The same gateway with nonces and times from elsewhere, for tests.
    pub fn with_freshness(self, freshness: impl Freshness + 'static) -> Self {
        let freshness = Arc::new(freshness);
        Self { connection: Arc::new(Connection { freshness, ..self.connection.as_ref().clone() }) }
    }

    /// A channel of the network. Whether the gateway knows it shows with the first call.
    pub fn network(&self, channel_id: impl Into<String>) -> Network {
        Network::new(Arc::clone(&self.connection), channel_id.into())
    }
}
