//! Which of the layouts that satisfy the policies can be served by the peers at hand.
//!
//! A layout says how many peers of which organization endorse. Plans are invisible to clients and to validators: only the
//! endorsements that come of them are judged.

use ripstop_channel::Layout;
use ripstop_channel::layout::contains;

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
    fn layouts_out_of_reach_are_dropped_and_those_with_a_present_endorsement_lead() {
        let layouts = vec![layout(&[("A", 1)]), layout(&[("B", 1)]), layout(&[("C", 2)])];
        let available = layout(&[("A", 1), ("B", 1), ("C", 1)]);
        assert_eq!(within_reach(layouts, &available, Some("B")), vec![layout(&[("B", 1)]), layout(&[("A", 1)])]);
    }
}
