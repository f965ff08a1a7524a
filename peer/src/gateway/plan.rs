//! Who has to be asked so that every policy in question can be satisfied.
//!
//! A layout says how many peers of which organization endorse. Each policy allows some
//! layouts; a transaction that touches several chaincodes needs one that serves all of
//! their policies at once. Plans are invisible to clients and to validators: only the
//! endorsements that come of them are judged.

use std::collections::BTreeMap;

/// Number of endorsing peers by MSP id.
pub(super) type Layout = BTreeMap<String, usize>;

/// More combinations than this are not looked at; a policy of ten organizations out of
/// twenty alone has 184,756.
const LAYOUTS_MAX: usize = 4096;

/// The layouts that serve every policy, fewest endorsements first.
///
/// `policies` holds for each policy the layouts that satisfy it. A layout that another one
/// is part of is left out.
pub(super) fn common_layouts(policies: &[Vec<Layout>]) -> Vec<Layout> {
    let mut common = vec![Layout::new()];
    for allowed in policies {
        let combined = common.iter().flat_map(|one| allowed.iter().map(|other| union(one, other)));
        common = smallest(combined.take(LAYOUTS_MAX).collect());
    }
    common
}

/// Serves both: an endorsement counts for every policy.
fn union(one: &Layout, other: &Layout) -> Layout {
    let mut union = one.clone();
    for (msp_id, count) in other {
        let present = union.entry(msp_id.clone()).or_default();
        *present = (*present).max(*count);
    }
    union
}

fn smallest(mut layouts: Vec<Layout>) -> Vec<Layout> {
    layouts.sort_by_key(|layout| (layout.values().sum::<usize>(), layout.clone()));
    let mut kept: Vec<Layout> = Vec::new();
    for layout in layouts {
        if !kept.iter().any(|smaller| contains(&layout, smaller)) {
            kept.push(layout);
        }
    }
    kept
}

fn contains(layout: &Layout, part: &Layout) -> bool {
    part.iter().all(|(msp_id, count)| layout.get(msp_id).is_some_and(|present| present >= count))
}

/// The layouts that the peers at hand can serve; those with `preferred` first, since that
/// organization's endorsement is already there.
pub(super) fn within_reach(layouts: Vec<Layout>, available: &Layout, preferred: Option<&str>) -> Vec<Layout> {
    let mut reachable: Vec<Layout> = layouts.into_iter().filter(|layout| contains(available, layout)).collect();
    reachable.sort_by_key(|layout| preferred.is_some_and(|msp_id| !layout.contains_key(msp_id)));
    reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(counts: &[(&str, usize)]) -> Layout {
        counts.iter().map(|(msp_id, count)| ((*msp_id).to_owned(), *count)).collect()
    }

    #[test]
    fn one_layout_serves_two_policies_at_once() {
        let either = vec![layout(&[("A", 1)]), layout(&[("B", 1)])];
        let both = vec![layout(&[("B", 1), ("C", 1)])];
        assert_eq!(common_layouts(&[either, both]), vec![layout(&[("B", 1), ("C", 1)])]);
    }

    #[test]
    fn the_smallest_layouts_come_first_and_larger_ones_around_them_are_dropped() {
        let policy = vec![layout(&[("A", 1), ("B", 1)]), layout(&[("C", 2)]), layout(&[("A", 1)])];
        assert_eq!(common_layouts(&[policy]), vec![layout(&[("A", 1)]), layout(&[("C", 2)])]);
    }

    #[test]
    fn a_policy_nobody_can_satisfy_leaves_no_layout() {
        assert_eq!(common_layouts(&[vec![layout(&[("A", 1)])], Vec::new()]), Vec::<Layout>::new());
    }

    #[test]
    fn layouts_out_of_reach_are_dropped_and_those_with_a_present_endorsement_lead() {
        let layouts = vec![layout(&[("A", 1)]), layout(&[("B", 1)]), layout(&[("C", 2)])];
        let available = layout(&[("A", 1), ("B", 1), ("C", 1)]);
        assert_eq!(within_reach(layouts, &available, Some("B")), vec![layout(&[("B", 1)]), layout(&[("A", 1)])]);
    }
}
