//! What a definition must look like before anyone approves or commits it.
//!
//! The channel's configuration may change afterwards; these checks catch mistakes, they
//! do not bind. Source: Fabric `core/chaincode/lifecycle/scc.go`.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use ripstop_ledger::Simulator;
use ripstop_msp::MspSet;
use ripstop_msp::signature_policy::SignaturePolicy;
use ripstop_proto::common::msp_principal::Classification;
use ripstop_proto::common::signature_policy::Type as Rule;
use ripstop_proto::common::{self, MspPrincipal, MspRole, OrganizationUnit, SignaturePolicyEnvelope};
use ripstop_proto::protos::collection_config::Payload;
use ripstop_proto::protos::collection_policy_config::Payload as MemberPolicy;
use ripstop_proto::protos::{CollectionConfigPackage, StaticCollectionConfig};

use super::LifecycleError;
use super::definition::Definition;
use super::state::{PublicState, ledger};

/// Names that belong to chaincodes built into a peer.
const SYSTEM_NAMES: [&str; 5] = ["cscc", "escc", "lscc", "qscc", "vscc"];

/// Checks name, version and collections, the latter also against the committed
/// definition, which is read through the simulator and so part of the read set.
pub(crate) fn check(
    name: &str,
    version: &str,
    collections: &CollectionConfigPackage,
    msps: &MspSet,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    check_names(name, version)?;
    let collections = static_collections(collections)?;
    check_collections(&collections, msps)?;
    match Definition::read(name, &mut PublicState(simulator))? {
        Some(committed) => check_against(&collections, &committed.collections),
        None => {
            // Where chaincodes of the old lifecycle were; peers of every kind look here.
            simulator.get_state("lscc", name).map_err(ledger)?;
            Ok(())
        }
    }
}

fn refused<T>(text: String) -> Result<T, LifecycleError> {
    Err(LifecycleError::Refused(text))
}

fn check_names(name: &str, version: &str) -> Result<(), LifecycleError> {
    if !is_chaincode_name(name) {
        return refused(format!(
            "invalid chaincode name '{name}'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics"
        ));
    }
    if SYSTEM_NAMES.contains(&name) {
        return refused(format!("chaincode name '{name}' is the name of a system chaincode"));
    }
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        return refused(format!(
            "invalid chaincode version '{version}'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'"
        ));
    }
    Ok(())
}

/// Words of letters and digits, joined by single `-` or `_`.
fn is_chaincode_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.split(['-', '_']).all(is_word)
}

fn is_collection_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && !name.starts_with('_') && name.bytes().all(rest)
}

fn static_collections(package: &CollectionConfigPackage) -> Result<Vec<&StaticCollectionConfig>, LifecycleError> {
    let mut collections = Vec::new();
    for config in &package.config {
        match &config.payload {
            Some(Payload::StaticCollectionConfig(collection)) => collections.push(collection),
            None => return refused("collection config contains unexpected payload type: <nil>".to_owned()),
        }
    }
    Ok(collections)
}

fn check_collections(collections: &[&StaticCollectionConfig], msps: &MspSet) -> Result<(), LifecycleError> {
    let mut names = BTreeSet::new();
    for collection in collections {
        let name = &collection.name;
        if !is_collection_name(name) {
            return refused(format!(
                "invalid collection name '{name}'. Names can only consist of alphanumerics, '_', and '-' and cannot begin with '_'"
            ));
        }
        if !names.insert(name) {
            return refused(format!("collection-name: {name} -- found duplicate in collection configuration"));
        }
        let (required, maximum) = (collection.required_peer_count, collection.maximum_peer_count);
        if maximum < required {
            return refused(format!(
                "collection-name: {name} -- maximum peer count ({maximum}) cannot be less than the required peer count ({required})"
            ));
        }
        if required < 0 {
            return refused(format!(
                "collection-name: {name} -- requiredPeerCount ({required}) cannot be less than zero"
            ));
        }
        check_members(collection, msps)?;
    }
    Ok(())
}

/// The member policy must be a plain OR of members of the channel.
fn check_members(collection: &StaticCollectionConfig, msps: &MspSet) -> Result<(), LifecycleError> {
    let name = &collection.name;
    let Some(members) = &collection.member_orgs_policy else {
        return refused(format!("collection member policy is not set for collection '{name}'"));
    };
    let Some(MemberPolicy::SignaturePolicy(policy)) = &members.payload else {
        return refused(format!("collection member org policy is empty for collection '{name}'"));
    };
    if let Err(cause) = SignaturePolicy::compile(policy) {
        return refused(format!("invalid member org policy for collection '{name}': {cause}"));
    }
    check_alternatives(policy)
        .or_else(|cause| refused(format!("collection-name: {name} -- error in member org policy: {cause}")))?;
    policy.identities.iter().try_for_each(|principal| check_member(name, principal, msps))
}

fn check_alternatives(policy: &SignaturePolicyEnvelope) -> Result<(), String> {
    fn walk(rule: &common::SignaturePolicy) -> Result<(), String> {
        let Some(Rule::NOutOf(set)) = &rule.r#type else { return Ok(()) };
        if set.n != 1 {
            return Err(format!("signature policy is not an OR concatenation, NOutOf {}", set.n));
        }
        set.rules.iter().try_for_each(walk)
    }
    policy.rule.as_ref().map_or(Ok(()), walk)
}

fn check_member(collection: &str, principal: &MspPrincipal, msps: &MspSet) -> Result<(), LifecycleError> {
    let undecodable = |what: &str, cause: prost::DecodeError| {
        refused(format!("collection-name: {collection} -- cannot unmarshal identity bytes into {what}: {cause}"))
    };
    let bytes = principal.principal.clone();
    let msp_id = match Classification::try_from(principal.principal_classification) {
        Ok(Classification::Role) => match MspRole::decode(bytes) {
            Ok(role) => role.msp_identifier,
            Err(cause) => return undecodable("MSPRole", cause),
        },
        Ok(Classification::OrganizationUnit) => match OrganizationUnit::decode(bytes) {
            Ok(unit) => unit.msp_identifier,
            Err(cause) => return undecodable("OrganizationUnit", cause),
        },
        Ok(Classification::Identity) => {
            return match msps.identity(&bytes) {
                Ok(_) => Ok(()),
                Err(_) => refused(format!(
                    "collection-name: {collection} -- contains an identity that is not part of the channel"
                )),
            };
        }
        Ok(other) => {
            let kind = other.as_str_name();
            return refused(format!("collection-name: {collection} -- principal type {kind} is not supported"));
        }
        Err(_) => {
            let kind = principal.principal_classification;
            return refused(format!("collection-name: {collection} -- principal type {kind} is not supported"));
        }
    };
    if msps.msp(&msp_id).is_none() {
        return refused(format!(
            "collection-name: {collection} -- collection member '{msp_id}' is not part of the channel"
        ));
    }
    Ok(())
}

/// Committed collections stay, and stay as long-lived as they are.
fn check_against(
    proposed: &[&StaticCollectionConfig],
    committed: &CollectionConfigPackage,
) -> Result<(), LifecycleError> {
    if committed.config.is_empty() {
        return Ok(());
    }
    if proposed.is_empty() {
        return refused("the proposed collection config does not contain previously defined collections".to_owned());
    }
    let proposed: BTreeMap<_, _> = proposed.iter().map(|collection| (&collection.name, *collection)).collect();
    for old in static_collections(committed)? {
        let name = &old.name;
        let Some(new) = proposed.get(name) else {
            return refused(format!("existing collection [{name}] missing in the proposed collection configuration"));
        };
        if new.block_to_live != old.block_to_live {
            return refused(format!(
                "the BlockToLive in an existing collection [{name}] modified. Existing value [{}]",
                old.block_to_live
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_joined_by_single_dashes_or_underscores() {
        for name in ["a", "basic", "a-b_c", "1"] {
            assert!(is_chaincode_name(name), "{name}");
        }
        for name in ["", "_a", "a_", "a__b", "a.b", "a b", "ä"] {
            assert!(!is_chaincode_name(name), "{name}");
        }
        for name in ["a", "-a", "a_"] {
            assert!(is_collection_name(name), "{name}");
        }
        for name in ["", "_implicit_org_Org1MSP", "a.b"] {
            assert!(!is_collection_name(name), "{name}");
        }
    }

    #[test]
    fn a_system_name_and_an_odd_version_are_refused() {
        assert!(check_names("basic", "1.0+a-b_c").is_ok());
        assert!(check_names("qscc", "1").unwrap_err().to_string().contains("system chaincode"));
        assert!(check_names("basic", "").unwrap_err().to_string().contains("invalid chaincode version ''"));
        assert!(check_names("basic", "1 0").is_err());
    }

    #[test]
    fn a_committed_collection_can_neither_go_nor_change_its_life() {
        let collection = |name: &str, block_to_live| StaticCollectionConfig {
            name: name.to_owned(),
            block_to_live,
            ..StaticCollectionConfig::default()
        };
        let package = |collection: StaticCollectionConfig| CollectionConfigPackage {
            config: vec![ripstop_proto::protos::CollectionConfig {
                payload: Some(Payload::StaticCollectionConfig(collection)),
            }],
        };
        let committed = package(collection("secret", 3));
        assert!(check_against(&[], &committed).is_err());
        assert!(check_against(&[&collection("other", 3)], &committed).is_err());
        assert!(check_against(&[&collection("secret", 4)], &committed).is_err());
        check_against(&[&collection("secret", 3), &collection("other", 9)], &committed).unwrap();
        check_against(&[], &CollectionConfigPackage::default()).unwrap();
    }
}
