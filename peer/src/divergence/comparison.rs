//! Which block is compared, and what has come in about it.
//!
//! Peers are at different heights at any moment, so one block is held on to until every live
//! peer has attested it, or those that have not were waited for long enough; then the newest
//! one is taken. What is found about a block counts for the blocks before it: roots cover the
//! whole state, and the commit hash the whole chain.
//!
//! Pure: the time is an argument, and it calls nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::majority::{Judgement, Vote, judge};

/// A block is given up for a newer one after so long, whoever has not attested it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The block that is compared.
#[derive(Debug)]
pub struct Comparison {
    /// This peer's organization.
    msp_id: String,
    current: Option<Current>,
    /// The newest block that was found to be right.
    agreed: Option<u64>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    roots: Bytes,
    since: Instant,
    attested: BTreeMap<[u8; 32], Attested>,
}

/// Another peer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// Its organization.
    pub msp_id: String,
    /// The marshalled roots.
    pub roots: Bytes,
}

/// What the comparison has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody has other roots.
    Same,
    /// Somebody has other roots, most organizations have this peer's.
    Confirmed,
    /// Somebody has other roots, and no roots have the majority.
    Undecided,
    /// Most organizations have other roots of this block.
    Outvoted {
        /// The block.
        number: u64,
        /// The majority's roots.
        roots: Bytes,
        /// The newest block that was found to be the same, where one was since the start.
        agreed: Option<u64>,
    },
}

impl Comparison {
    /// For a peer of this organization; nothing is compared yet.
    pub fn new(msp_id: String) -> Self {
        Self { msp_id, current: None, agreed: None }
    }

    /// Whether a newer block is to be compared than the one that is, if any. `live`: the
    /// certificates of the peers that answer.
    pub fn wants_newer(&self, live: &[[u8; 32]], now: Instant) -> bool {
        self.current.as_ref().is_none_or(|current| {
            live.iter().all(|identity| current.attested.contains_key(identity))
                || now.saturating_duration_since(current.since) >= PATIENCE
        })
    }

    /// Goes over to another block, with this peer's own roots of it.
    pub fn begin(&mut self, number: u64, roots: Bytes, now: Instant) {
        if self.current.as_ref().is_none_or(|current| current.number < number) {
            self.current = Some(Current { number, roots, since: now, attested: BTreeMap::new() });
        }
    }

    /// The block to ask others about.
    pub fn number(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.number)
    }

    /// Takes what the peer with this certificate attests; about other blocks it is dropped.
    pub fn take(&mut self, identity: [u8; 32], number: u64, attested: Attested) {
        if let Some(current) = self.current.as_mut().filter(|current| current.number == number) {
            current.attested.insert(identity, attested);
        }
    }

    /// The certificate of a peer that has these roots of the block.
    pub fn attesting(&self, roots: &[u8]) -> Option<[u8; 32]> {
        let attested = &self.current.as_ref()?.attested;
        attested.iter().find(|(_, attested)| attested.roots == roots).map(|(identity, _)| *identity)
    }

    /// What has come of it so far; `None` while nobody else attested.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let current = self.current.as_ref().filter(|current| !current.attested.is_empty())?;
        let own = Vote { msp_id: &self.msp_id, roots: &current.roots };
        let attested = current.attested.values();
        let others: Vec<Vote<'_>> = attested.map(|it| Vote { msp_id: &it.msp_id, roots: &it.roots }).collect();
        let outcome = match judge(own, &others) {
            Judgement::Same => Outcome::Same,
            Judgement::Confirmed => Outcome::Confirmed,
            Judgement::Undecided => Outcome::Undecided,
            Judgement::Outvoted(roots) => {
                Outcome::Outvoted { number: current.number, roots: Bytes::copy_from_slice(roots), agreed: self.agreed }
            }
        };
        if matches!(outcome, Outcome::Same | Outcome::Confirmed) {
            self.agreed = self.agreed.max(Some(current.number));
        }
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: [u8; 32] = [2; 32];
    const C: [u8; 32] = [3; 32];

    fn says(roots: &'static str, msp_id: &str) -> Attested {
        Attested { msp_id: msp_id.to_owned(), roots: roots.into() }
    }

    fn begun(number: u64, now: Instant) -> Comparison {
        let mut comparison = Comparison::new("A".to_owned());
        comparison.begin(number, "right".into(), now);
        comparison
    }

    #[test]
    fn a_block_is_held_on_to_until_every_live_peer_attested_it_or_too_long() {
        let now = Instant::now();
        let mut comparison = begun(7, now);
        assert_eq!(comparison.number(), Some(7));
        comparison.take(B, 7, says("right", "B"));
        comparison.take(C, 8, says("right", "C"));
        assert!(!comparison.wants_newer(&[B, C], now + PATIENCE / 2));
        assert!(comparison.wants_newer(&[B, C], now + PATIENCE));
        assert!(comparison.wants_newer(&[B], now), "who does not answer is not waited for");
        comparison.take(C, 7, says("right", "C"));
        assert!(comparison.wants_newer(&[B, C], now));
        comparison.begin(7, "right".into(), now);
        assert_eq!(comparison.attesting(b"right"), Some(B), "the same block is not begun again");
        comparison.begin(9, "right".into(), now);
        assert_eq!((comparison.number(), comparison.outcome()), (Some(9), None));
    }

    #[test]
    fn a_peer_that_is_outvoted_learns_since_which_block_it_may_be() {
        let now = Instant::now();
        let mut comparison = begun(3, now);
        comparison.take(B, 3, says("right", "B"));
        assert_eq!(comparison.outcome(), Some(Outcome::Same));
        comparison.begin(6, "mine".into(), now);
        comparison.take(B, 6, says("theirs", "B"));
        assert_eq!(comparison.outcome(), Some(Outcome::Undecided));
        comparison.take(C, 6, says("theirs", "C"));
        let roots = Bytes::from_static(b"theirs");
        assert_eq!(comparison.outcome(), Some(Outcome::Outvoted { number: 6, roots, agreed: Some(3) }));
    }

    #[test]
    fn a_peer_that_most_agree_with_is_confirmed_whatever_another_says() {
        let mut comparison = begun(3, Instant::now());
        comparison.take(B, 3, says("right", "B"));
        comparison.take(C, 3, says("wrong", "C"));
        assert_eq!(comparison.outcome(), Some(Outcome::Confirmed));
        comparison.take(C, 3, says("right", "C"));
        assert_eq!(comparison.outcome(), Some(Outcome::Same), "the newest word of a peer counts");
    }
}
