//! Asking a peer to endorse: this one in process, another one over its connection; and in
//! which order they are asked.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use parking_lot::Mutex;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::{Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::{ProposalResponse, SignedProposal};
use tonic::transport::Channel as Connection;
use tonic::{Code, Status};

use super::failure::{Answer, Failure, judge};
use super::peers::{ChannelPeer, LocalPeer, channel_peers};
use super::probe::Known;
use super::standing::{Call, Condition, Outcome, Standing};
use crate::channel::Channel;
use crate::endorser::Endorser;

/// After so long without an answer it is tried whether the peer can be reached at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// This peer's endorser, and connections to those of others.
pub(super) struct Endorsers {
    pub(super) local: LocalPeer,
    endorser: Arc<Endorser>,
    dialer: Dialer,
    timeout: Duration,
    connections: Mutex<HashMap<String, Connection>>,
    standing: Mutex<Standing>,
    /// Held while a peer that owes an answer is dialled: one at a time, however many wait.
    dialling: tokio::sync::Mutex<()>,
}

impl Endorsers {
    pub(super) fn new(local: LocalPeer, endorser: Arc<Endorser>, dialer: Dialer, timeout: Duration) -> Self {
        let (connections, standing) = (Mutex::default(), Mutex::default());
        let dialling = tokio::sync::Mutex::default();
        Self { local, endorser, dialer, timeout, connections, standing, dialling }
    }

    /// The peers of a channel in the order to ask them: this one, those of its organization,
    /// the others; then those that by their own word are less fit to run `chaincode`, and last
    /// those that failed or are down.
    pub(super) fn in_order(&self, channel: &Channel, chaincode: &str) -> Vec<ChannelPeer> {
        let now = Instant::now();
        let mut peers = channel_peers(channel, &self.local, chaincode, now);
        let group = |peer: &ChannelPeer| (peer.fitness, !peer.local, peer.msp_id != self.local.msp_id);
        self.standing.lock().sort(&mut peers, now, |peer| &peer.address, group);
        peers
    }

    /// Whether `peer` could not be reached lately.
    pub(super) fn is_down(&self, peer: &ChannelPeer) -> bool {
        self.standing.lock().condition(&peer.address, Instant::now()) == Condition::Down
    }

    /// Asks `peer`, and sorts its answer.
    pub(super) async fn process(
        &self,
        config: &ChannelConfig,
        peer: &ChannelPeer,
        proposal: SignedProposal,
    ) -> Result<ProposalResponse, Failure> {
        if peer.local {
            let endorsement = self.endorser.process(proposal).await;
            return judge(Answer { response: endorsement.response, error: endorsement.error });
        }
        let call = Call::begin(&self.standing, &peer.address);
        let answer = tokio::select! {
            answer = self.ask(config, peer, proposal) => answer,
            () = tokio::time::sleep(self.timeout) => {
                Err(Status::deadline_exceeded(format!("no answer within {} s", self.timeout.as_secs())))
            }
            () = self.gone(config, peer) => Err(Status::unavailable("no answer, and it can no longer be reached")),
        };
        let lost = answer.as_ref().is_err_and(is_lost);
        let judged = judge(match answer {
            Ok(response) => Answer { response: Some(response), error: None },
            Err(status) => Answer { response: None, error: Some(status) },
        });
        call.end(match &judged {
            _ if lost => Outcome::Unreachable,
            Err(failure) if failure.retry => Outcome::Failed,
            _ => Outcome::Answered,
        });
        if lost {
            self.connections.lock().remove(&peer.address);
        }
        judged
    }

    /// The other peers of a channel.
    pub(super) fn known(&self, channel: &Channel) -> Known {
        let config = channel.config();
        let others = channel_peers(channel, &self.local, "", Instant::now()).into_iter().filter(|peer| !peer.local);
        others.map(|peer| (peer.address, tls_roots(&config, &peer.msp_id))).collect()
    }

    /// Tries once to reach each peer that is down. The connection is kept for calls.
    pub(super) async fn probe(&self, known: &Known) {
        self.standing.lock().keep_only(|address| known.contains_key(address));
        let down = self.standing.lock().down();
        let attempts = down.iter().filter_map(|address| known.get(address).map(|roots| (address, roots)));
        let attempts = attempts.map(|(address, roots)| async move {
            let Ok(connection) = self.dialer.connect(address, roots, None).await else { return };
            tracing::info!(peer = address, "the peer can be reached again");
            self.connections.lock().insert(address.clone(), connection);
            self.standing.lock().reached(address);
        });
        join_all(attempts).await;
    }

    /// Returns once `peer`, which owes an answer, can no longer be reached: a process that
    /// hangs and a host that is cut off keep their connections.
    async fn gone(&self, config: &ChannelConfig, peer: &ChannelPeer) {
        loop {
            tokio::time::sleep(PATIENCE).await;
            if self.is_down(peer) {
                return;
            }
            let Ok(_one_at_a_time) = self.dialling.try_lock() else { continue };
            let roots = tls_roots(config, &peer.msp_id);
            if self.dialer.connect(&peer.address, &roots, None).await.is_err() {
                return;
            }
        }
    }

    async fn ask(
        &self,
        config: &ChannelConfig,
        peer: &ChannelPeer,
        proposal: SignedProposal,
    ) -> Result<ProposalResponse, Status> {
        let connection = self.connection(config, peer).await?;
        let mut client = EndorserClient::new(connection)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.process_proposal(proposal).await?.into_inner())
    }

    async fn connection(&self, config: &ChannelConfig, peer: &ChannelPeer) -> Result<Connection, Status> {
        if let Some(connection) = self.connections.lock().get(&peer.address) {
            return Ok(connection.clone());
        }
        let roots = tls_roots(config, &peer.msp_id);
        let connection = self
            .dialer
            .connect(&peer.address, &roots, None)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        self.connections.lock().insert(peer.address.clone(), connection.clone());
        Ok(connection)
    }
}

/// Whether an error means that the peer itself was not heard: what a peer answers has no
/// source, what the transport reports has one.
fn is_lost(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) || status.source().is_some()
}

fn tls_roots(config: &ChannelConfig, msp_id: &str) -> Vec<Vec<u8>> {
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let organization = organizations.iter().find(|organization| organization.msp_id == msp_id);
    organization.map(|organization| organization.tls_roots_pem.clone()).unwrap_or_default()
}
