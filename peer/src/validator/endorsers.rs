//! Who validly endorsed a transaction.
//!
//! The signatures are checked once per transaction, however many rules ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use ripstop_msp::signature_policy::valid_identities;
use ripstop_msp::{Identity, MspSet, Role, SignedBytes};
use ripstop_proto::proposal::endorsement_signing_input;
use ripstop_proto::transaction::OpenTransaction;

/// The distinct identities whose endorsement verified, in the transaction's order.
pub(super) struct Endorsers {
    pub(super) identities: Vec<Arc<Identity>>,
    /// How many endorsements the transaction carries.
    endorsement_count: usize,
}

impl Endorsers {
    /// Checks every endorsement's signature; those that fail do not count.
    pub(super) fn verify(transaction: &OpenTransaction, msps: &MspSet) -> Self {
        let answer = &transaction.response_payload_bytes;
        let signed: Vec<SignedBytes<'_>> = transaction
            .endorsements
            .iter()
            .map(|endorsement| SignedBytes {
                identity: &endorsement.endorser,
                message: endorsement_signing_input(answer, &endorsement.endorser).into(),
                signature: &endorsement.signature,
            })
            .collect();
        Self { identities: valid_identities(msps, &signed), endorsement_count: signed.len() }
    }

    /// The MSP ids of the valid endorsers, ascending, each once.
    pub(super) fn msp_ids(&self) -> Vec<String> {
        let ids: BTreeSet<&str> = self.identities.iter().map(|identity| identity.msp_id()).collect();
        ids.into_iter().map(str::to_owned).collect()
    }

    /// How many of the valid endorsers are peers of this MSP. Where an MSP tells no roles,
    /// everyone counts.
    pub(super) fn peers_of(&self, msp_id: &str) -> usize {
        let is_peer = |identity: &Identity| identity.role().is_none_or(|role| role == Role::Peer);
        self.identities.iter().filter(|identity| identity.msp_id() == msp_id && is_peer(identity)).count()
    }

    /// For a refusal: how many endorsements there are and how many count.
    pub(super) fn describe(&self) -> String {
        let valid = self.identities.len();
        match self.endorsement_count {
            0 => "the transaction carries no endorsement".into(),
            count if count == valid => format!("endorsed by {}", self.msp_ids().join(", ")),
            count => format!(
                "of {count} endorsements {valid} have a valid signature of a distinct identity{}{}",
                if valid == 0 { "" } else { ": " },
                self.msp_ids().join(", ")
            ),
        }
    }
}
