//! Whose roots of a block count.
//!
//! Every organization of which at least one peer attests the block has one vote, divided
//! equally among its attesting peers. Roots have the majority when they get more than half of
//! all votes cast. So an organization cannot outvote others with many peers, peers of one
//! organization check each other, and two organizations that disagree settle nothing.
//!
//! Pure: who attests, and for how long others are waited for, is decided in `comparison`.

use std::collections::BTreeMap;

/// One peer's word for a block's roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote<'a> {
    /// The peer's organization.
    pub msp_id: &'a str,
    /// The marshalled roots that it signed.
    pub roots: &'a [u8],
}

/// What a peer's own roots are worth beside those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// Everybody has them.
    Same,
    /// Some have others, and most organizations have these.
    Confirmed,
    /// Most organizations have others: these.
    Outvoted(&'a [u8]),
    /// They differ, and none have the majority.
    Undecided,
}

/// Judges the roots of `own` against those of `others`, one vote per peer.
pub fn judge<'a>(own: Vote<'a>, others: &[Vote<'a>]) -> Judgement<'a> {
    if others.iter().all(|other| other.roots == own.roots) {
        return Judgement::Same;
    }
    let votes = || others.iter().copied().chain([own]);
    let mut peers: BTreeMap<&str, u128> = BTreeMap::new();
    votes().for_each(|vote| *peers.entry(vote.msp_id).or_default() += 1);
    // A vote can be divided by the number of any organization's peers.
    let whole = peers.values().copied().fold(1, least_common_multiple);
    let mut shares: BTreeMap<&[u8], u128> = BTreeMap::new();
    votes().for_each(|vote| *shares.entry(vote.roots).or_default() += whole / peers[vote.msp_id]);
    let majority = shares.into_iter().find(|(_, share)| share * 2 > whole * peers.len() as u128);
    match majority {
        Some((roots, _)) if roots == own.roots => Judgement::Confirmed,
        Some((roots, _)) => Judgement::Outvoted(roots),
        None => Judgement::Undecided,
    }
}

/// Of numbers up to 33 it stays far below 2^64.
fn least_common_multiple(one: u128, other: u128) -> u128 {
    let (mut divisor, mut rest) = (one, other);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    one / divisor * other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges the first of peers written as organization and roots: `"A1"`.
    fn judged(peers: &[&'static str]) -> Judgement<'static> {
        let vote = |peer: &&'static str| Vote { msp_id: &peer[..1], roots: &peer.as_bytes()[1..] };
        judge(vote(&peers[0]), &peers[1..].iter().map(vote).collect::<Vec<_>>())
    }

    #[test]
    fn the_odd_one_of_three_organizations_is_outvoted_and_the_others_are_confirmed() {
        assert_eq!(judged(&["A2", "B1", "C1"]), Judgement::Outvoted(b"1"));
        assert_eq!(judged(&["B1", "A2", "C1"]), Judgement::Confirmed);
        assert_eq!(judged(&["A1", "B1", "C1"]), Judgement::Same);
        assert_eq!(judged(&["A1"]), Judgement::Same);
    }

    #[test]
    fn two_organizations_that_disagree_settle_nothing() {
        assert_eq!(judged(&["A1", "B2"]), Judgement::Undecided);
        assert_eq!(judged(&["B2", "A1"]), Judgement::Undecided);
        assert_eq!(judged(&["A1", "B2", "C3"]), Judgement::Undecided);
        assert_eq!(judged(&["A1", "B1", "C2", "D2"]), Judgement::Undecided);
    }

    #[test]
    fn many_peers_of_one_organization_have_one_vote() {
        assert_eq!(judged(&["A1", "B2", "B2", "B2"]), Judgement::Undecided);
        assert_eq!(judged(&["A1", "B2", "B2", "B2", "C1"]), Judgement::Confirmed);
        assert_eq!(judged(&["B2", "B2", "B2", "A1", "C1"]), Judgement::Outvoted(b"1"));
    }

    #[test]
    fn peers_of_one_organization_check_each_other() {
        assert_eq!(judged(&["A2", "A1", "A1"]), Judgement::Outvoted(b"1"));
        assert_eq!(judged(&["A2", "A1"]), Judgement::Undecided);
        assert_eq!(judged(&["B2", "B1", "A1"]), Judgement::Outvoted(b"1"), "one vote and a half against a half");
        assert_eq!(judged(&["B2", "B2", "B1", "A1"]), Judgement::Outvoted(b"1"), "four thirds against two");
    }

    #[test]
    fn the_order_of_votes_and_the_judge_do_not_matter() {
        // Of every distribution, all peers see the same majority.
        for code in 0..4_usize.pow(6) {
            let peers: Vec<(String, [u8; 1])> =
                (0..6).map(|index| (format!("{}", index / 2), [(code / 4_usize.pow(index) % 4) as u8])).collect();
            let votes: Vec<Vote<'_>> = peers.iter().map(|(msp_id, roots)| Vote { msp_id, roots }).collect();
            let mut majorities = Vec::new();
            for own in 0..6 {
                let mut others = votes.clone();
                let own = others.remove(own);
                others.reverse();
                majorities.push(match judge(own, &others) {
                    Judgement::Same | Judgement::Confirmed => Some(own.roots),
                    Judgement::Outvoted(roots) => Some(roots),
                    Judgement::Undecided => None,
                });
            }
            assert!(majorities.iter().all(|majority| *majority == majorities[0]), "{code}: {majorities:?}");
        }
    }

    #[test]
    fn as_many_peers_as_are_known_overflow_nothing() {
        let organizations: Vec<String> = (1..=33).map(|number| number.to_string()).collect();
        let mut votes = Vec::new();
        for (count, msp_id) in (1..=33).zip(&organizations) {
            votes.extend(std::iter::repeat_n(Vote { msp_id, roots: b"1" }, count));
        }
        assert_eq!(judge(Vote { msp_id: "own", roots: b"2" }, &votes), Judgement::Outvoted(b"1"));
    }
}
