//! Which organizations' peers have to endorse, for planning.

use std::collections::{BTreeMap, BTreeSet};

use ripstop_msp::signature_policy::SignaturePolicy;
use ripstop_msp::{Principal, Role};

/// Number of endorsing peers by MSP id.
pub type Layout = BTreeMap<String, usize>;

/// More layouts than this are not looked at; a plan needs a few.
const LAYOUTS_MAX: usize = 1_000;

/// The layouts that satisfy a signature policy. Sets with a principal that no peer can be
/// (an admin, a client, an orderer) are left out.
pub(crate) fn of_signature_policy(policy: &SignaturePolicy) -> Vec<Layout> {
    let principals = policy.principals();
    let layout = |set: Vec<usize>| {
        let mut layout = Layout::new();
        for index in set {
            let msp_id = peer_of(&principals[index])?;
            *layout.entry(msp_id.to_owned()).or_default() += 1;
        }
        Some(layout)
    };
    smallest(policy.satisfying_sets().into_iter().filter_map(layout))
}

/// The layouts that satisfy `needed` of several policies, of which each judges all
/// endorsements: one endorsement may count for several.
pub(crate) fn out_of(needed: usize, parts: &[Vec<Layout>]) -> Vec<Layout> {
    // chosen[k]: layouts that satisfy k of the parts seen so far.
    let mut chosen: Vec<Vec<Layout>> = vec![Vec::new(); needed + 1];
    chosen[0].push(Layout::new());
    for part in parts {
        for count in (1..=needed).rev() {
            let pairs = chosen[count - 1].iter().flat_map(|one| part.iter().map(move |other| union(one, other)));
            let grown: Vec<Layout> = pairs.take(LAYOUTS_MAX).collect();
            let known = std::mem::take(&mut chosen[count]);
            chosen[count] = smallest(known.into_iter().chain(grown));
        }
    }
    chosen.swap_remove(needed)
}

/// The layouts that satisfy every one of several policies.
pub fn all_of(policies: &[Vec<Layout>]) -> Vec<Layout> {
    out_of(policies.len(), policies)
}

fn peer_of(principal: &Principal) -> Option<&str> {
    match principal {
        Principal::Role { role: Role::Admin | Role::Client | Role::Orderer, .. } => None,
        other => other.msp_id(),
    }
}

fn union(one: &Layout, other: &Layout) -> Layout {
    let mut union = one.clone();
    for (msp_id, count) in other {
        let present = union.entry(msp_id.clone()).or_default();
        *present = (*present).max(*count);
    }
    union
}

/// Without duplicates and supersets, fewest endorsements first.
fn smallest(layouts: impl Iterator<Item = Layout>) -> Vec<Layout> {
    let ordered: BTreeSet<(usize, Layout)> = layouts.map(|layout| (layout.values().sum(), layout)).collect();
    let mut kept: Vec<Layout> = Vec::new();
    for (_, layout) in ordered {
        if kept.len() < LAYOUTS_MAX && !kept.iter().any(|smaller| contains(&layout, smaller)) {
            kept.push(layout);
        }
    }
    kept
}

/// Whether `layout` has at least the endorsements of `part`.
pub fn contains(layout: &Layout, part: &Layout) -> bool {
    part.iter().all(|(msp_id, count)| layout.get(msp_id).is_some_and(|present| present >= count))
}

#[cfg(test)]
mod tests {
    use ripstop_msp::policy_text;

    use super::*;

    fn layouts(text: &str) -> Vec<Layout> {
        let policy = policy_text::parse(text).unwrap();
        of_signature_policy(&SignaturePolicy::compile(&policy).unwrap())
    }

    fn layout(parts: &[(&str, usize)]) -> Layout {
        parts.iter().map(|(msp_id, count)| ((*msp_id).to_owned(), *count)).collect()
    }

    #[test]
    fn a_signature_policy_names_its_organizations() {
        assert_eq!(layouts("OR('A.peer','B.member')"), [layout(&[("A", 1)]), layout(&[("B", 1)])]);
        assert_eq!(layouts("AND('A.peer','B.peer')"), [layout(&[("A", 1), ("B", 1)])]);
        assert_eq!(layouts("AND('A.peer','A.peer')"), [layout(&[("A", 2)])]);
    }

    #[test]
    fn who_is_no_peer_cannot_endorse() {
        assert_eq!(layouts("OR('A.admin','B.peer')"), [layout(&[("B", 1)])]);
        assert_eq!(layouts("OR('A.client')"), Vec::<Layout>::new());
    }

    #[test]
    fn a_majority_is_every_pair_of_three() {
        let parts: Vec<Vec<Layout>> = ["A", "B", "C"].map(|msp_id| vec![layout(&[(msp_id, 1)])]).into();
        let pairs = out_of(2, &parts);
        assert_eq!(pairs.len(), 3);
        assert!(pairs.contains(&layout(&[("A", 1), ("C", 1)])));
        assert_eq!(out_of(0, &parts), [Layout::new()]);
        assert_eq!(out_of(4, &parts), Vec::<Layout>::new());
    }

    #[test]
    fn one_endorsement_counts_for_several_policies() {
        let both = vec![layout(&[("A", 1)])];
        assert_eq!(out_of(2, &[both.clone(), both]), [layout(&[("A", 1)])]);
    }
}
