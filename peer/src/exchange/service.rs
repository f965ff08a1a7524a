//! Answering other peers. What they send is bounded before it is looked at, and who is no
//! peer of the channel costs one signature check and gets nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ripstop_channel::ChannelConfig;
use ripstop_proto::ripstop::v1::peers_server::{Peers, PeersServer};
use ripstop_proto::ripstop::v1::{ExchangeRequest, ExchangeResponse, SignedPeerStatus};
use tonic::{Request, Response, Status};

use super::calls::MESSAGE_BYTES_MAX;
use super::known_peers::WORDS_MAX;
use super::word::{self, PeerWord};
use super::{OwnWord, Parts, PeerExchange, Speechless};
use crate::channel::Channel;

/// Blocks whose roots one request may ask for: as many as are kept provable.
pub(super) const ROOTS_MAX: usize = 128;
/// Exchanges that one peer may ask for on one channel within [`WINDOW`].
const CALLS_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// How often each peer called lately.
#[derive(Default)]
pub(super) struct Callers(HashMap<(String, String, String), (Instant, u32)>);

impl Callers {
    /// Notes a call; false when there were too many.
    fn note(&mut self, caller: &PeerWord, now: Instant) -> bool {
        self.0.retain(|_, (since, _)| now.saturating_duration_since(*since) < WINDOW);
        let status = &caller.status;
        let key = (status.channel_id.clone(), caller.msp_id.clone(), status.endpoint.clone());
        let (_, count) = self.0.entry(key).or_insert((now, 0));
        *count += 1;
        *count <= CALLS_MAX
    }
}

impl PeerExchange {
    /// The service for the peer's listener.
    pub fn service(&self) -> PeersServer<Self> {
        PeersServer::new(self.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Peers for PeerExchange {
    async fn exchange(&self, request: Request<ExchangeRequest>) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        let parts = Arc::clone(&self.0);
        let answering = tokio::task::spawn_blocking(move || parts.answer(request));
        let answered = answering.await.map_err(|broken| Status::internal(format!("the exchange broke: {broken}")))?;
        answered.map(Response::new)
    }
}

impl Parts {
    fn answer(&self, request: ExchangeRequest) -> Result<ExchangeResponse, Status> {
        let ExchangeRequest { statuses, roots_of } = request;
        if statuses.len() > WORDS_MAX || roots_of.len() > ROOTS_MAX {
            let text = format!("at most {WORDS_MAX} statuses and {ROOTS_MAX} blocks are taken at once");
            return Err(Status::invalid_argument(text));
        }
        let mut statuses = statuses.into_iter();
        let (channel, caller) = self.caller(statuses.next())?;
        if !self.callers.lock().note(&caller, Instant::now()) {
            return Err(Status::resource_exhausted(format!(
                "a peer may exchange {CALLS_MAX} times per {} s",
                WINDOW.as_secs()
            )));
        }
        let config = channel.config();
        self.introduce(&channel, &config, statuses);
        if caller.status.endpoint != self.local.address {
            channel.peers().introduced(caller, Instant::now());
        }
        self.response(&channel, &roots_of).map_err(|speechless| {
            tracing::error!(channel = channel.id(), %speechless, "cannot answer another peer");
            Status::aborted(speechless.to_string())
        })
    }

    /// Who calls, and on which channel. An unknown channel is refused like an unknown caller.
    fn caller(&self, status: Option<SignedPeerStatus>) -> Result<(Arc<Channel>, PeerWord), Status> {
        let refuse = |cause: String| Status::unauthenticated(format!("no peer of a channel here: {cause}"));
        let status = status.ok_or_else(|| refuse("the request has no status".to_owned()))?;
        let channel_id = word::read(&status).map_err(|error| refuse(error.to_string()))?.channel_id;
        let channel = self.channels.get(&channel_id).ok_or_else(|| refuse("unknown channel".to_owned()))?;
        let word = word::open(status, &channel.config()).map_err(|error| refuse(error.to_string()))?;
        Ok((channel, word))
    }

    /// Takes what others say of peers that are not met already.
    pub(super) fn introduce(
        &self,
        channel: &Channel,
        config: &ChannelConfig,
        statuses: impl IntoIterator<Item = SignedPeerStatus>,
    ) {
        for signed in statuses.into_iter().take(WORDS_MAX) {
            let Ok(status) = word::read(&signed) else { continue };
            let is_met = || {
                let peers = channel.peers();
                peers.acquaintances(Instant::now()).any(|peer| peer.live && peer.status.endpoint == status.endpoint)
            };
            if status.endpoint == self.local.address || is_met() {
                continue;
            }
            match word::open(signed, config) {
                Ok(word) => channel.peers().introduced(word, Instant::now()),
                Err(error) => tracing::debug!(channel = channel.id(), %error, "a word about a peer is not believed"),
            }
        }
    }

    fn response(&self, channel: &Channel, numbers: &[u64]) -> Result<ExchangeResponse, Speechless> {
        let own = match self.known_word(channel.id()) {
            Some(own) => own,
            None => Arc::new(self.speak(channel)?),
        };
        let mut roots = Vec::new();
        for number in numbers {
            let OwnWord { roots: newest, .. } = own.as_ref();
            roots.extend(match newest {
                Some((of, roots)) if of == number => Some(roots.clone()),
                _ => self.vouch(channel, *number)?,
            });
        }
        let mut statuses = vec![own.signed.clone()];
        statuses.extend(channel.peers().words(Instant::now()));
        Ok(ExchangeResponse { statuses, roots })
    }
}

#[cfg(test)]
mod tests {
    use ripstop_proto::ripstop::v1::PeerStatus;

    use super::*;

    #[test]
    fn a_peer_that_calls_too_often_is_refused_for_a_second_and_no_other_with_it() {
        let caller = |endpoint: &str| PeerWord {
            status: PeerStatus { endpoint: endpoint.to_owned(), ..PeerStatus::default() },
            msp_id: "A".to_owned(),
            signed: SignedPeerStatus::default(),
        };
        let (mut callers, now) = (Callers::default(), Instant::now());
        let allowed = (0..100).filter(|_| callers.note(&caller("a:1"), now)).count();
        assert_eq!(allowed, CALLS_MAX as usize);
        assert!(callers.note(&caller("b:1"), now));
        assert!(!callers.note(&caller("a:1"), now + WINDOW / 2));
        assert!(callers.note(&caller("a:1"), now + WINDOW));
        assert_eq!(callers.0.len(), 1, "who called earlier is forgotten");
    }
}
