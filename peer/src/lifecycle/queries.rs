//! The questions one can ask `_lifecycle` about definitions and approvals.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_channel::ChannelConfig;
use ripstop_ledger::Simulator;
use ripstop_proto::lifecycle::chaincode_source::{Local, Type as SourceType, Unavailable};
use ripstop_proto::lifecycle::query_chaincode_definitions_result::ChaincodeDefinition;
use ripstop_proto::lifecycle::{
    ChaincodeSource, QueryApprovedChaincodeDefinitionArgs, QueryApprovedChaincodeDefinitionResult,
    QueryChaincodeDefinitionResult, QueryChaincodeDefinitionsResult, StateMetadata,
};

use super::definition::Definition;
use super::layout::{self, DEFINITION, DEFINITIONS, approval_name, metadata_key};
use super::state::{Approvals, PublicState, ledger};
use super::{LifecycleError, NAMESPACE, agreement};

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
    let range = simulator.open_range(NAMESPACE, prefix, &format!("{prefix}{AFTER_NAMES}")).map_err(ledger)?;
    let mut names = Vec::new();
    while let Some((key, value)) = simulator.next(range).map_err(ledger)? {
        let metadata = StateMetadata::decode(value)
            .map_err(|cause| LifecycleError::Undecodable { key: key.clone(), cause })?;
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
    let name = &args.name;
    let sequence = if args.sequence == 0 { newest(name, msp_id, simulator)? } else { args.sequence };
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
