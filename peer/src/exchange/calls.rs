//! Whom to call, and calling them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::Dialer;
use ripstop_proto::ripstop::v1::peers_client::PeersClient;
use ripstop_proto::ripstop::v1::{ExchangeRequest, ExchangeResponse};
use tonic::Status;
use tonic::transport::Channel as Connection;

/// How long a connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer may take, connecting included: less than two rounds.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
/// Bytes of one message to either side.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Somebody to call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target {
    /// `host:port` as it is advertised.
    pub(super) endpoint: String,
    /// Whose it is; none for an address of the settings, which may be anybody's.
    pub(super) msp_id: Option<String>,
}

/// Who is to be called: anchor peers, those of the settings, and those that became known.
pub(super) fn targets(
    config: &ChannelConfig,
    bootstrap: &[String],
    known: Vec<(String, String)>,
    own_endpoint: &str,
) -> Vec<Target> {
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let anchors = organizations.iter().flat_map(|organization| {
        let msp_id = Some(organization.msp_id.clone());
        organization
            .anchor_peers
            .iter()
            .map(move |(host, port)| Target { endpoint: format!("{host}:{port}"), msp_id: msp_id.clone() })
    });
    let known = known.into_iter().map(|(msp_id, endpoint)| Target { endpoint, msp_id: Some(msp_id) });
    let mut targets: Vec<Target> = anchors.chain(known).filter(|target| target.endpoint != own_endpoint).collect();
    let is_named = |endpoint: &String| targets.iter().any(|target| target.endpoint == *endpoint);
    let others = bootstrap.iter().filter(|endpoint| *endpoint != own_endpoint && !is_named(endpoint));
    let others: Vec<Target> = others.map(|endpoint| Target { endpoint: endpoint.clone(), msp_id: None }).collect();
    targets.extend(others);
    targets.sort();
    targets.dedup();
    targets
}

/// Connections to other peers. They stand between two rounds and are made again when lost.
pub(super) struct Connections {
    dialer: Dialer,
    by_target: Mutex<HashMap<Target, Connection>>,
}

impl Connections {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer, by_target: Mutex::default() }
    }

    /// The connection to `target`, whose TLS certificate has to be of its organization.
    pub(super) fn to(&self, target: &Target, config: &ChannelConfig) -> Result<Connection, Status> {
        if let Some(connection) = self.by_target.lock().get(target) {
            return Ok(connection.clone());
        }
        let organizations = config.application().map_or(&[][..], |application| &application.organizations);
        let of_target =
            organizations.iter().filter(|it| target.msp_id.as_ref().is_none_or(|msp_id| it.msp_id == *msp_id));
        let roots: Vec<Vec<u8>> = of_target.flat_map(|organization| organization.tls_roots_pem.clone()).collect();
        let connection = self.dialer.connect_lazy(&target.endpoint, &roots, None);
        let connection = connection.map_err(|error| Status::unavailable(error.to_string()))?;
        self.by_target.lock().insert(target.clone(), connection.clone());
        Ok(connection)
    }

    /// Lets go of connections to those who are not called any more.
    pub(super) fn keep_only(&self, called: &BTreeMap<Target, ()>) {
        self.by_target.lock().retain(|target, _| called.contains_key(target));
    }

    /// One exchange.
    pub(super) async fn exchange(
        &self,
        target: &Target,
        config: &ChannelConfig,
        request: ExchangeRequest,
    ) -> Result<ExchangeResponse, Status> {
        let mut client = PeersClient::new(self.to(target, config)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        if answer.is_err() {
            // The next round dials anew: what stands may be half dead.
            self.by_target.lock().remove(target);
        }
        Ok(answer?.into_inner())
    }
}
