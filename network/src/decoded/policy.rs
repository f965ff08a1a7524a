//! Policies as the text that people write: `AND('Org1MSP.peer','Org2MSP.peer')`, `MAJORITY Admins`.

use prost::Message;
use ripstop_proto::common::implicit_meta_policy::Rule;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::common::policy::PolicyType;
use ripstop_proto::common::signature_policy::Type;
use ripstop_proto::common::{
    ImplicitMetaPolicy, MspPrincipal, MspRole, Policy, SignaturePolicy, SignaturePolicyEnvelope,
};

/// A policy of a channel configuration; `None` when it does not decode.
pub(crate) fn text(policy: &Policy) -> Option<String> {
    match PolicyType::try_from(policy.r#type).ok()? {
        PolicyType::ImplicitMeta => {
            let meta = ImplicitMetaPolicy::decode(policy.value.clone()).ok()?;
            let rule = Rule::try_from(meta.rule).ok()?;
            Some(format!("{} {}", rule.as_str_name(), meta.sub_policy))
        }
        PolicyType::Signature => {
            let envelope = SignaturePolicyEnvelope::decode(policy.value.clone()).ok()?;
            rule(envelope.rule.as_ref()?, &envelope.identities)
        }
        PolicyType::Unknown | PolicyType::Msp => None,
    }
}

fn rule(policy: &SignaturePolicy, principals: &[MspPrincipal]) -> Option<String> {
    match policy.r#type.as_ref()? {
        Type::SignedBy(index) => principal(principals.get(usize::try_from(*index).ok()?)?),
        Type::NOutOf(gate) => {
            let rules = gate.rules.iter().map(|inner| rule(inner, principals)).collect::<Option<Vec<_>>>()?;
            let list = rules.join(",");
            Some(match usize::try_from(gate.n) {
                Ok(1) if !rules.is_empty() => format!("OR({list})"),
                Ok(count) if count == rules.len() && count > 1 => format!("AND({list})"),
                _ => format!("OutOf({},{list})", gate.n),
            })
        }
    }
}

fn principal(principal: &MspPrincipal) -> Option<String> {
    if Classification::try_from(principal.principal_classification) != Ok(Classification::Role) {
        return None;
    }
    let role = MspRole::decode(principal.principal.clone()).ok()?;
    let name = MspRoleType::try_from(role.role).ok()?.as_str_name().to_lowercase();
    Some(format!("'{}.{name}'", role.msp_identifier))
}

#[cfg(test)]
mod tests {
    use ripstop_msp::policy_text;

    use super::*;

    #[test]
    fn a_signature_policy_is_shown_as_it_was_written() {
        for written in [
            "OR('Org1MSP.peer')",
            "AND('Org1MSP.peer','Org2MSP.member')",
            "OR('Org1MSP.admin',AND('Org2MSP.client','Org3MSP.peer'))",
            "OutOf(2,'Org1MSP.peer','Org2MSP.peer','Org3MSP.orderer')",
        ] {
            let value = policy_text::parse(written).unwrap().encode_to_vec().into();
            let shown = text(&Policy { r#type: PolicyType::Signature.into(), value });
            assert_eq!(shown.as_deref(), Some(written));
        }
    }

    #[test]
    fn a_rule_that_names_no_principal_is_not_shown() {
        let envelope = SignaturePolicyEnvelope {
            rule: Some(SignaturePolicy { r#type: Some(Type::SignedBy(-1)) }),
            ..Default::default()
        };
        let value = envelope.encode_to_vec().into();
        assert_eq!(text(&Policy { r#type: PolicyType::Signature.into(), value }), None);
    }
}
