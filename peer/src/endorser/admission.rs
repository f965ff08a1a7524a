//! What is checked before a proposal runs, in the order that decides which error a
//! client sees. Source: Fabric `core/endorser/{endorser,msgvalidation}.go` and
//! `core/handlers/auth/filter`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use metrics::Label;
use ripstop_channel::ChannelConfig;
use ripstop_msp::{Identity, IdentityError, SignedBytes};
use ripstop_proto::common::HeaderType;
use ripstop_proto::proposal::OpenProposal;
use ripstop_proto::protos::SignedProposal;
use ripstop_proto::tx_id;

use super::{Endorser, is_system_chaincode};
use crate::access;
use crate::channel::Channel;
use crate::lifecycle::definition;

/// The resource that a call of a chaincode needs.
const PROPOSE: &str = "peer/Propose";

/// Why a proposal does not run.
#[derive(Debug)]
pub(super) enum Rejection {
    /// Before anything is known about it: only a gRPC error.
    Filter(String),
    /// The proposal is at fault: a gRPC error, and for callers in this process an answer.
    Proposal(String),
    /// The peer cannot serve it: only an answer.
    Answer(String),
}

/// A proposal that may run.
pub(super) struct Admitted {
    pub(super) proposal: OpenProposal,
    pub(super) signed: SignedProposal,
    /// None for proposals without a channel.
    pub(super) channel: Option<Arc<Channel>>,
}

impl Admitted {
    pub(super) fn chaincode(&self) -> &str {
        &self.proposal.chaincode_name
    }

    pub(super) fn channel_id(&self) -> &str {
        &self.proposal.channel_header.channel_id
    }

    pub(super) fn tx_id(&self) -> &str {
        &self.proposal.channel_header.tx_id
    }

    pub(super) fn args(&self) -> &[Bytes] {
        &self.proposal.input.args
    }

    /// What the client signed, for further questions of access.
    pub(super) fn signed_bytes(&self) -> SignedBytes<'_> {
        SignedBytes {
            identity: &self.proposal.signature_header.creator,
            message: self.signed.proposal_bytes[..].into(),
            signature: &self.signed.signature,
        }
    }
}

impl Endorser {
    pub(super) fn admit(&self, signed: SignedProposal) -> Result<Arc<Admitted>, Rejection> {
        let proposal = OpenProposal::open(signed.proposal_bytes.clone()).map_err(|cause| invalid(cause.to_string()))?;
        let channel_id = &proposal.channel_header.channel_id;
        let channel = self.channels.get(channel_id);
        let config = channel.as_ref().map(|channel| channel.config());
        let creator = self.creator(&proposal, config.as_deref());
        self.filter(&proposal, creator.as_deref().ok())?;
        if channel.is_none() && !channel_id.is_empty() {
            return Err(Rejection::Answer(format!("channel '{channel_id}' not found")));
        }
        check_headers(&proposal).map_err(bad_proposal)?;
        let creator = self.check_creator(&proposal, &signed, creator).map_err(bad_proposal)?;
        if let (Some(channel), Some(config)) = (&channel, &config) {
            check_on_channel(&proposal, channel, config, creator)?;
        }
        Ok(Arc::new(Admitted { proposal, signed, channel }))
    }

    /// What a client is refused for before anybody looks at what it wants. `creator`: who
    /// it is, where an MSP here knows.
    fn filter(&self, proposal: &OpenProposal, creator: Option<&Identity>) -> Result<(), Rejection> {
        let now = SystemTime::now();
        let expires_at = match creator {
            Some(identity) => identity.expires_at(),
            None => access::expires_at(&proposal.signature_header.creator),
        };
        access::check_expiry(expires_at, now)
            .and_then(|()| access::check_time_window(&proposal.channel_header, now, self.time_window))
            .map_err(|denied| Rejection::Filter(denied.to_string()))
    }

    fn creator(&self, proposal: &OpenProposal, config: Option<&ChannelConfig>) -> Result<Arc<Identity>, IdentityError> {
        let creator = &proposal.signature_header.creator;
        match config {
            Some(config) => config.msps().read(creator),
            None => self.local_msp.identity(creator).map(Arc::new),
        }
    }

    /// The client learns only that it has no access; the log says why.
    fn check_creator(
        &self,
        proposal: &OpenProposal,
        signed: &SignedProposal,
        creator: Result<Arc<Identity>, IdentityError>,
    ) -> Result<Arc<Identity>, String> {
        if signed.signature.is_empty() {
            return Err("empty signature bytes".to_owned());
        }
        let channel_id = &proposal.channel_header.channel_id;
        let creator = creator.map_err(|cause| {
            self.log_denied(channel_id, "unknown", &cause);
            format!("access denied: channel [{channel_id}] creator org unknown, creator is malformed")
        })?;
        let denied = |cause: &dyn Display| {
            self.log_denied(channel_id, creator.msp_id(), cause);
            format!("access denied: channel [{channel_id}] creator org [{}]", creator.msp_id())
        };
        creator.validity().map_err(|cause| denied(cause))?;
        creator.verify(&signed.proposal_bytes, &signed.signature).map_err(|cause| denied(&cause))?;
        Ok(creator)
    }

    fn log_denied(&self, channel_id: &str, msp_id: &str, cause: &dyn Display) {
        tracing::debug!(channel_id, msp_id, %cause, "access denied");
        if let Some(count) = self.denied.note(Instant::now()) {
            tracing::warn!(count, channel_id, msp_id, %cause, "access denied; this is the newest case, each is logged at debug");
        }
    }
}

fn invalid(text: String) -> Rejection {
    metrics::counter!("endorser_proposal_validation_failures").increment(1);
    Rejection::Proposal(text)
}

fn bad_proposal(cause: String) -> Rejection {
    invalid(format!("error validating proposal: {cause}"))
}

fn check_headers(proposal: &OpenProposal) -> Result<(), String> {
    let (channel_header, signature_header) = (&proposal.channel_header, &proposal.signature_header);
    match HeaderType::try_from(channel_header.r#type) {
        Ok(HeaderType::EndorserTransaction | HeaderType::Config) => {}
        Ok(other) => return Err(format!("invalid header type {}", other.as_str_name())),
        Err(_) => return Err(format!("invalid header type {}", channel_header.r#type)),
    }
    if channel_header.epoch != 0 {
        return Err("epoch is non-zero".to_owned());
    }
    if signature_header.nonce.is_empty() {
        return Err("nonce is empty".to_owned());
    }
    if signature_header.creator.is_empty() {
        return Err("creator is empty".to_owned());
    }
    let (found, expected) = (&channel_header.tx_id, tx_id::compute(&signature_header.nonce, &signature_header.creator));
    if *found != expected {
        return Err(format!("incorrectly computed txid '{found}' -- expected '{expected}'"));
    }
    Ok(())
}

fn check_on_channel(
    proposal: &OpenProposal,
    channel: &Channel,
    config: &ChannelConfig,
    creator: Arc<Identity>,
) -> Result<(), Rejection> {
    let (tx_id, chaincode) = (&proposal.channel_header.tx_id, &proposal.chaincode_name);
    let known = channel.ledger().transaction(tx_id).map_err(|cause| Rejection::Answer(cause.to_string()))?;
    if known.is_some() {
        metrics::counter!("endorser_duplicate_transaction_failures", labels(channel, chaincode)).increment(1);
        let creator = hex::encode(&proposal.signature_header.creator);
        return Err(Rejection::Proposal(format!("duplicate transaction found [{tx_id}]. Creator [{creator}]")));
    }
    if is_system_chaincode(chaincode) {
        return Ok(());
    }
    // The creator's signature was verified above; only the policy is left.
    let policy = config.acl(PROPOSE);
    config.check_identities(&policy, &[creator]).map_err(|cause| {
        metrics::counter!("endorser_proposal_acl_failures", labels(channel, chaincode)).increment(1);
        Rejection::Proposal(format!(
            "failed evaluating policy on signed data during check policy [{policy}]: [{cause}]"
        ))
    })
}

/// Clients can invent names; only those that are defined become labels.
fn labels(channel: &Channel, chaincode: &str) -> Vec<Label> {
    let is_defined = || definition::committed(&channel.ledger().state(), chaincode).is_ok_and(|found| found.is_some());
    let chaincode = if is_system_chaincode(chaincode) || is_defined() { chaincode } else { "unknown" };
    vec![Label::new("channel", channel.id().to_owned()), Label::new("chaincode", chaincode.to_owned())]
}

#[cfg(test)]
mod tests {
    use ripstop_proto::common::{ChannelHeader, SignatureHeader};

    use super::*;

    fn proposal(change: impl FnOnce(&mut ChannelHeader, &mut SignatureHeader)) -> OpenProposal {
        let mut signature_header = SignatureHeader { creator: "creator".into(), nonce: "nonce".into() };
        let mut channel_header = ChannelHeader {
            r#type: HeaderType::EndorserTransaction.into(),
            tx_id: tx_id::compute(b"nonce", b"creator"),
            ..ChannelHeader::default()
        };
        change(&mut channel_header, &mut signature_header);
        OpenProposal {
            proposal: Default::default(),
            header: Default::default(),
            channel_header,
            signature_header,
            chaincode_name: "basic".into(),
            spec_chaincode_name: String::new(),
            payload: Default::default(),
            input: Default::default(),
        }
    }

    #[test]
    fn each_fault_of_a_header_has_its_own_words() {
        check_headers(&proposal(|_, _| {})).unwrap();
        check_headers(&proposal(|channel, _| channel.r#type = HeaderType::Config.into())).unwrap();
        let fault =
            |change: fn(&mut ChannelHeader, &mut SignatureHeader)| check_headers(&proposal(change)).unwrap_err();
        assert_eq!(fault(|channel, _| channel.r#type = 2), "invalid header type CONFIG_UPDATE");
        assert_eq!(fault(|channel, _| channel.r#type = 77), "invalid header type 77");
        assert_eq!(fault(|channel, _| channel.epoch = 1), "epoch is non-zero");
        assert_eq!(fault(|_, signature| signature.nonce.clear()), "nonce is empty");
        assert_eq!(fault(|_, signature| signature.creator.clear()), "creator is empty");
        let text = fault(|channel, _| channel.tx_id.clear());
        assert!(text.starts_with("incorrectly computed txid '' -- expected '"), "{text}");
    }
}
