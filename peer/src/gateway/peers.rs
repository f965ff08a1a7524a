//! The one noun to ask who the peers of a channel are.
//!
//! Its source is the channel's configuration: the anchor peers that organizations name.
//! The peer itself is always among them.

use std::collections::BTreeSet;

use ripstop_channel::{ChannelConfig, Layout};

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
}

/// The peers of a channel, in no order that matters.
pub(super) fn channel_peers(config: &ChannelConfig, local: &LocalPeer) -> Vec<ChannelPeer> {
    let mut peers = vec![ChannelPeer { address: local.address.clone(), msp_id: local.msp_id.clone(), local: true }];
    let mut known = BTreeSet::from([local.address.clone()]);
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    for organization in organizations {
        for (host, port) in &organization.anchor_peers {
            let address = format!("{host}:{port}");
            if known.insert(address.clone()) {
                peers.push(ChannelPeer { address, msp_id: organization.msp_id.clone(), local: false });
            }
        }
    }
    peers
}

/// How many of `peers` each organization has.
pub(super) fn counts<'a>(peers: impl IntoIterator<Item = &'a ChannelPeer>) -> Layout {
    let mut counts = Layout::new();
    for peer in peers {
        *counts.entry(peer.msp_id.clone()).or_default() += 1;
    }
    counts
}
