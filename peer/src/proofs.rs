//! Proofs: what a key holds with the trie's nodes that show it, and single nodes for those
//! who compare the tries of two peers.
//!
//! The ledger proves and refuses; here is checked who asks, and the roots are signed.
//! Anybody may ask who may read the channel's blocks, since they hold all of this already.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{Node, ProofError, StateProof, TrieError};
use ripstop_msp::{SignedBytes, SigningIdentity};
use ripstop_proto::kvrwset::Version;
use ripstop_proto::ripstop::v1::branch_response::Node as BranchNode;
use ripstop_proto::ripstop::v1::proofs_server;
use ripstop_proto::ripstop::v1::{
    BranchRequest, BranchResponse, ProveRequest, ProveResponse, SignedBranchRequest, SignedProveRequest, StateBranch,
    StateChild, StateContent, StateLeaf,
};
use tonic::{Request, Response, Status};

use crate::access;
use crate::attestation::attest;
use crate::channel::{Channel, Channels};

/// Who may read the blocks may read the state that they make.
const RESOURCE: &str = "qscc/GetBlockByNumber";

/// The service, over all channels of the peer.
pub struct Proofs {
    channels: Arc<Channels>,
    identity: Arc<SigningIdentity>,
}

impl Proofs {
    /// Answers for these channels, and signs roots as `identity`.
    pub fn new(channels: Arc<Channels>, identity: Arc<SigningIdentity>) -> Self {
        Self { channels, identity }
    }
}

#[tonic::async_trait]
impl proofs_server::Proofs for Proofs {
    async fn prove(&self, request: Request<SignedProveRequest>) -> Result<Response<ProveResponse>, Status> {
        let SignedProveRequest { request, signature } = request.into_inner();
        let asked: ProveRequest = decode(&request)?;
        let signed = SignedBytes { identity: &asked.identity, message: request.as_ref().into(), signature: &signature };
        let channel = access::check_signed(&self.channels, &asked.channel_id, RESOURCE, &signed)?;
        let identity = Arc::clone(&self.identity);
        off_the_runtime(move || prove(&channel, &asked, &identity)).await
    }

    async fn branch(&self, request: Request<SignedBranchRequest>) -> Result<Response<BranchResponse>, Status> {
        let SignedBranchRequest { request, signature } = request.into_inner();
        let asked: BranchRequest = decode(&request)?;
        let signed = SignedBytes { identity: &asked.identity, message: request.as_ref().into(), signature: &signature };
        let channel = access::check_signed(&self.channels, &asked.channel_id, RESOURCE, &signed)?;
        off_the_runtime(move || {
            let node = channel.ledger().trie_node(asked.block_number, &asked.prefix);
            node.map(branch_response).map_err(|error| refused(&channel, &error))
        })
        .await
    }
}

fn decode<M: Message + Default>(request: &Bytes) -> Result<M, Status> {
    M::decode(request.clone())
        .map_err(|error| Status::invalid_argument(format!("invalid request for a proof: {error}")))
}

/// Runs what reads from disk and hashes.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<Response<T>, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|broken| Status::internal(format!("making the proof broke: {broken}")))?.map(Response::new)
}

fn prove(channel: &Channel, asked: &ProveRequest, identity: &SigningIdentity) -> Result<ProveResponse, Status> {
    let proved = channel.ledger().prove(&asked.namespace, &asked.key, asked.height);
    let StateProof { roots, proof, content } = proved.map_err(|error| refused(channel, &error))?;
    let roots = attest(identity, &roots)
        .map_err(|error| Status::internal(format!("this peer's identity does not sign: {error}")))?;
    let content = content.map(|content| StateContent {
        version: Some(Version { block_num: content.version.block_number, tx_num: content.version.tx_index }),
        value: content.value,
        metadata: content.metadata,
    });
    Ok(ProveResponse { roots: Some(roots), nodes: proof.nodes.into_iter().map(Bytes::from).collect(), content })
}

fn branch_response(node: Node) -> BranchResponse {
    let node = match node {
        Node::Nothing => None,
        Node::Leaf { path, value } => {
            Some(BranchNode::Leaf(StateLeaf { path: path.to_vec().into(), leaf: value.into() }))
        }
        Node::Branch { path, children } => {
            let children = (0..).zip(*children).filter_map(|(nibble, link)| Some((nibble, link?)));
            let children = children.map(|(nibble, link)| StateChild { nibble, link: link.into() }).collect();
            Some(BranchNode::Branch(StateBranch { path: path.into(), children }))
        }
    };
    BranchResponse { node }
}

/// The ledger's words, under the code that tells what to do about it.
fn refused(channel: &Channel, error: &ProofError) -> Status {
    let text = error.to_string();
    match error {
        ProofError::NoTrie => Status::failed_precondition(text),
        ProofError::Namespace(_) => Status::invalid_argument(text),
        ProofError::NotThere { .. } => Status::not_found(text),
        ProofError::Trie(TrieError::NotKept { .. }) => Status::out_of_range(text),
        ProofError::Altered { .. } | ProofError::Trie(_) => {
            tracing::error!(channel = channel.id(), error = text, "the state is not what was committed");
            Status::data_loss(text)
        }
        ProofError::Ledger(_) => {
            tracing::error!(channel = channel.id(), error = text, "cannot prove a key");
            Status::aborted(text)
        }
    }
}
