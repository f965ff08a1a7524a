//! Endorse: collects the endorsements that the policies ask for, and puts the transaction
//! together that the client then signs.
//!
//! The first endorser is a peer of our own organization. Its answer says which chaincodes
//! and collections the transaction touched, so which policies have to be satisfied; the
//! rest of the chosen layout is then asked in parallel. Every payload must be the same; as
//! peers commit a block moments apart, answers that differ are asked for again.
//! Source of order, codes and texts: Fabric `internal/pkg/gateway/endorse.go`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use rand::seq::SliceRandom;
use ripstop_channel::{ChannelConfig, Layout, layout};
use ripstop_proto::gateway::{EndorseRequest, EndorseResponse, ErrorDetail};
use ripstop_proto::proposal::OpenProposal;
use ripstop_proto::protos::{
    ApplicationPolicy, ChaincodeInterest, Endorsement, ProposalResponse, SignedProposal, application_policy,
};
use ripstop_proto::transaction;
use tonic::{Code, Status};

use super::peers::{self, ChannelPeer, Fitness};
use super::plan;
use super::{Gateway, failure};
use crate::channel::Channel;
use crate::lifecycle::definition;

pub(super) const TIMED_OUT: &str = "endorsement timeout expired while collecting endorsements";

/// How often all endorsers are asked while they disagree. Fabric asks once, and leaves it to
/// the client to come again when the slower peer has caught up.
const ATTEMPTS: u32 = 4;
/// Wait after the first disagreement; it grows by as much with each further one.
const PAUSE: Duration = Duration::from_millis(20);

impl Gateway {
    pub(super) async fn endorse_proposal(&self, request: EndorseRequest) -> Result<EndorseResponse, Status> {
        let signed = request
            .proposed_transaction
            .filter(|proposal| !proposal.proposal_bytes.is_empty())
            .ok_or_else(|| Status::invalid_argument("the proposed transaction must contain a signed proposal"))?;
        let proposal = OpenProposal::open(signed.proposal_bytes.clone())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let channel = self.channel(&proposal.channel_header.channel_id)?;
        let config = channel.config();
        let mut attempt = 1;
        let (response_payload, endorsements) = loop {
            let mut collection = Collection::new(self, &channel, &config, signed.clone(), &proposal);
            let collected = if request.endorsing_organizations.is_empty() {
                collection.collect_by_policy(&channel, &proposal).await
            } else {
                collection.collect_from(&request.endorsing_organizations).await
            };
            match collected {
                Ok(()) => break collection.finish(),
                Err(_) if collection.disagreed && attempt < ATTEMPTS => tokio::time::sleep(PAUSE * attempt).await,
                Err(status) => return Err(status),
            }
            attempt += 1;
        };
        let prepared = transaction::assemble(&proposal.proposal, response_payload, endorsements)
            .map_err(|error| Status::aborted(format!("failed to assemble transaction: {error}")))?;
        Ok(EndorseResponse { prepared_transaction: Some(prepared) })
    }
}

/// The endorsements of one proposal while they come in.
struct Collection<'a> {
    gateway: &'a Gateway,
    config: &'a ChannelConfig,
    proposal: SignedProposal,
    /// Peers not asked yet, by organization, in the order to ask them.
    unasked: BTreeMap<String, VecDeque<ChannelPeer>>,
    available: Layout,
    /// Those of `available` that are not known to be down or without the chaincode.
    reachable: Layout,
    response_payload: Option<Bytes>,
    endorsements: BTreeMap<String, Vec<Endorsement>>,
    details: Vec<ErrorDetail>,
    /// Whether running the chaincode came to another result on another peer.
    disagreed: bool,
}

impl<'a> Collection<'a> {
    fn new(
        gateway: &'a Gateway,
        channel: &Channel,
        config: &'a ChannelConfig,
        signed: SignedProposal,
        proposal: &OpenProposal,
    ) -> Self {
        let channel_peers = gateway.endorsers.in_order(channel, &proposal.chaincode_name);
        let available = peers::counts(&channel_peers);
        let is_reachable = |peer: &&ChannelPeer| peer.fitness <= Fitness::Behind && !gateway.endorsers.is_down(peer);
        let reachable = peers::counts(channel_peers.iter().filter(is_reachable));
        let mut unasked: BTreeMap<String, VecDeque<ChannelPeer>> = BTreeMap::new();
        for peer in channel_peers {
            unasked.entry(peer.msp_id.clone()).or_default().push_back(peer);
        }
        Self {
            gateway,
            config,
            proposal: signed,
            unasked,
            available,
            reachable,
            response_payload: None,
            endorsements: BTreeMap::new(),
            details: Vec::new(),
            disagreed: false,
        }
    }

    /// One endorsement of each named organization.
    async fn collect_from(&mut self, organizations: &[String]) -> Result<(), Status> {
        let missing: Vec<&str> =
            organizations.iter().map(String::as_str).filter(|msp_id| !self.available.contains_key(*msp_id)).collect();
        if !missing.is_empty() {
            let text = format!("failed to find any endorsing peers for org(s): {}", missing.join(", "));
            return Err(Status::unavailable(text));
        }
        let layout = organizations.iter().map(|msp_id| (msp_id.clone(), 1)).collect();
        self.complete(&[layout]).await
    }

    /// The first endorsement, then what the policies of the touched chaincodes still need.
    async fn collect_by_policy(&mut self, channel: &Channel, proposal: &OpenProposal) -> Result<(), Status> {
        let transient = !proposal.payload.transient_map.is_empty();
        let own = self.gateway.endorsers.local.msp_id.clone();
        let interest = self.first_endorsement(&own, transient).await?.interest.unwrap_or_default();
        let policies = policies(channel, self.config, &interest, &proposal.spec_chaincode_name)?;
        let mut layouts = layout::all_of(&policies);
        // Layouts that are as good as each other share the load.
        layouts.shuffle(&mut rand::rng());
        let layouts = plan::within_reach(layouts, &self.available, &self.reachable, Some(&own));
        if layouts.is_empty() {
            return Err(Status::failed_precondition(
                "no combination of peers can be derived which satisfy the endorsement policy: \
                 no peer combination can satisfy the endorsement policy",
            ));
        }
        let reached = |layout: &Layout| !transient || layout.keys().all(|msp_id| *msp_id == own);
        let allowed: Vec<Layout> = layouts.iter().filter(|layout| reached(layout)).cloned().collect();
        if allowed.is_empty() {
            let others: BTreeSet<&str> =
                layouts.iter().flat_map(Layout::keys).map(String::as_str).filter(|msp_id| *msp_id != own).collect();
            return Err(Status::failed_precondition(format!(
                "requires endorsement from organisation(s) that are not in the distribution policy of the private \
                 data collection(s): {others:?}; retry specifying trusted endorsing organizations to protect \
                 transient data"
            )));
        }
        self.complete(&allowed).await
    }

    /// Of a peer of our own organization; of any where all of them diverged, unless transient
    /// data must not leave the organization.
    async fn first_endorsement(&mut self, own: &str, transient: bool) -> Result<ProposalResponse, Status> {
        let anybody = !transient && !self.unasked.contains_key(own);
        let mut next = || match anybody {
            true => self.unasked.values_mut().find_map(VecDeque::pop_front),
            false => self.unasked.get_mut(own).and_then(VecDeque::pop_front),
        };
        while let Some(peer) = next() {
            let answer = self.gateway.endorsers.process(self.config, &peer, self.proposal.clone()).await;
            match answer {
                Ok(response) => {
                    self.take(&peer, response.clone());
                    return Ok(response);
                }
                Err(failed) => self.details.push(failure::detail(&peer.address, &peer.msp_id, &failed.message)),
            }
        }
        let text = "failed to endorse transaction, see attached details for more info";
        Err(failure::status(Code::Aborted, text, &self.details))
    }

    /// Asks peers until one of `layouts` is complete; a failing peer's place is taken by the
    /// next one of its organization, a failing organization ends the layouts that need it.
    async fn complete(&mut self, layouts: &[Layout]) -> Result<(), Status> {
        loop {
            let Some(missing) = layouts.iter().find_map(|layout| self.missing(layout)) else {
                let text = "failed to collect enough transaction endorsements, see attached details for more info";
                return Err(failure::status(Code::Aborted, text, &self.details));
            };
            if missing.is_empty() {
                return Ok(());
            }
            let calls = missing.into_iter().map(|peer| async {
                let answer = self.gateway.endorsers.process(self.config, &peer, self.proposal.clone()).await;
                (peer, answer)
            });
            for (peer, answer) in join_all(calls.collect::<Vec<_>>()).await {
                if let Some(asked) = self.unasked.get_mut(&peer.msp_id) {
                    asked.retain(|other| *other != peer);
                }
                match answer {
                    Ok(response) => self.take(&peer, response),
                    Err(failed) => {
                        // The chaincode declined here and was content elsewhere.
                        self.disagreed |= failed.code == Code::Unknown && self.response_payload.is_some();
                        self.details.push(failure::detail(&peer.address, &peer.msp_id, &failed.message));
                    }
                }
            }
        }
    }

    /// The peers to ask next for `layout`; nothing when its organizations have too few left.
    fn missing(&self, layout: &Layout) -> Option<Vec<ChannelPeer>> {
        let mut missing = Vec::new();
        for (msp_id, count) in layout {
            let wanted = count.saturating_sub(self.endorsements.get(msp_id).map_or(0, Vec::len));
            let unasked = self.unasked.get(msp_id)?;
            if unasked.len() < wanted {
                return None;
            }
            missing.extend(unasked.iter().take(wanted).cloned());
        }
        Some(missing)
    }

    /// Keeps an endorsement when its payload is the one the others signed.
    fn take(&mut self, peer: &ChannelPeer, response: ProposalResponse) {
        let expected = self.response_payload.get_or_insert_with(|| response.payload.clone());
        if *expected != response.payload {
            self.disagreed = true;
            let text = "ProposalResponsePayloads do not match";
            self.details.push(failure::detail(&peer.address, &peer.msp_id, text));
            return;
        }
        let Some(endorsement) = response.endorsement else {
            let text = "the response carries no endorsement";
            self.details.push(failure::detail(&peer.address, &peer.msp_id, text));
            return;
        };
        let present = self.endorsements.values().flatten().any(|other| other.endorser == endorsement.endorser);
        if !present {
            self.endorsements.entry(peer.msp_id.clone()).or_default().push(endorsement);
        }
    }

    fn finish(self) -> (Bytes, Vec<Endorsement>) {
        (self.response_payload.unwrap_or_default(), self.endorsements.into_values().flatten().collect())
    }
}

/// For each chaincode that the first endorser names (or else the one the client named), the
/// layouts that satisfy its endorsement policy; and those of written keys that have one.
fn policies(
    channel: &Channel,
    config: &ChannelConfig,
    interest: &ChaincodeInterest,
    requested: &str,
) -> Result<Vec<Vec<Layout>>, Status> {
    let regarded = interest.chaincodes.iter().filter(|call| !call.disregard_namespace_policy);
    let mut names: BTreeSet<&str> = regarded.map(|call| call.name.as_str()).collect();
    if interest.chaincodes.is_empty() {
        names.insert(requested);
    }
    let refuse = |name: &str, cause: String| {
        let channel_id = channel.id();
        Status::failed_precondition(format!(
            "no combination of peers can be derived which satisfy the endorsement policy: \
             chaincode {name} in channel {channel_id}: {cause}"
        ))
    };
    let layouts = |name: &str, policy: &[u8]| {
        let policy = config.application_policy(policy).map_err(|error| refuse(name, error.to_string()))?;
        Ok(policy.endorsing_organizations(config))
    };
    let state = channel.ledger().state();
    let of_chaincodes = names.into_iter().map(|name| {
        let definition = definition::committed(&state, name)
            .map_err(|error| refuse(name, error.to_string()))?
            .ok_or_else(|| refuse(name, "no definition was committed".to_owned()))?;
        layouts(name, &definition.validation_parameter)
    });
    let of_keys = interest.chaincodes.iter().flat_map(|call| {
        call.key_policies.iter().map(|policy| {
            let policy = application_policy::Type::SignaturePolicy(policy.clone());
            layouts(&call.name, &ApplicationPolicy { r#type: Some(policy) }.encode_to_vec())
        })
    });
    of_chaincodes.chain(of_keys).collect()
}
