//! Who has to endorse a change of one key, instead of the chaincode's policy.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::signature_policy::{NOutOf, Type};
use ripstop_proto::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};

/// A policy that asks for one endorsement of every organization it lists.
///
/// The bytes are those of Fabric's own helpers (fabric-chaincode-go `pkg/statebased`), for
/// the same organizations the same bytes.
///
/// ```
/// use ripstop_chaincode_sdk::{Failure, KeyPolicy, Stub};
///
/// async fn only_org1_changes(stub: &Stub, key: &str) -> Result<(), Failure> {
///     stub.set_key_policy(key, &KeyPolicy::peers(["Org1MSP"])).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPolicy {
    organizations: BTreeMap<String, i32>,
}

impl KeyPolicy {
    /// Peers of all these organizations, by their MSP ids, have to endorse.
    pub fn peers<I: Into<String>>(organizations: impl IntoIterator<Item = I>) -> Self {
        Self::default().with(MspRoleType::Peer, organizations)
    }

    /// Any members of all these organizations have to endorse.
    pub fn members<I: Into<String>>(organizations: impl IntoIterator<Item = I>) -> Self {
        Self::default().with(MspRoleType::Member, organizations)
    }

    /// The same policy that asks these organizations' peers, too.
    pub fn and_peers<I: Into<String>>(self, organizations: impl IntoIterator<Item = I>) -> Self {
        self.with(MspRoleType::Peer, organizations)
    }

    /// The same policy without an organization.
    pub fn without(mut self, organization: &str) -> Self {
        self.organizations.remove(organization);
        self
    }

    /// The MSP ids of the organizations that have to endorse, sorted.
    pub fn organizations(&self) -> impl Iterator<Item = &str> {
        self.organizations.keys().map(String::as_str)
    }

    fn with<I: Into<String>>(mut self, role: MspRoleType, organizations: impl IntoIterator<Item = I>) -> Self {
        self.organizations.extend(organizations.into_iter().map(|organization| (organization.into(), role.into())));
        self
    }

    /// Reads a stored policy. Principals that are not roles of an organization, and how
    /// many of them have to sign, are not seen, as in Fabric's helpers.
    ///
    /// # Errors
    /// When the bytes are not a signature policy.
    pub fn decode(stored: Bytes) -> Result<Self, prost::DecodeError> {
        let envelope = SignaturePolicyEnvelope::decode(stored)?;
        let mut organizations = BTreeMap::new();
        for identity in envelope.identities {
            if identity.principal_classification == i32::from(Classification::Role) {
                let role = MspRole::decode(identity.principal)?;
                organizations.insert(role.msp_identifier, role.role);
            }
        }
        Ok(Self { organizations })
    }

    /// The bytes that are stored: a `SignaturePolicyEnvelope`.
    pub fn encode(&self) -> Bytes {
        let principal = |(msp_identifier, role): (&String, &i32)| MspPrincipal {
            principal_classification: Classification::Role.into(),
            principal: MspRole { msp_identifier: msp_identifier.clone(), role: *role }.encode_to_vec().into(),
        };
        let identities: Vec<_> = self.organizations.iter().map(principal).collect();
        let count = i32::try_from(identities.len()).unwrap_or(i32::MAX);
        let rules = (0..count).map(|index| SignaturePolicy { r#type: Some(Type::SignedBy(index)) }).collect();
        let rule = SignaturePolicy { r#type: Some(Type::NOutOf(NOutOf { n: count, rules })) };
        SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities }.encode_to_vec().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Laid out by hand from Fabric's policy messages: rule (2) with n_out_of (2) of n = 2
    /// and two signed_by, the first of index 0, then two identities (3) whose role (1) is
    /// PEER = 3. A set oneof of value 0 is written.
    const TWO_PEERS: &[u8] = b"\x12\x0c\x12\x0a\x08\x02\x12\x02\x08\x00\x12\x02\x08\x01\
        \x1a\x0d\x12\x0b\x0a\x07Org1MSP\x10\x03\x1a\x0d\x12\x0b\x0a\x07Org2MSP\x10\x03";

    #[test]
    fn a_policy_has_the_bytes_of_fabrics_helper_whatever_the_order_of_its_organizations() {
        assert_eq!(KeyPolicy::peers(["Org2MSP", "Org1MSP"]).encode(), TWO_PEERS);
        assert_eq!(KeyPolicy::peers(["Org1MSP"]).and_peers(["Org2MSP"]).encode(), TWO_PEERS);
    }

    #[test]
    fn a_stored_policy_can_be_changed() {
        let stored = KeyPolicy::decode(Bytes::from_static(TWO_PEERS)).unwrap();
        assert_eq!(stored.organizations().collect::<Vec<_>>(), ["Org1MSP", "Org2MSP"]);
        assert_eq!(stored.without("Org2MSP"), KeyPolicy::peers(["Org1MSP"]));
        assert_ne!(KeyPolicy::members(["Org1MSP"]), KeyPolicy::peers(["Org1MSP"]));
        assert!(KeyPolicy::decode(Bytes::from_static(b"\xff")).is_err());
    }
}
