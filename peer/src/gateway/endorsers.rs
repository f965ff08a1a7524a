//! Asking a peer to endorse: this one in process, another one over its connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ripstop_channel::ChannelConfig;
use ripstop_node::transport::{Dialer, MESSAGE_BYTES_MAX};
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::{ProposalResponse, SignedProposal};
use tonic::Status;
use tonic::transport::Channel as Connection;

use super::failure::{Answer, Failure, judge};
use super::peers::{ChannelPeer, LocalPeer};
use crate::endorser::Endorser;

/// This peer's endorser, and connections to those of others.
pub(super) struct Endorsers {
    pub(super) local: LocalPeer,
    endorser: Arc<Endorser>,
    dialer: Dialer,
    timeout: Duration,
    connections: Mutex<HashMap<String, Connection>>,
}

impl Endorsers {
    pub(super) fn new(local: LocalPeer, endorser: Arc<Endorser>, dialer: Dialer, timeout: Duration) -> Self {
        Self { local, endorser, dialer, timeout, connections: Mutex::default() }
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
        let answer = match tokio::time::timeout(self.timeout, self.ask(config, peer, proposal)).await {
            Ok(Ok(response)) => Answer { response: Some(response), error: None },
            Ok(Err(status)) => Answer { response: None, error: Some(status) },
            Err(_) => {
                let text = format!("no answer within {} s", self.timeout.as_secs());
                Answer { response: None, error: Some(Status::deadline_exceeded(text)) }
            }
        };
        judge(answer).inspect_err(|failure| {
            if failure.disconnect {
                self.connections.lock().remove(&peer.address);
            }
        })
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
            .map_err(|error| Status::unavailable(format!("cannot connect to {}: {error}", peer.address)))?;
        self.connections.lock().insert(peer.address.clone(), connection.clone());
        Ok(connection)
    }
}

fn tls_roots(config: &ChannelConfig, msp_id: &str) -> Vec<Vec<u8>> {
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let organization = organizations.iter().find(|organization| organization.msp_id == msp_id);
    organization.map(|organization| organization.tls_roots_pem.clone()).unwrap_or_default()
}
