//! What earlier calls tell of other nodes: who is down, who failed a moment ago, and how
//! many calls are under way at each. It only orders them: the worst are asked last.
//!
//! ```text
//! good ──a call fails──▶ failing ──FAILING_FOR passes, or a call succeeds──▶ good
//!   any ──cannot be reached──▶ down ──reached again (the gateway tries)──▶ good
//! ```
//! Pure: addresses and the time are arguments, and it dials nobody. See `probe` for that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A node that answered with a failure is asked last for so long: the failure may be of
/// the node (its contract does not run) or of the request alone.
const FAILING_FOR: Duration = Duration::from_secs(3);

/// A call that is given up after so long counts against the node, an earlier one does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// How well a node serves, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Good,
    Failing,
    Down,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// The node answered that it could not.
    Failed,
    /// No connection, or it broke, or no answer in time.
    Unreachable,
    /// Nobody waits for the answer any more, after so long.
    Abandoned(Duration),
}

/// The nodes that were called, by address.
#[derive(Debug, Default)]
pub(super) struct Standing {
    nodes: HashMap<String, Node>,
    /// Counts the calls, to tell which node was asked last.
    turn: u64,
}

#[derive(Debug, Default)]
struct Node {
    calls_under_way: usize,
    asked_at_turn: u64,
    down: bool,
    failed_at: Option<Instant>,
}

impl Standing {
    /// A call to `address` begins.
    pub(super) fn began(&mut self, address: &str) {
        self.turn += 1;
        let node = self.nodes.entry(address.to_owned()).or_default();
        node.calls_under_way += 1;
        node.asked_at_turn = self.turn;
    }

    /// A call that began has ended.
    pub(super) fn ended(&mut self, address: &str, outcome: Outcome, now: Instant) {
        // A node may have left the configuration meanwhile.
        let Some(node) = self.nodes.get_mut(address) else { return };
        node.calls_under_way = node.calls_under_way.saturating_sub(1);
        match outcome {
            Outcome::Answered => (node.down, node.failed_at) = (false, None),
            Outcome::Failed => (node.down, node.failed_at) = (false, Some(now)),
            Outcome::Unreachable => node.down = true,
            Outcome::Abandoned(waited) if waited >= PATIENCE => node.failed_at = Some(now),
            Outcome::Abandoned(_) => {}
        }
    }

    /// A node that was down has been reached.
    pub(super) fn reached(&mut self, address: &str) {
        if let Some(node) = self.nodes.get_mut(address) {
            node.down = false;
        }
    }

    /// How well `address` serves; a node never called counts as good.
    pub(super) fn condition(&self, address: &str, now: Instant) -> Condition {
        match self.nodes.get(address) {
            Some(node) if node.down => Condition::Down,
            Some(Node { failed_at: Some(at), .. }) if now.saturating_duration_since(*at) < FAILING_FOR => {
                Condition::Failing
            }
            _ => Condition::Good,
        }
    }

    /// The nodes to try to reach again.
    pub(super) fn down(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.down).map(|(address, _)| address.clone()).collect()
    }

    /// Forgets the nodes that no configuration names any more.
    pub(super) fn keep_only(&mut self, known: impl Fn(&str) -> bool) {
        self.nodes.retain(|address, _| known(address));
    }

    /// Sorts `nodes` into the order to ask them: first by condition, then by `group`, then
    /// the one with the fewest calls under way, and among equals the one not asked longest.
    pub(super) fn sort<T, G: Ord>(
        &self,
        nodes: &mut [T],
        now: Instant,
        address: impl Fn(&T) -> &str,
        group: impl Fn(&T) -> G,
    ) {
        nodes.sort_by_cached_key(|node| {
            let load = self.nodes.get(address(node)).map_or((0, 0), |node| (node.calls_under_way, node.asked_at_turn));
            (self.condition(address(node), now), group(node), load)
        });
    }
}

/// A call under way; it counts until it is dropped.
pub(super) struct Call<'a> {
    standing: &'a Mutex<Standing>,
    address: &'a str,
    began: Instant,
    outcome: Option<Outcome>,
}

impl<'a> Call<'a> {
    /// Begins a call to `address`.
    pub(super) fn begin(standing: &'a Mutex<Standing>, address: &'a str) -> Self {
        standing.lock().began(address);
        Self { standing, address, began: Instant::now(), outcome: None }
    }

    /// Ends it.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let outcome = self.outcome.unwrap_or_else(|| Outcome::Abandoned(now.duration_since(self.began)));
        self.standing.lock().ended(self.address, outcome, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers as (organization, address); organization 0 is our own.
    type Peer = (u8, &'static str);
    const PEERS: [Peer; 4] = [(0, "own"), (1, "a"), (1, "b"), (1, "c")];

    fn order(standing: &Standing, now: Instant) -> Vec<&'static str> {
        let mut peers = PEERS;
        standing.sort(&mut peers, now, |peer| peer.1, |peer| peer.0);
        peers.map(|peer| peer.1).to_vec()
    }

    fn call(standing: &mut Standing, address: &str, outcome: Outcome, now: Instant) {
        standing.began(address);
        standing.ended(address, outcome, now);
    }

    #[test]
    fn healthy_peers_of_an_organization_take_turns_behind_our_own() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        let asked: Vec<_> = (0..7)
            .map(|_| {
                let order = order(&standing, now);
                assert_eq!(order[0], "own");
                call(&mut standing, order[1], Outcome::Answered, now);
                order[1]
            })
            .collect();
        assert_eq!(asked, ["a", "b", "c", "a", "b", "c", "a"]);
    }

    #[test]
    fn the_peer_with_the_fewest_calls_under_way_is_asked_first() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        for address in ["a", "a", "b", "c", "c", "c"] {
            standing.began(address);
        }
        for _ in 0..5 {
            assert_eq!(order(&standing, now), ["own", "b", "a", "c"]);
        }
        standing.ended("c", Outcome::Answered, now);
        standing.ended("c", Outcome::Abandoned(Duration::ZERO), now);
        standing.ended("c", Outcome::Answered, now);
        assert_eq!(order(&standing, now), ["own", "c", "b", "a"]);
    }

    #[test]
    fn a_peer_that_is_down_is_asked_last_until_it_was_reached_however_long_that_takes() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        call(&mut standing, "b", Outcome::Unreachable, now);
        let later = now + Duration::from_secs(3600);
        for now in [now, later] {
            assert_eq!(order(&standing, now)[3], "b");
            assert_eq!(standing.condition("b", now), Condition::Down);
        }
        assert_eq!(standing.down(), ["b"]);
        standing.reached("b");
        assert_eq!(standing.condition("b", now), Condition::Good);
        assert!(standing.down().is_empty());
        call(&mut standing, "a", Outcome::Answered, now);
        call(&mut standing, "c", Outcome::Answered, now);
        assert_eq!(order(&standing, now)[1], "b");
    }

    #[test]
    fn a_peer_that_failed_is_asked_after_the_healthy_and_before_the_dead_for_a_moment() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        call(&mut standing, "a", Outcome::Failed, now);
        call(&mut standing, "b", Outcome::Unreachable, now);
        assert_eq!(order(&standing, now), ["own", "c", "a", "b"]);
        assert_eq!(standing.condition("a", now + FAILING_FOR), Condition::Good);
        call(&mut standing, "a", Outcome::Answered, now);
        assert_eq!(standing.condition("a", now), Condition::Good);
    }

    #[test]
    fn even_our_own_organizations_dead_peer_comes_after_living_strangers() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        call(&mut standing, "own", Outcome::Unreachable, now);
        assert_eq!(order(&standing, now)[3], "own");
    }

    #[test]
    fn a_call_that_nobody_waits_for_says_nothing_of_the_peer() {
        let standing = Mutex::new(Standing::default());
        drop(Call::begin(&standing, "a"));
        let standing = standing.into_inner();
        assert_eq!(standing.condition("a", Instant::now()), Condition::Good);
        assert_eq!(standing.nodes["a"].calls_under_way, 0);
    }

    #[test]
    fn a_call_given_up_after_a_long_wait_counts_against_the_peer() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        call(&mut standing, "a", Outcome::Abandoned(PATIENCE), now);
        assert_eq!(standing.condition("a", now), Condition::Failing);
    }

    #[test]
    fn nodes_that_left_the_configuration_are_forgotten() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        call(&mut standing, "a", Outcome::Unreachable, now);
        standing.began("b");
        standing.keep_only(|address| address == "c");
        assert!(standing.down().is_empty());
        standing.ended("b", Outcome::Unreachable, now);
        assert!(standing.down().is_empty(), "a call that ends late brings nobody back");
    }
}
