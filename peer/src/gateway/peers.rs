//! The one noun to ask who the peers of a channel are.
//!
//! Its sources are the channel's configuration, which names the anchor peers of organizations,
//! and what peers tell each other (`exchange`): peers that no configuration names, and how fit
//! each is to be asked. Of a peer that told nothing the configuration's word is all there is.
//! The peer itself is always among them, unless its state diverged.

use std::collections::BTreeSet;
use std::time::Instant;

use ripstop_channel::Layout;

use crate::channel::Channel;
use crate::exchange::Acquaintance;

/// A peer that has so many blocks less than another is asked after those that are up to date.
/// It is told once per second how many they have, so smaller differences mean nothing.
const BEHIND_BLOCKS: u64 = 10;

/// The peer this gateway belongs to.
#[derive(Debug, Clone)]
pub struct LocalPeer {
    /// The address it advertises, `host:port`.
    pub address: String,
    /// Its organization.
    pub msp_id: String,
}

/// A peer that can be asked to endorse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelPeer {
    /// As it is advertised, `host:port`; clients see it in error details.
    pub(super) address: String,
    pub(super) msp_id: String,
    /// Whether it is this process.
    pub(super) local: bool,
    pub(super) fitness: Fitness,
}

/// How fit a peer is by its own word, best first. Nothing but the order depends on it: a word
/// is a second old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fitness {
    /// As far as is known, it can serve.
    Able,
    /// It has much fewer blocks than another.
    Behind,
    /// The chaincode is not installed there.
    WithoutChaincode,
    /// It answered before and does not any more.
    Missed,
}

/// The peers of a channel that can be asked to run `chaincode`, in no order that matters. Those
/// whose state diverged are left out.
pub(super) fn channel_peers(channel: &Channel, local: &LocalPeer, chaincode: &str, now: Instant) -> Vec<ChannelPeer> {
    let (config, known) = (channel.config(), channel.peers());
    let told: Vec<Acquaintance<'_>> = known.acquaintances(now).collect();
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let anchors = organizations.iter().flat_map(|organization| {
        let addresses = organization.anchor_peers.iter().map(|(host, port)| format!("{host}:{port}"));
        addresses.map(|address| (address, organization.msp_id.as_str()))
    });
    let mut peers = candidates(anchors, &told, local, chaincode);
    if channel.finding().current().is_some() {
        peers.retain(|peer| !peer.local);
    }
    peers
}

/// `anchors`: addresses of anchor peers, with the organization of each.
fn candidates<'a>(
    anchors: impl Iterator<Item = (String, &'a str)>,
    told: &'a [Acquaintance<'_>],
    local: &LocalPeer,
    chaincode: &str,
) -> Vec<ChannelPeer> {
    let height_max = told.iter().filter(|peer| peer.live).map(|peer| peer.status.height).max().unwrap_or_default();
    let word_of =
        |address: &str, msp_id: &str| told.iter().find(|peer| peer.status.endpoint == address && peer.msp_id == msp_id);
    let peer = |address: String, msp_id: &str| {
        let word = word_of(&address, msp_id);
        let fitness = word.map_or(Fitness::Able, |word| fitness(word, chaincode, height_max));
        let is_diverged = word.is_some_and(|word| word.status.diverged);
        (!is_diverged).then(|| ChannelPeer { address, msp_id: msp_id.to_owned(), local: false, fitness })
    };
    let own = ChannelPeer {
        address: local.address.clone(),
        msp_id: local.msp_id.clone(),
        local: true,
        fitness: Fitness::Able,
    };
    let mut known = BTreeSet::from([local.address.clone()]);
    let learned = told.iter().filter(|peer| peer.live).map(|peer| (peer.status.endpoint.clone(), peer.msp_id));
    let others = anchors.chain(learned).filter(|(address, _)| known.insert(address.clone()));
    std::iter::once(own).chain(others.filter_map(|(address, msp_id)| peer(address, msp_id))).collect()
}

fn fitness(peer: &Acquaintance<'_>, chaincode: &str, height_max: u64) -> Fitness {
    let lacks_chaincode = || peer.status.chaincodes.iter().any(|found| found.name == chaincode && !found.installed);
    match peer.live {
        false => Fitness::Missed,
        true if lacks_chaincode() => Fitness::WithoutChaincode,
        true if height_max.saturating_sub(peer.status.height) > BEHIND_BLOCKS => Fitness::Behind,
        true => Fitness::Able,
    }
}

/// How many of `peers` each organization has.
pub(super) fn counts<'a>(peers: impl IntoIterator<Item = &'a ChannelPeer>) -> Layout {
    let mut counts = Layout::new();
    for peer in peers {
        *counts.entry(peer.msp_id.clone()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use ripstop_proto::ripstop::v1::{ChaincodeStatus, PeerStatus};

    use super::*;

    static LOCAL: LazyLock<LocalPeer> =
        LazyLock::new(|| LocalPeer { address: "own:1".to_owned(), msp_id: "A".to_owned() });

    fn status(endpoint: &str, height: u64) -> PeerStatus {
        PeerStatus { endpoint: endpoint.to_owned(), height, ..PeerStatus::default() }
    }

    /// Addresses and fitness of the other peers, where a:1 is an anchor peer of A.
    fn learned(told: &[(&'static str, PeerStatus, bool)]) -> Vec<(String, Fitness)> {
        let told: Vec<_> =
            told.iter().map(|(msp_id, status, live)| Acquaintance { msp_id, status, live: *live }).collect();
        let peers = candidates([("a:1".to_owned(), "A")].into_iter(), &told, &LOCAL, "basic");
        assert!(peers[0].local && peers[0].address == "own:1");
        peers[1..].iter().map(|peer| (peer.address.clone(), peer.fitness)).collect()
    }

    fn able(addresses: &[&str]) -> Vec<(String, Fitness)> {
        addresses.iter().map(|address| ((*address).to_owned(), Fitness::Able)).collect()
    }

    #[test]
    fn where_nothing_is_told_the_anchor_peers_are_all() {
        assert_eq!(learned(&[]), able(&["a:1"]));
    }

    #[test]
    fn who_told_of_itself_is_among_the_peers_as_long_as_it_answers() {
        let told = [("A", status("a:2", 5), true), ("B", status("b:1", 5), true), ("B", status("b:2", 5), false)];
        assert_eq!(learned(&told), able(&["a:1", "a:2", "b:1"]));
        let missed = [("a:1".to_owned(), Fitness::Missed)];
        assert_eq!(learned(&[("A", status("a:1", 5), false)]), missed, "an anchor peer is asked still, though last");
    }

    #[test]
    fn nobody_takes_our_own_address_or_one_that_is_taken() {
        let told = [("B", status("own:1", 5), true), ("B", status("a:1", 5), false)];
        assert_eq!(learned(&told), able(&["a:1"]));
    }

    #[test]
    fn a_peer_whose_state_diverged_is_left_out() {
        let diverged = |endpoint| PeerStatus { diverged: true, ..status(endpoint, 5) };
        assert_eq!(learned(&[("B", diverged("b:1"), true), ("A", diverged("a:1"), true)]), []);
    }

    #[test]
    fn who_is_far_behind_or_lacks_the_chaincode_is_less_fit() {
        let lacking = |name: &str, installed| {
            let chaincode = ChaincodeStatus { name: name.to_owned(), installed, ..Default::default() };
            PeerStatus { chaincodes: vec![chaincode], ..status("b:1", 100) }
        };
        let fitness = |word| learned(&[("B", word, true), ("B", status("b:9", 100), true)])[1].1;
        assert_eq!(fitness(status("b:1", 90)), Fitness::Able);
        assert_eq!(fitness(status("b:1", 89)), Fitness::Behind);
        assert_eq!(fitness(lacking("basic", false)), Fitness::WithoutChaincode);
        assert_eq!(fitness(lacking("basic", true)), Fitness::Able);
        assert_eq!(fitness(lacking("other", false)), Fitness::Able);
    }
}
