//! `protos.Deliver`: the three streams, each a form of blocks behind a resource.

use std::sync::Arc;

use ripstop_node::deliver::{self, Deliver, PeerBlocks, Terms};
use ripstop_node::transport::client_certificate_hash;
use ripstop_proto::common::Envelope;
use ripstop_proto::protos::{self, DeliverResponse};
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{BLOCKS, BlocksWithPrivateData, FILTERED_BLOCKS, FilteredBlocks, Readable};
use crate::channel::Channels;

/// The Deliver service of a peer.
pub struct DeliverService {
    blocks: Arc<Deliver<Readable, PeerBlocks>>,
    filtered_blocks: Arc<Deliver<Readable, FilteredBlocks>>,
    with_private_data: Arc<Deliver<Readable, BlocksWithPrivateData>>,
}

impl DeliverService {
    /// A service over `channels`; `shutdown` ends the streams that are open.
    pub fn new(channels: &Arc<Channels>, terms: Terms, shutdown: CancellationToken) -> Self {
        let readable = |resource| Arc::new(Readable::new(Arc::clone(channels), resource));
        let blocks = readable(BLOCKS);
        Self {
            blocks: Arc::new(Deliver::new(Arc::clone(&blocks), PeerBlocks, terms.clone(), shutdown.clone())),
            filtered_blocks: Arc::new(Deliver::new(
                readable(FILTERED_BLOCKS),
                FilteredBlocks,
                terms.clone(),
                shutdown.clone(),
            )),
            with_private_data: Arc::new(Deliver::new(blocks, BlocksWithPrivateData, terms, shutdown)),
        }
    }
}

type Blocks = BoxStream<DeliverResponse>;

#[tonic::async_trait]
impl protos::deliver_server::Deliver for DeliverService {
    type DeliverStream = Blocks;
    type DeliverFilteredStream = Blocks;
    type DeliverWithPrivateDataStream = Blocks;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Blocks>, Status> {
        let certificate_hash = client_certificate_hash(&request);
        Ok(Response::new(deliver::stream(Arc::clone(&self.blocks), request.into_inner(), certificate_hash)))
    }

    async fn deliver_filtered(&self, request: Request<Streaming<Envelope>>) -> Result<Response<Blocks>, Status> {
        let certificate_hash = client_certificate_hash(&request);
        Ok(Response::new(deliver::stream(Arc::clone(&self.filtered_blocks), request.into_inner(), certificate_hash)))
    }

    async fn deliver_with_private_data(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Blocks>, Status> {
        let certificate_hash = client_certificate_hash(&request);
        Ok(Response::new(deliver::stream(Arc::clone(&self.with_private_data), request.into_inner(), certificate_hash)))
    }
}
