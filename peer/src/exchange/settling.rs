//! Acting on what the comparison of roots has come to: raising metrics, and where this peer
//! is outvoted, stopping it and finding out where its state parted from that of the others.

use std::sync::Arc;

use prost::Message;
use ripstop_ledger::{LedgerError, Node, ProofError};
use ripstop_proto::ripstop::v1::proofs_client::ProofsClient;
use ripstop_proto::ripstop::v1::{
    BlockRoots, BranchRequest, DivergedKey, Divergence, ExchangeRequest, SignedBranchRequest,
};

use super::calls::Target;
use super::round::{ChannelRounds, first_differing};
use super::service::ROOTS_MAX;
use super::word;
use super::{Parts, roots_of};
use crate::channel::Channel;
use crate::divergence::{Outcome, ROOTS_DIFFER, Refusal, Tries, first_difference, node_of, tell};

/// Why it is not found out where states part.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("this peer's state trie: {0}")]
    Trie(#[from] ProofError),
    #[error("the other peer: {0}")]
    Peer(#[from] tonic::Status),
    #[error("the other peer gave something that is no node of a trie")]
    NoNode,
    #[error("cannot ask the other peer: {0}")]
    Signing(#[from] ripstop_msp::SigningError),
    #[error("a part of it broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Where this peer was outvoted.
struct Outvoted {
    number: u64,
    agreed: Option<u64>,
    /// One of those who are right.
    target: Option<Target>,
}

/// Acts on the newest outcome.
pub(super) fn settle(parts: &Arc<Parts>, channel: &Arc<Channel>, rounds: &mut ChannelRounds) {
    let Some(mut outcome) = rounds.comparison.outcome() else { return };
    if let Outcome::Outvoted { number, roots, .. } = &outcome
        && is_mended(channel, *number, roots)
    {
        outcome = Outcome::Confirmed;
    }
    let differs = matches!(outcome, Outcome::Undecided | Outcome::Outvoted { .. });
    tell(ROOTS_DIFFER, channel.id(), differs);
    let block = rounds.comparison.number().unwrap_or_default();
    if !std::mem::replace(&mut rounds.is_told, outcome != Outcome::Same) {
        match &outcome {
            Outcome::Undecided => tracing::error!(
                channel = channel.id(),
                block,
                "roots of other peers differ from this peer's, and none have the majority: both go on, and somebody \
                 has to find out whose state is right"
            ),
            Outcome::Confirmed => {
                tracing::warn!(channel = channel.id(), block, "a peer has other roots than most organizations");
            }
            Outcome::Same | Outcome::Outvoted { .. } => {}
        }
    }
    if let Outcome::Outvoted { number, roots, agreed } = outcome
        && channel.finding().current().is_none()
    {
        let right = rounds.comparison.attesting(&roots);
        let target = right.and_then(|identity| rounds.answering.get(&identity)).cloned();
        let outvoted = Outvoted { number, agreed, target };
        // Nothing is endorsed from here on; where the states part can take a while to find.
        let or_earlier = agreed.is_none_or(|agreed| agreed + 1 < number);
        channel.finding().set(channel.id(), Divergence { block_number: number, or_earlier, key: None });
        let (parts, channel) = (Arc::clone(parts), Arc::clone(channel));
        tokio::spawn(async move { parts.find_out(&channel, outvoted).await });
    }
}

/// Whether only the block still carries a wrong root, since the state was built again.
fn is_mended(channel: &Channel, number: u64, right: &[u8]) -> bool {
    let (own, state_root) = (roots_of(channel, number), channel.ledger().state_root(number));
    let (Ok(Some(own)), Ok(state_root)) = (own, state_root) else { return false };
    BlockRoots { state_root: state_root.to_vec().into(), ..own }.encode_to_vec() == right
}

impl Parts {
    /// Names the first block and key that differ, as far as they can be found, and keeps it.
    async fn find_out(&self, channel: &Arc<Channel>, outvoted: Outvoted) {
        self.keep(channel).await;
        let Some(target) = outvoted.target.clone() else { return };
        let first = match self.first_block(channel, &outvoted, &target).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(channel = channel.id(), %error, "cannot find the first block that differs");
                None
            }
        };
        let (block_number, or_earlier) = first.unwrap_or((outvoted.number, true));
        channel.finding().set(channel.id(), Divergence { block_number, or_earlier, key: None });
        // The tries of earlier blocks may be gone since this peer started.
        let mut key = self.first_key(channel, block_number, &target).await;
        if matches!(key, Err(NotFound::Trie(_))) && block_number < outvoted.number {
            key = self.first_key(channel, outvoted.number, &target).await;
        }
        match key {
            Ok(key) => channel.finding().set(channel.id(), Divergence { block_number, or_earlier, key }),
            Err(error) => tracing::error!(channel = channel.id(), %error, "cannot find the first key that differs"),
        }
        self.keep(channel).await;
    }

    /// Has the ledger keep the finding, so that it outlasts this process.
    async fn keep(&self, channel: &Arc<Channel>) {
        let Some(divergence) = channel.finding().current() else { return };
        tracing::error!(channel = channel.id(), "{}", Refusal(&divergence));
        let ledger = Arc::clone(channel.ledger());
        let kept = tokio::task::spawn_blocking(move || ledger.keep_divergence(&divergence)).await;
        let error = match kept {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(broken) => broken.to_string(),
        };
        tracing::error!(channel = channel.id(), error, "that its state diverged is forgotten when this peer restarts");
    }

    /// The first block whose roots differ from those of `target`, and whether there may be
    /// earlier ones.
    async fn first_block(
        &self,
        channel: &Arc<Channel>,
        outvoted: &Outvoted,
        target: &Target,
    ) -> Result<Option<(u64, bool)>, NotFound> {
        let number = outvoted.number;
        let oldest = number.saturating_sub(ROOTS_MAX as u64 - 1);
        let from = outvoted.agreed.map_or(oldest, |agreed| (agreed + 1).max(oldest));
        let config = channel.config();
        let statuses = self.known_word(channel.id()).map(|own| own.signed.clone()).into_iter().collect();
        let request = ExchangeRequest { statuses, roots_of: (from..=number).collect() };
        let answer = self.connections.exchange(target, &config, request).await?;
        let attested = answer.roots.iter().take(ROOTS_MAX).filter_map(|signed| word::attestation(signed, &config).ok());
        let mut attested: Vec<_> = attested.collect();
        attested.sort_by_key(|attestation| attestation.number);
        let looked_through = Arc::clone(channel);
        let first = tokio::task::spawn_blocking(move || first_differing(&looked_through, &attested)).await??;
        let is_known_before = |first: u64| first == 0 || first > from || outvoted.agreed == first.checked_sub(1);
        Ok(first.map(|first| (first, !is_known_before(first))))
    }

    /// The first key that differs in the states after a block; none where they are the same.
    async fn first_key(
        &self,
        channel: &Arc<Channel>,
        number: u64,
        target: &Target,
    ) -> Result<Option<DivergedKey>, NotFound> {
        let mut tries = OwnAndOther { parts: self, channel, number, target };
        let Some(path) = first_difference(&mut tries).await? else { return Ok(None) };
        let ledger = Arc::clone(channel.ledger());
        let key = tokio::task::spawn_blocking(move || ledger.key_at(number, &path)).await??;
        Ok(Some(key.unwrap_or_else(|| DivergedKey { path: path.to_vec().into(), ..DivergedKey::default() })))
    }
}

/// This peer's trie and that of one who is right.
struct OwnAndOther<'a> {
    parts: &'a Parts,
    channel: &'a Arc<Channel>,
    number: u64,
    target: &'a Target,
}

impl Tries for OwnAndOther<'_> {
    type Error = NotFound;

    async fn at(&mut self, prefix: &[u8]) -> Result<[Node; 2], NotFound> {
        let (ledger, number, own_prefix) = (Arc::clone(self.channel.ledger()), self.number, prefix.to_vec());
        let own = tokio::task::spawn_blocking(move || ledger.trie_node(number, &own_prefix)).await??;
        let request = BranchRequest {
            channel_id: self.channel.id().to_owned(),
            block_number: self.number,
            prefix: prefix.to_vec().into(),
            identity: self.parts.identity.serialized().clone(),
        };
        let request = request.encode_to_vec();
        let signature = self.parts.identity.sign(&request)?.into();
        let connection = self.parts.connections.to(self.target, &self.channel.config())?;
        let signed = SignedBranchRequest { request: request.into(), signature };
        let answer = ProofsClient::new(connection).branch(signed).await?.into_inner();
        Ok([own, node_of(answer).ok_or(NotFound::NoNode)?])
    }
}
