//! How far the orderers are that are not followed: an orderer may be up and yet send
//! nothing, because it hangs, is cut off from its cluster or withholds blocks.
//!
//! Each is asked for the header of its newest block. A header counts when the orderers'
//! signatures on it hold, so that a lying orderer cannot lure us away with numbers alone.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use ripstop_proto::common::Block;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::orderer::deliver_response;
use tokio_stream::StreamExt;
use tonic::transport::Channel as Connection;

use super::endpoints::{Endpoint, seek_newest_header};
use super::{DeliverClient, endpoints};

/// How long one orderer may take to tell its newest header.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The orderers of a channel beside the one that is followed. Connections to them are made
/// when they are needed first.
pub(super) struct Others<'a> {
    client: &'a DeliverClient,
    followed: &'a Endpoint,
    connections: HashMap<String, Connection>,
}

/// An orderer that has a block which the followed one has not sent, or is as far and lives.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) endpoint: Endpoint,
    pub(super) newest: u64,
}

impl<'a> Others<'a> {
    pub(super) fn new(client: &'a DeliverClient, followed: &'a Endpoint) -> Self {
        Self { client, followed, connections: HashMap::new() }
    }

    /// Waits until one of them has had block `next_number` for as long as the followed
    /// orderer may be silent, or until that one does not even answer. Begin again at each
    /// block.
    pub(super) async fn ahead_of(&mut self, next_number: u64) -> Ahead {
        let (followed, silence_max) = (self.followed, self.client.silence_max);
        loop {
            tokio::time::sleep(silence_max / 2).await;
            let lives = self.newest_in_time(followed).await.is_some();
            // Any that is as far as we are does better than one that has stopped.
            let wanted = if lives { next_number } else { next_number.saturating_sub(1) };
            if let Some(ahead) = self.first_with(wanted).await {
                if lives {
                    // The block may be on its way to us.
                    tokio::time::sleep(silence_max).await;
                }
                return ahead;
            }
        }
    }

    async fn first_with(&mut self, number: u64) -> Option<Ahead> {
        for endpoint in endpoints(&self.client.channel.config()) {
            if endpoint == *self.followed {
                continue;
            }
            if let Some(newest) = self.newest_in_time(&endpoint).await
                && newest >= number
            {
                return Some(Ahead { endpoint, newest });
            }
        }
        None
    }

    async fn newest_in_time(&mut self, endpoint: &Endpoint) -> Option<u64> {
        let newest = tokio::time::timeout(ANSWER_TIMEOUT, self.newest(endpoint)).await.ok().flatten();
        if newest.is_none() {
            self.connections.remove(&endpoint.address);
        }
        newest
    }

    /// The number of the newest block at `endpoint`; none when it cannot tell.
    async fn newest(&mut self, endpoint: &Endpoint) -> Option<u64> {
        let caller = &self.client.caller;
        let hash = caller.tls_certificate_hash;
        let now = SystemTime::now();
        let request = seek_newest_header(self.client.channel.id(), &caller.identity, hash, rand::random(), now).ok()?;
        let mut orderer = AtomicBroadcastClient::new(self.connection(endpoint).await?);
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let answer = orderer.deliver(requests).await.ok()?.into_inner().message().await.ok()??;
        let deliver_response::Type::Block(block) = answer.r#type? else { return None };
        self.client.channel.config().check_block_signatures(&block).ok()?;
        number(&block)
    }

    async fn connection(&mut self, endpoint: &Endpoint) -> Option<Connection> {
        if let Some(connection) = self.connections.get(&endpoint.address) {
            return Some(connection.clone());
        }
        let caller = &self.client.caller;
        let dialled = caller.dialer.connect(&endpoint.address, &endpoint.tls_roots_pem, caller.tls.as_ref()).await;
        let connection = dialled.ok()?;
        self.connections.insert(endpoint.address.clone(), connection.clone());
        Some(connection)
    }
}

fn number(block: &Block) -> Option<u64> {
    block.header.as_ref().map(|header| header.number)
}
