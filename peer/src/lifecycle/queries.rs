//! The questions one can ask `_lifecycle` about definitions and approvals.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_ledger::Simulator;
use ripstop_proto::lifecycle::chaincode_source::{Local, Type as SourceType, Unavailable};
use ripstop_proto::lifecycle::query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition;
use ripstop_proto::lifecycle::query_chaincode_definitions_result::ChaincodeDefinition;
use ripstop_proto::lifecycle::{
    ChaincodeSource, QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryApprovedChaincodeDefinitionsResult, QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult,
    StateMetadata,
};

use super::definition::Definition;
use super::layout::{self, DEFINITION, DEFINITIONS, approval_name, metadata_key};
use super::state::{Approvals, PublicState, ledger};
use super::{LifecycleError, NAMESPACE, agreement, implicit_collection};

/// Ends the range of all names; names consist of smaller characters.
const AFTER_NAMES: char = '\u{7f}';

/// The committed definition of `name` and who has approved it.
pub(crate) fn definition(
    name: &str,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<QueryChaincodeDefinitionResult, LifecycleError> {
    let definition = Definition::read(name, &mut PublicState(simulator))?
        .ok_or_else(|| LifecycleError::NamespaceNotDefined(name.to_owned()))?;
    let mismatches = agreement::mismatches(name, &definition, config, simulator)?;
    Ok(QueryChaincodeDefinitionResult {
        sequence: definition.sequence,
        version: definition.version,
        endorsement_plugin: definition.endorsement_plugin,
        validation_plugin: definition.validation_plugin,
        validation_parameter: definition.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.init_required,
        approvals: approvals(&mismatches),
    })
}

/// Which organizations have approved, as the answers of `_lifecycle` say it.
pub(crate) fn approvals(mismatches: &agreement::Mismatches) -> BTreeMap<String, bool> {
    mismatches.iter().map(|(msp_id, fields)| (msp_id.clone(), fields.is_empty())).collect()
}

/// All committed definitions, by name.
pub(crate) fn definitions(simulator: &mut Simulator) -> Result<QueryChaincodeDefinitionsResult, LifecycleError> {
    let prefix = metadata_key(DEFINITIONS, "");
    let mut chaincode_definitions = Vec::new();
    for name in names(&prefix, simulator)? {
        let definition = Definition::read(&name, &mut PublicState(simulator))?
            .ok_or_else(|| LifecycleError::NamespaceNotDefined(name.clone()))?;
        chaincode_definitions.push(ChaincodeDefinition {
            name,
            sequence: definition.sequence,
            version: definition.version,
            endorsement_plugin: definition.endorsement_plugin,
            validation_plugin: definition.validation_plugin,
            validation_parameter: definition.validation_parameter,
            collections: Some(definition.collections),
            init_required: definition.init_required,
        });
    }
    Ok(QueryChaincodeDefinitionsResult { chaincode_definitions })
}

fn names(prefix: &str, simulator: &mut Simulator) -> Result<Vec<String>, LifecycleError> {
    let range = simulator.open_range(NAMESPACE, prefix, &format!("{prefix}{AFTER_NAMES}"));
    let mut names = Vec::new();
    while let Some((key, value)) = simulator.next(range).map_err(ledger)? {
        let metadata =
            StateMetadata::decode(value).map_err(|cause| LifecycleError::Undecodable { key: key.clone(), cause })?;
        if metadata.datatype == DEFINITION.datatype {
            names.push(key[prefix.len()..].to_owned());
        }
    }
    simulator.close_range(range);
    Ok(names)
}

/// What this peer's organization approved: at a sequence, or at the newest there is.
pub(crate) fn approved(
    args: &QueryApprovedChaincodeDefinitionArgs,
    channel_id: &str,
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<QueryApprovedChaincodeDefinitionResult, LifecycleError> {
    let sequence = match args.sequence {
        0 => newest(&args.name, msp_id, simulator)?,
        sequence => sequence,
    };
    approved_at(&args.name, sequence, channel_id, msp_id, simulator)
}

fn approved_at(
    name: &str,
    sequence: i64,
    channel_id: &str,
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<QueryApprovedChaincodeDefinitionResult, LifecycleError> {
    let state = &mut Approvals::of(msp_id, simulator);
    let definition = Definition::read_approved(name, sequence, state)?.ok_or_else(|| {
        LifecycleError::Refused(format!(
            "could not fetch approved chaincode definition (name: '{name}', sequence: '{sequence}') on channel '{channel_id}'"
        ))
    })?;
    let package_id = agreement::approved_package(name, sequence, state)?.ok_or_else(|| {
        let name = approval_name(name, sequence);
        LifecycleError::Refused(format!("could not fetch chaincode-source metadata for {name}"))
    })?;
    Ok(QueryApprovedChaincodeDefinitionResult {
        sequence,
        version: definition.version,
        endorsement_plugin: definition.endorsement_plugin,
        validation_plugin: definition.validation_plugin,
        validation_parameter: definition.validation_parameter,
        collections: Some(definition.collections),
        init_required: definition.init_required,
        source: Some(source(package_id)),
    })
}

/// All approvals of this peer's organization, by name and sequence.
pub(crate) fn all_approved(
    channel_id: &str,
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<QueryApprovedChaincodeDefinitionsResult, LifecycleError> {
    let (prefix, collection) = (metadata_key(DEFINITIONS, ""), implicit_collection::name_of(msp_id));
    let end = format!("{prefix}{AFTER_NAMES}");
    let range = simulator.open_private_range(NAMESPACE, &collection, &prefix, &end).map_err(ledger)?;
    let mut approvals = Vec::new();
    while let Some((key, _)) = simulator.next(range).map_err(ledger)? {
        let name = &key[prefix.len()..];
        let parts = name.split_once('#').and_then(|(name, sequence)| Some((name.to_owned(), sequence.parse().ok()?)));
        approvals.push(parts.ok_or_else(|| LifecycleError::Refused(format!("invalid private name format: {name}")))?);
    }
    simulator.close_range(range);
    let describe = |(name, sequence): (String, i64)| {
        let approved = approved_at(&name, sequence, channel_id, msp_id, simulator)?;
        Ok(ApprovedChaincodeDefinition {
            name,
            sequence: approved.sequence,
            version: approved.version,
            endorsement_plugin: approved.endorsement_plugin,
            validation_plugin: approved.validation_plugin,
            validation_parameter: approved.validation_parameter,
            collections: approved.collections,
            init_required: approved.init_required,
            source: approved.source,
        })
    };
    let approved_chaincode_definitions = approvals.into_iter().map(describe).collect::<Result<_, LifecycleError>>()?;
    Ok(QueryApprovedChaincodeDefinitionsResult { approved_chaincode_definitions })
}

fn newest(name: &str, msp_id: &str, simulator: &mut Simulator) -> Result<i64, LifecycleError> {
    let current = layout::read_sequence(name, &mut PublicState(simulator))?;
    let next = current.saturating_add(1);
    let state = &mut Approvals::of(msp_id, simulator);
    let approved = layout::read_metadata(DEFINITIONS, &approval_name(name, next), state)?;
    Ok(if approved.is_some() { next } else { current })
}

fn source(package_id: String) -> ChaincodeSource {
    let source = if package_id.is_empty() {
        SourceType::Unavailable(Unavailable {})
    } else {
        SourceType::LocalPackage(Local { package_id })
    };
    ChaincodeSource { r#type: Some(source) }
}
