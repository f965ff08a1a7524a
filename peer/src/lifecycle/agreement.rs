//! How a channel agrees on a definition: each organization approves it, anyone may look
//! how far it is, and then it is committed.
//!
//! What is read here, in which form, is part of endorsements that other peers must give
//! byte for byte. Source: Fabric `core/chaincode/lifecycle/lifecycle.go`.

use std::collections::BTreeMap;

use ripstop_channel::ChannelConfig;
use ripstop_ledger::Simulator;

use super::LifecycleError;
use super::approvals::Approval;
use super::definition::{DEFAULT_ENDORSEMENT, Definition};
use super::layout::{self, LOCAL_PACKAGE, SOURCES, approval_name, field_key};
use super::state::{Approvals, PublicState};

/// Per organization, the fields in which its approval differs; empty means approved.
pub(crate) type Mismatches = BTreeMap<String, Vec<&'static str>>;

/// Writes the approval of organization `msp_id` into its collection.
pub(crate) fn approve(
    approval: &Approval,
    config: &ChannelConfig,
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    let (name, definition) = (&approval.chaincode, &approval.definition);
    let (requested, current) = (definition.sequence, layout::read_sequence(name, &mut PublicState(simulator))?);
    check_sequence(requested, current)?;
    check_default_policy(approval.uses_default_policy, config)?;
    if requested == current {
        check_unchanged(name, definition, simulator)?;
    }
    if is_approved_already(approval, &mut Approvals::of(msp_id, simulator))? {
        return refused(if requested == current {
            format!("attempted to redefine the current committed sequence ({current}) for namespace {name}")
        } else {
            format!(
                "attempted to redefine uncommitted sequence ({requested}) for namespace {name} with unchanged content"
            )
        });
    }
    let mut approvals = Approvals::of(msp_id, simulator);
    definition.approval_record(name).write(&mut approvals)?;
    approval.source_record().write(&mut approvals)
}

fn refused<T>(text: String) -> Result<T, LifecycleError> {
    Err(LifecycleError::Refused(text))
}

fn check_sequence(requested: i64, current: i64) -> Result<(), LifecycleError> {
    if current == requested && requested == 0 {
        return refused("requested sequence is 0, but first definable sequence number is 1".to_owned());
    }
    if requested < current {
        return refused(format!("currently defined sequence {current} is larger than requested sequence {requested}"));
    }
    let next = current.saturating_add(1);
    if requested > next {
        return refused(format!(
            "requested sequence {requested} is larger than the next available sequence number {next}"
        ));
    }
    Ok(())
}

fn check_default_policy(needed: bool, config: &ChannelConfig) -> Result<(), LifecycleError> {
    if !needed || config.policy(DEFAULT_ENDORSEMENT).is_some() {
        return Ok(());
    }
    let channel_id = config.channel_id();
    refused(format!(
        "could not set defaults for chaincode definition in channel {channel_id}: policy '{DEFAULT_ENDORSEMENT}' must be defined for channel '{channel_id}' before chaincode operations can be attempted"
    ))
}

/// A committed sequence may be approved late, but only as it was committed.
fn check_unchanged(name: &str, passed: &Definition, simulator: &mut Simulator) -> Result<(), LifecycleError> {
    let sequence = passed.sequence;
    let Some(committed) = Definition::read(name, &mut PublicState(simulator))? else {
        return refused(format!("missing metadata for currently committed sequence number ({sequence})"));
    };
    match committed.difference(passed) {
        None => Ok(()),
        Some(difference) => refused(format!(
            "attempted to redefine the current committed sequence ({sequence}) for namespace {name} with different parameters: {difference}"
        )),
    }
}

fn is_approved_already(approval: &Approval, state: &mut Approvals<'_>) -> Result<bool, LifecycleError> {
    let sequence = approval.definition.sequence;
    let Some(approved) = Definition::read_approved(&approval.chaincode, sequence, state)? else { return Ok(false) };
    if approved.difference(&approval.definition).is_some() {
        return Ok(false);
    }
    let package_id = approved_package(&approval.chaincode, sequence, state)?;
    Ok(package_id.as_deref() == Some(approval.package_id.as_str()))
}

/// The package id in an organization's approval: none if there is no record of it, empty
/// if the organization chose to have no package.
pub(crate) fn approved_package(
    chaincode: &str,
    sequence: i64,
    state: &mut Approvals<'_>,
) -> Result<Option<String>, LifecycleError> {
    let name = approval_name(chaincode, sequence);
    let Some(metadata) = layout::read_metadata(SOURCES, &name, state)? else { return Ok(None) };
    let mut values = layout::read_fields(SOURCES, &name, &LOCAL_PACKAGE, &metadata, state)?;
    layout::text(&field_key(SOURCES, &name, "PackageID"), values.remove(0)).map(Some)
}

/// How far each organization is with `definition`, which must be the next one.
pub(crate) fn readiness(
    name: &str,
    definition: &mut Definition,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<Mismatches, LifecycleError> {
    let next = layout::read_sequence(name, &mut PublicState(simulator))?.saturating_add(1);
    if definition.sequence != next {
        let requested = definition.sequence;
        return refused(format!("requested sequence is {requested}, but new definition must be sequence {next}"));
    }
    let needed = definition.fill_defaults();
    check_default_policy(needed, config)?;
    mismatches(name, definition, config, simulator)
}

/// In which fields each organization's approval differs from `definition`.
pub(crate) fn mismatches(
    name: &str,
    definition: &Definition,
    config: &ChannelConfig,
    simulator: &mut Simulator,
) -> Result<Mismatches, LifecycleError> {
    let record = definition.approval_record(name);
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    let mut found = Mismatches::new();
    for organization in organizations {
        let state = &mut Approvals::of(&organization.msp_id, simulator);
        found.insert(organization.msp_id.clone(), record.mismatches(state)?);
    }
    Ok(found)
}

/// Writes `definition` into public state. Only to be endorsed where this peer's
/// organization `msp_id` has approved it.
pub(crate) fn commit(
    name: &str,
    mut definition: Definition,
    config: &ChannelConfig,
    msp_id: &str,
    simulator: &mut Simulator,
) -> Result<(), LifecycleError> {
    let organizations = config.application().map_or(&[][..], |application| &application.organizations);
    if !organizations.iter().any(|organization| organization.msp_id == msp_id) {
        return refused(format!(
            "this peer's org ({msp_id}) is not a member of channel '{}': it cannot agree to a definition there",
            config.channel_id()
        ));
    }
    let mismatches = readiness(name, &mut definition, config, simulator)?;
    definition.record(name).write(&mut PublicState(simulator))?;
    if mismatches.get(msp_id).is_some_and(Vec::is_empty) {
        return Ok(());
    }
    refused(format!("chaincode definition not agreed to by this org ({msp_id})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_and_the_next_sequence_can_be_approved() {
        check_sequence(1, 0).unwrap();
        check_sequence(3, 3).unwrap();
        check_sequence(4, 3).unwrap();
        for (requested, current, text) in [
            (0, 0, "requested sequence is 0, but first definable sequence number is 1"),
            (2, 3, "currently defined sequence 3 is larger than requested sequence 2"),
            (5, 3, "requested sequence 5 is larger than the next available sequence number 4"),
        ] {
            assert_eq!(check_sequence(requested, current).unwrap_err().to_string(), text);
        }
    }
}
