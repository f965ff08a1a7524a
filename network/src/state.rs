//! `state NAMESPACE KEY`: what a key holds at a peer, and its proof with the signatures of all.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use prost::Message;
use ripstop_client::{Attestation, SigningIdentity, StateContent, StateProof};
use ripstop_msp::Msp;
use ripstop_node::transport::MESSAGE_BYTES_MAX;
use ripstop_proto::ripstop::v1::proofs_client::ProofsClient;
use ripstop_proto::ripstop::v1::{BlockRoots, ProveRequest, ProveResponse, SignedBlockRoots, SignedProveRequest};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cli::{State, Target};
use crate::decoded::readable::{Printable, Readable};
use crate::folder::Folder;
use crate::output::{print, say};
use crate::session::{self, Session};
use crate::table::Table;
use crate::topology::Topology;

/// A peer that has not reached the height by then does not sign.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// Prints what a key holds, or a proof file.
pub(crate) async fn state(folder: &Folder, target: &Target, asked: &State) -> anyhow::Result<()> {
    let session = Session::open(folder, target).await?;
    let topology = folder.topology()?;
    let (user, organization) = session::user(&topology, target)?;
    let question = Question {
        identity: session::identity(folder, organization, user)?,
        channel_id: session.channel().to_owned(),
        namespace: asked.namespace.clone(),
        key: asked.key.clone(),
    };
    let answer = question.ask(session.connection(), asked.at).await;
    let answer = answer.map_err(|status| refused(&session, &format!("{user}@{}", organization.domain), &status))?;
    let mut proof = proof_of(&question, answer).with_context(|| format!("{} gave no proof", session.peer()))?;
    if asked.prove {
        add_others(folder, topology, &session, Arc::new(question), &mut proof).await?;
    }
    check(folder, &proof).with_context(|| format!("the answer of {} does not hold", session.peer()))?;
    match (asked.prove, asked.json.json) {
        (true, false) => say(&proof.to_json()?),
        (true, true) => say(&serde_json::from_str::<Value>(&proof.to_json()?)?),
        (false, true) => say(&json(&proof)?),
        (false, false) => print(&Shown(&proof)),
    }
}

/// What is asked, and who asks.
struct Question {
    identity: SigningIdentity,
    channel_id: String,
    namespace: String,
    key: String,
}

impl Question {
    async fn ask(&self, connection: &Channel, height: Option<u64>) -> Result<ProveResponse, Status> {
        let request = ProveRequest {
            channel_id: self.channel_id.clone(),
            namespace: self.namespace.clone(),
            key: self.key.clone(),
            height,
            identity: self.identity.serialized().clone(),
        };
        let request = request.encode_to_vec();
        let signature = self.identity.sign(&request).map_err(|error| Status::internal(error.to_string()))?;
        let signed = SignedProveRequest { request: request.into(), signature: signature.into() };
        let mut client = ProofsClient::new(connection.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        client.prove(signed).await.map(tonic::Response::into_inner)
    }

    /// Asks a peer that may be a little behind.
    async fn ask_when_there(&self, connection: &Channel, height: u64) -> Result<ProveResponse, Status> {
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            match self.ask(connection, Some(height)).await {
                Err(status) if status.code() == Code::NotFound && Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A peer's answer as a proof that only it has signed.
fn proof_of(question: &Question, answer: ProveResponse) -> anyhow::Result<StateProof> {
    let SignedBlockRoots { block_roots, identity, signature } = answer.roots.context("it signed no roots")?;
    let roots = BlockRoots::decode(block_roots.clone()).context("its roots do not decode")?;
    let content = answer.content.map(|content| {
        let version = content.version.unwrap_or_default();
        let (block_number, tx_index) = (version.block_num, version.tx_num);
        StateContent { block_number, tx_index, value: content.value, metadata: content.metadata }
    });
    Ok(StateProof {
        channel_id: question.channel_id.clone(),
        namespace: question.namespace.clone(),
        key: question.key.clone(),
        block_number: roots.number,
        content,
        nodes: answer.nodes,
        block_roots,
        attestations: vec![Attestation { identity, signature }],
    })
}

/// Has every other peer prove the same, and adds the signatures of those who do. The others are
/// named on standard error.
async fn add_others(
    folder: &Folder,
    topology: Topology,
    session: &Session,
    question: Arc<Question>,
    proof: &mut StateProof,
) -> anyhow::Result<()> {
    let height = proof.block_number.checked_add(1).context("there is no such block")?;
    let topology = Arc::new(topology);
    let mut asking = JoinSet::new();
    for (place, (_, peer)) in topology.peers().enumerate().filter(|(_, (_, peer))| peer.name != session.peer()) {
        let (folder, topology, question) = (folder.clone(), Arc::clone(&topology), Arc::clone(&question));
        let name = peer.name.clone();
        asking.spawn(async move {
            let signed = sign_too(&folder, &topology, &question, &name, height).await;
            (place, name, signed)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(place, ..)| *place);
    for (_, name, signed) in answers {
        match signed {
            Ok(signed) if signed.block_roots == proof.block_roots => {
                let SignedBlockRoots { identity, signature, .. } = signed;
                proof.attestations.push(Attestation { identity, signature });
            }
            Ok(_) => eprintln!(
                "ripstop: {name} signed other roots for block {}, so its signature is left out: one of the peers' \
                 states is not what was committed",
                proof.block_number
            ),
            Err(error) => eprintln!("ripstop: {name} did not sign: {error:#}"),
        }
    }
    Ok(())
}

async fn sign_too(
    folder: &Folder,
    topology: &Topology,
    question: &Question,
    peer: &str,
    height: u64,
) -> anyhow::Result<SignedBlockRoots> {
    let (organization, peer) = session::named_peer(topology, peer)?;
    let connection = session::connect(folder, topology, organization, peer).await?;
    let answer = question.ask_when_there(&connection, height).await;
    let answer = answer.map_err(|status| anyhow!("{} ({:?})", status.message(), status.code()))?;
    answer.roots.context("it gave no roots")
}

/// Verifies a proof against the organizations of this network, so that none is printed that
/// does not hold.
fn check(folder: &Folder, proof: &StateProof) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let organizations = topology.organizations.iter();
    let msps = organizations.map(|it| Msp::from_folder(&it.msp_id, folder.organization(it).msp()));
    let msps = msps.collect::<Result<Vec<_>, _>>()?;
    let vouchers = proof.verify(&msps, std::num::NonZeroUsize::MIN)?;
    let unknown = vouchers.not_counted.first();
    ensure!(unknown.is_none(), "{}", unknown.map_or("", |it| &it.reason));
    Ok(())
}

/// Why there is no answer, and what to do.
fn refused(session: &Session, who: &str, status: &Status) -> anyhow::Error {
    let (peer, text) = (session.peer(), status.message());
    match status.code() {
        Code::OutOfRange => {
            anyhow!("{peer}: {text}; --at counts blocks, so it is one more than the last block's number")
        }
        Code::PermissionDenied => anyhow!(
            "{peer} shows no state of channel {} to {who}: {text}. `ripstop channel list` shows its channels; --as \
             asks as somebody else",
            session.channel()
        ),
        Code::Unimplemented => {
            anyhow!("{peer} does not prove its state: it is no Ripstop peer, or an older one; --peer asks another")
        }
        Code::NotFound | Code::DataLoss | Code::InvalidArgument | Code::FailedPrecondition => anyhow!("{peer}: {text}"),
        code => anyhow!("{peer} shows no state: {text} ({code:?})"),
    }
}

fn json(proof: &StateProof) -> anyhow::Result<Value> {
    let content = proof.content.as_ref();
    let metadata = content.and_then(|content| content.metadata.as_ref());
    Ok(json!({
        "channel": proof.channel_id,
        "namespace": proof.namespace,
        "key": proof.key,
        "height": proof.block_number + 1,
        "value": content.map(|content| Readable(content.value.clone())),
        "version": content.map(|content| [content.block_number, content.tx_index]),
        "metadata": metadata.map(hex::encode),
        "state_root": hex::encode(BlockRoots::decode(proof.block_roots.clone())?.state_root),
    }))
}

/// What a proof says, for people.
pub(crate) struct Shown<'a>(pub(crate) &'a StateProof);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StateProof { channel_id, namespace, key, block_number, content, .. } = self.0;
        let mut facts = Table::new(&[]);
        let mut fact = |name: &str, text: String| facts.push([name.to_owned(), text]);
        fact("key", Printable(&format!("{key:?} of {namespace:?}")).to_string());
        fact("after", Printable(&format!("block {block_number} of {channel_id}")).to_string());
        match content {
            None => fact("value", "none: there is no such key".to_owned()),
            Some(content) => {
                fact("value", Readable(content.value.clone()).to_string());
                let (block_number, tx_index) = (content.block_number, content.tx_index);
                fact("version", format!("as written by transaction {tx_index} of block {block_number}"));
                if let Some(metadata) = &content.metadata {
                    fact("metadata", Readable(metadata.clone()).to_string());
                }
            }
        }
        write!(formatter, "{facts}")
    }
}
