//! Which of the layouts that satisfy the policies can be served by the peers at hand.
//!
//! A layout says how many peers of which organization endorse. Plans are invisible to
//! clients and to validators: only the endorsements that come of them are judged.

use ripstop_channel::Layout;
use ripstop_channel::layout::contains;

/// The layouts that the peers at hand can serve. First those that need no peer that is
/// down; of these, those with `preferred`, since that organization's endorsement is already
/// there.
pub(super) fn within_reach(
    layouts: Vec<Layout>,
    available: &Layout,
    reachable: &Layout,
    preferred: Option<&str>,
) -> Vec<Layout> {
    let mut possible: Vec<Layout> = layouts.into_iter().filter(|layout| contains(available, layout)).collect();
    possible.sort_by_key(|layout| {
        (!contains(reachable, layout), preferred.is_some_and(|msp_id| !layout.contains_key(msp_id)))
    });
    possible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(counts: &[(&str, usize)]) -> Layout {
        counts.iter().map(|(msp_id, count)| ((*msp_id).to_owned(), *count)).collect()
    }

    #[test]
    fn layouts_out_of_reach_are_dropped_and_those_with_a_present_endorsement_lead() {
        let layouts = vec![layout(&[("A", 1)]), layout(&[("B", 1)]), layout(&[("C", 2)])];
        let available = layout(&[("A", 1), ("B", 1), ("C", 1)]);
        let planned = within_reach(layouts, &available, &available, Some("B"));
        assert_eq!(planned, vec![layout(&[("B", 1)]), layout(&[("A", 1)])]);
    }

    #[test]
    fn a_layout_that_needs_a_peer_that_is_down_comes_last() {
        let (dead, alive) = (layout(&[("A", 1), ("B", 1)]), layout(&[("A", 1), ("C", 1)]));
        let available = layout(&[("A", 1), ("B", 1), ("C", 1)]);
        let reachable = layout(&[("A", 1), ("C", 1)]);
        let planned = within_reach(vec![dead.clone(), alive.clone()], &available, &reachable, Some("A"));
        assert_eq!(planned, vec![alive, dead]);
    }
}
