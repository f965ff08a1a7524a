//! Which principals to ask for a signature, so that greedy evaluation will be satisfied.

use std::collections::BTreeSet;

use super::{Rule, SignaturePolicy, is_satisfied};
use crate::node_ous::Role;
use crate::principal::Principal;

/// Combinations grow fast (10 out of 20 are 184,756); a plan needs a few.
const SETS_MAX: usize = 256;
/// More places than this are not planned for.
const PLACES_MAX: usize = 100;

/// Ascending indices; an index may repeat.
type Set = Vec<usize>;

pub(super) fn of(policy: &SignaturePolicy) -> Vec<Set> {
    let mut every = Vec::new();
    collect(&policy.rule, &mut every);
    if every.len() > PLACES_MAX {
        return Vec::new();
    }
    let candidates = sets(&policy.rule);
    let mut found = minimal(candidates.into_iter().filter(|set| passes(policy, set)));
    if found.is_empty() {
        // Nested rules ate each other's identities: one identity for every place may still do.
        every.sort_unstable();
        found.extend(Some(every).filter(|set| passes(policy, set)));
    }
    found
}

/// The sets that satisfy a rule when each place gets an identity of its own.
fn sets(rule: &Rule) -> Vec<Set> {
    let (needed, parts) = match rule {
        Rule::SignedBy(principal) => return vec![vec![*principal]],
        Rule::OutOf { needed, parts } => (usize::try_from(*needed).unwrap_or(0), parts),
    };
    if needed > parts.len() {
        return Vec::new();
    }
    // chosen[k]: sets that satisfy k of the parts seen so far.
    let mut chosen: Vec<Vec<Set>> = vec![Vec::new(); needed + 1];
    chosen[0].push(Vec::new());
    for part in parts {
        let of_part = sets(part);
        for count in (1..=needed).rev() {
            let grown = pairs(&chosen[count - 1], &of_part);
            chosen[count].extend(grown);
            chosen[count] = minimal(std::mem::take(&mut chosen[count]));
        }
    }
    chosen.swap_remove(needed)
}

fn pairs(left: &[Set], right: &[Set]) -> Vec<Set> {
    let both = left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
    let joined = both.map(|(one, other)| {
        let mut set = [&one[..], &other[..]].concat();
        set.sort_unstable();
        set
    });
    joined.take(SETS_MAX).collect()
}

/// Without duplicates and supersets, smallest first.
fn minimal(candidates: impl IntoIterator<Item = Set>) -> Vec<Set> {
    let ordered: BTreeSet<(usize, Set)> = candidates.into_iter().map(|set| (set.len(), set)).collect();
    let mut kept: Vec<Set> = Vec::new();
    for (_, set) in ordered {
        let mut shorter = kept.iter().take_while(|earlier| earlier.len() < set.len());
        if kept.len() < SETS_MAX && !shorter.any(|smaller| includes(&set, smaller)) {
            kept.push(set);
        }
    }
    kept
}

/// Whether `set` has every element of `smaller`, counted; both ascending.
fn includes(set: &[usize], smaller: &[usize]) -> bool {
    let mut rest = set.iter();
    smaller.iter().all(|wanted| rest.any(|index| index == wanted))
}

/// Whether greedy evaluation is satisfied by one identity for each principal of the set, assuming of
/// an identity no more than the principal it was asked for says.
fn passes(policy: &SignaturePolicy, set: &[usize]) -> bool {
    let principals = &policy.principals;
    let satisfies = |principal: usize, index: usize| implies(&principals[set[index]], &principals[principal]);
    is_satisfied(&policy.rule, &mut vec![false; set.len()], &satisfies)
}

/// Whether whoever satisfies `given` satisfies `asked`. A listed admin need not be a valid member,
/// so admins imply nothing.
fn implies(given: &Principal, asked: &Principal) -> bool {
    let member = match given {
        Principal::Role { role: Role::Admin, .. } | Principal::Nobody(_) => None,
        Principal::Combined(_) | Principal::Nominal => None,
        other => other.msp_id(),
    };
    let asks_member = matches!(asked, Principal::Member { msp_id } if member == Some(msp_id.as_str()));
    given == asked || asks_member || matches!(asked, Principal::Nominal)
}

fn collect(rule: &Rule, every: &mut Vec<usize>) {
    match rule {
        Rule::SignedBy(principal) => every.push(*principal),
        Rule::OutOf { parts, .. } => parts.iter().for_each(|part| collect(part, every)),
    }
}
