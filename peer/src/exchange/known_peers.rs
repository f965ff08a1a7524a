//! The other peers of one channel, as far as they made themselves known.
//!
//! ```text
//! introduced ──it answers at its own endpoint──▶ live ──silent for LIVE_FOR──▶ missed
//!      ▲                                          ▲                              │
//!      └──a peer passes its word on───────────────┴──────it answers again────────┤
//!                                     forgotten ◀──silent for KEPT_FOR───────────┘
//! ```
//! A word that others pass on is a reason to call a peer, never to use it: only who answered at
//! the very endpoint that it names, under its organization's TLS certificate, is live. Only
//! words of live peers are passed on, so that nobody keeps a dead peer in circulation.
//! Pure: the time is an argument, and it dials nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ripstop_proto::ripstop::v1::{PeerStatus, SignedPeerStatus};

use super::word::PeerWord;

/// A peer is live for so long after it answered: three rounds, and a little.
const LIVE_FOR: Duration = Duration::from_millis(3500);
/// A peer that does not answer is called for so long.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Peers known of one organization.
const PEERS_PER_ORGANIZATION_MAX: usize = 32;
/// Peers known in all.
const PEERS_MAX: usize = 256;
/// Words in one message.
pub(super) const WORDS_MAX: usize = 64;

/// The peers that are known on one channel, but for this one.
#[derive(Debug, Default)]
pub struct KnownPeers {
    /// By organization and endpoint.
    peers: BTreeMap<(String, String), Known>,
}

#[derive(Debug)]
struct Known {
    word: PeerWord,
    called_since: Instant,
    answered_at: Option<Instant>,
}

/// What is known of one peer.
#[derive(Debug, Clone, Copy)]
pub struct Acquaintance<'a> {
    /// Its organization.
    pub msp_id: &'a str,
    /// What it said last.
    pub status: &'a PeerStatus,
    /// Whether it answered within the last seconds.
    pub live: bool,
}

impl KnownPeers {
    /// Takes a word that came from anywhere but the peer's own endpoint.
    pub fn introduced(&mut self, word: PeerWord, now: Instant) {
        self.forget(now);
        let key = (word.msp_id.clone(), word.status.endpoint.clone());
        let has_room = self.peers.len() < PEERS_MAX;
        let of_organization = self.peers.keys().filter(|(msp_id, _)| *msp_id == word.msp_id).count();
        match self.peers.get_mut(&key) {
            // It may have been away; it is called for a while again.
            Some(known) => {
                known.called_since = now;
                if is_newer(&word.status, &known.word.status) {
                    known.word = word;
                }
            }
            None if has_room && of_organization < PEERS_PER_ORGANIZATION_MAX => {
                self.peers.insert(key, Known { word, called_since: now, answered_at: None });
            }
            None => {}
        }
    }

    /// Takes the word of a peer that answered at its own endpoint.
    pub fn answered(&mut self, word: PeerWord, now: Instant) {
        let key = (word.msp_id.clone(), word.status.endpoint.clone());
        self.introduced(word.clone(), now);
        if let Some(known) = self.peers.get_mut(&key) {
            (known.word, known.answered_at) = (word, Some(now));
        }
    }

    /// The endpoints to call, with the organization of each.
    pub fn to_call(&mut self, now: Instant) -> Vec<(String, String)> {
        self.forget(now);
        self.peers.keys().cloned().collect()
    }

    /// Everybody who was live once and is not forgotten.
    pub fn acquaintances(&self, now: Instant) -> impl Iterator<Item = Acquaintance<'_>> {
        let met = self.peers.iter().filter_map(|((msp_id, _), known)| Some((msp_id, known, known.answered_at?)));
        met.map(move |(msp_id, known, answered_at)| Acquaintance {
            msp_id,
            status: &known.word.status,
            live: now.saturating_duration_since(answered_at) < LIVE_FOR,
        })
    }

    /// What is passed on to others: the words of live peers.
    pub fn words(&self, now: Instant) -> Vec<SignedPeerStatus> {
        let live = self.peers.values().filter(|known| {
            known.answered_at.is_some_and(|answered_at| now.saturating_duration_since(answered_at) < LIVE_FOR)
        });
        live.map(|known| known.word.signed.clone()).take(WORDS_MAX - 1).collect()
    }

    fn forget(&mut self, now: Instant) {
        self.peers.retain(|_, known| {
            let since = known.answered_at.map_or(known.called_since, |answered_at| answered_at.max(known.called_since));
            now.saturating_duration_since(since) < KEPT_FOR
        });
    }
}

fn is_newer(word: &PeerStatus, known: &PeerStatus) -> bool {
    (word.started_at_ms, word.height) > (known.started_at_ms, known.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(msp_id: &str, port: u16, height: u64) -> PeerWord {
        let status = PeerStatus { endpoint: format!("peer:{port}"), height, ..PeerStatus::default() };
        let signed = SignedPeerStatus { status: format!("{msp_id} {port} {height}").into(), ..Default::default() };
        PeerWord { status, msp_id: msp_id.to_owned(), signed }
    }

    fn live(peers: &KnownPeers, now: Instant) -> Vec<(String, u64)> {
        let live = peers.acquaintances(now).filter(|peer| peer.live);
        live.map(|peer| (peer.status.endpoint.clone(), peer.status.height)).collect()
    }

    #[test]
    fn a_peer_that_was_only_introduced_is_called_and_neither_used_nor_passed_on() {
        let (mut peers, now) = (KnownPeers::default(), Instant::now());
        peers.introduced(word("A", 1, 5), now);
        assert_eq!(peers.to_call(now), [("A".to_owned(), "peer:1".to_owned())]);
        assert_eq!(peers.acquaintances(now).count(), 0);
        assert!(peers.words(now).is_empty());
    }

    #[test]
    fn a_stopped_peer_is_missed_within_5_s_and_a_restarted_one_live_with_its_first_answer() {
        let (mut peers, now) = (KnownPeers::default(), Instant::now());
        peers.answered(word("A", 1, 5), now);
        assert_eq!(live(&peers, now + Duration::from_secs(3)), [("peer:1".to_owned(), 5)]);
        let later = now + Duration::from_millis(4500);
        assert!(live(&peers, later).is_empty());
        assert_eq!(peers.acquaintances(later).count(), 1, "it is known to be missed");
        assert!(peers.words(later).is_empty());
        peers.introduced(word("A", 1, 9), later);
        assert!(live(&peers, later).is_empty(), "the word of another does not make it live");
        peers.answered(word("A", 1, 4), later);
        assert_eq!(live(&peers, later), [("peer:1".to_owned(), 4)], "its own newest word counts");
        assert_eq!(peers.words(later).len(), 1);
    }

    #[test]
    fn a_peer_that_stays_away_is_forgotten_unless_somebody_introduces_it_again() {
        let (mut peers, now) = (KnownPeers::default(), Instant::now());
        peers.answered(word("A", 1, 5), now);
        peers.answered(word("A", 2, 5), now);
        peers.introduced(word("A", 2, 5), now + KEPT_FOR / 2);
        assert_eq!(peers.to_call(now + KEPT_FOR).len(), 1);
        assert!(peers.to_call(now + KEPT_FOR * 2).is_empty());
    }

    #[test]
    fn an_organization_that_introduces_more_peers_than_fit_shuts_nobody_else_out() {
        let (mut peers, now) = (KnownPeers::default(), Instant::now());
        for port in 1..1000 {
            peers.introduced(word("A", port, 5), now);
        }
        peers.introduced(word("B", 1, 5), now);
        assert_eq!(peers.to_call(now).len(), PEERS_PER_ORGANIZATION_MAX + 1);
        for organization in 0..100 {
            for port in 0..100 {
                peers.introduced(word(&format!("C{organization}"), port, 5), now);
            }
        }
        assert_eq!(peers.to_call(now).len(), PEERS_MAX);
        for (msp_id, endpoint) in peers.to_call(now) {
            let port = endpoint.split_once(':').unwrap().1.parse().unwrap();
            peers.answered(word(&msp_id, port, 5), now);
        }
        assert_eq!(peers.words(now).len(), WORDS_MAX - 1, "with our own, a message is full");
    }

    #[test]
    fn one_organization_cannot_take_the_endpoint_of_another() {
        let (mut peers, now) = (KnownPeers::default(), Instant::now());
        peers.answered(word("A", 1, 5), now);
        peers.introduced(word("B", 1, 9), now);
        assert_eq!(live(&peers, now), [("peer:1".to_owned(), 5)]);
        assert_eq!(peers.to_call(now).len(), 2);
    }
}
