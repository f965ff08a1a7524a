//! Calling all known peers of a channel, again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_proto::ripstop::v1::{ExchangeRequest, ExchangeResponse};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::calls::{Target, targets};
use super::known_peers::WORDS_MAX;
use super::word::{self, Attestation};
use super::{OwnWord, Parts, PeerExchange, Speechless, roots_of, settling};
use crate::channel::Channel;
use crate::divergence::{Attested, Comparison};

/// From one round to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is kept of a channel between two rounds.
pub(super) struct ChannelRounds {
    pub(super) comparison: Comparison,
    /// Where the peer with a certificate answers.
    pub(super) answering: BTreeMap<[u8; 32], Target>,
    /// Whether a disagreement was told.
    pub(super) is_told: bool,
}

impl PeerExchange {
    /// Calls the other peers of every channel, once per second, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds: HashMap<String, ChannelRounds> = HashMap::new();
        let exchanging = async {
            loop {
                ticks.tick().await;
                let parts = &self.0;
                let channels = parts.channels.ids().into_iter().filter_map(|id| parts.channels.get(&id));
                let channels: Vec<Arc<Channel>> = channels.collect();
                rounds.retain(|id, _| channels.iter().any(|channel| channel.id() == id));
                for channel in &channels {
                    rounds.entry(channel.id().to_owned()).or_insert_with(|| ChannelRounds {
                        comparison: Comparison::new(parts.local.msp_id.clone()),
                        answering: BTreeMap::new(),
                        is_told: false,
                    });
                }
                let by_channel = rounds.iter_mut().filter_map(|(id, rounds)| {
                    let channel = channels.iter().find(|channel| channel.id() == id)?;
                    Some(parts.round(channel, rounds))
                });
                let called = join_all(by_channel).await.into_iter().flatten().map(|target| (target, ())).collect();
                parts.connections.keep_only(&called);
            }
        };
        stop.run_until_cancelled(exchanging).await;
    }
}

impl Parts {
    /// One round on one channel; who was called.
    async fn round(self: &Arc<Self>, channel: &Arc<Channel>, rounds: &mut ChannelRounds) -> Vec<Target> {
        let own = match self.refresh(channel, rounds).await {
            Ok(own) => own,
            Err(speechless) => {
                tracing::error!(channel = channel.id(), %speechless, "cannot say anything to other peers");
                return Vec::new();
            }
        };
        let (config, now) = (channel.config(), Instant::now());
        let mut statuses = vec![own.signed.clone()];
        statuses.extend(channel.peers().words(now));
        statuses.truncate(WORDS_MAX);
        let request = ExchangeRequest { statuses, roots_of: rounds.comparison.number().into_iter().collect() };
        let targets = targets(&config, &self.bootstrap, channel.peers().to_call(now), &self.local.address);
        let calls = targets.iter().map(|target| {
            join(std::future::ready(target), self.connections.exchange(target, &config, request.clone()))
        });
        for (target, answer) in join_all(calls).await {
            match answer {
                Ok(answer) => self.take(channel, &config, target, answer, rounds),
                Err(error) => {
                    tracing::debug!(channel = channel.id(), endpoint = target.endpoint, %error, "a peer did not answer");
                }
            }
        }
        settling::settle(self, channel, rounds);
        targets
    }

    /// Says anew what there is to say of this peer, and picks the block to compare.
    async fn refresh(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        rounds: &mut ChannelRounds,
    ) -> Result<Arc<OwnWord>, Speechless> {
        let (parts, speaking_of) = (Arc::clone(self), Arc::clone(channel));
        let own = Arc::new(tokio::task::spawn_blocking(move || parts.speak(&speaking_of)).await??);
        self.own_words.lock().insert(channel.id().to_owned(), Arc::clone(&own));
        let live = self.live(channel, rounds);
        if let Some((number, roots)) = &own.roots
            && rounds.comparison.wants_newer(&live, Instant::now())
        {
            rounds.comparison.begin(*number, roots.block_roots.clone(), Instant::now());
        }
        Ok(own)
    }

    /// The certificates of those who answered lately.
    fn live(&self, channel: &Channel, rounds: &ChannelRounds) -> Vec<[u8; 32]> {
        let peers = channel.peers();
        let live: Vec<_> = peers.acquaintances(Instant::now()).filter(|peer| peer.live).collect();
        let is_live = |target: &Target| {
            live.iter()
                .any(|peer| peer.status.endpoint == target.endpoint && target.msp_id.as_deref() == Some(peer.msp_id))
        };
        rounds.answering.iter().filter(|(_, target)| is_live(target)).map(|(identity, _)| *identity).collect()
    }

    /// Takes what a peer answered. Its first word is its own; when it is of the endpoint that
    /// was called, the peer is live.
    fn take(
        &self,
        channel: &Channel,
        config: &ChannelConfig,
        target: &Target,
        answer: ExchangeResponse,
        rounds: &mut ChannelRounds,
    ) {
        let ExchangeResponse { statuses, roots } = answer;
        let mut statuses = statuses.into_iter();
        let Some(first) = statuses.next() else { return };
        let word = match word::open(first, config) {
            Ok(word) => word,
            Err(error) => {
                tracing::warn!(channel = channel.id(), endpoint = target.endpoint, %error, "a peer is not believed");
                return;
            }
        };
        let speaker = word.status.identity.clone();
        if word.status.endpoint == self.local.address {
            return;
        }
        let is_called = word.status.endpoint == target.endpoint && target.msp_id.as_ref() == Some(&word.msp_id);
        let newest = word.status.roots.clone();
        match is_called {
            true => channel.peers().answered(word, Instant::now()),
            false => channel.peers().introduced(word, Instant::now()),
        }
        self.introduce(channel, config, statuses);
        if !is_called {
            return;
        }
        // Others' roots are taken from themselves only.
        for signed in roots.into_iter().take(1).chain(newest).filter(|signed| signed.identity == speaker) {
            match word::attestation(&signed, config) {
                Ok(attestation) => note(attestation, target, rounds),
                Err(error) => {
                    tracing::warn!(channel = channel.id(), endpoint = target.endpoint, %error, "roots are not believed");
                }
            }
        }
    }
}

fn note(attestation: Attestation, target: &Target, rounds: &mut ChannelRounds) {
    let Attestation { msp_id, identity, number, roots } = attestation;
    rounds.answering.retain(|known, answering| known == &identity || answering != target);
    rounds.answering.insert(identity, target.clone());
    rounds.comparison.take(identity, number, Attested { msp_id, roots });
}

/// The first of some blocks of which this peer's roots differ from `others`, ascending.
pub(super) fn first_differing(
    channel: &Channel,
    others: &[Attestation],
) -> Result<Option<u64>, ripstop_ledger::LedgerError> {
    for other in others {
        if roots_of(channel, other.number)?.is_some_and(|roots| roots.encode_to_vec() != other.roots) {
            return Ok(Some(other.number));
        }
    }
    Ok(None)
}
