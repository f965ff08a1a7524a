//! A chaincode's definition: what a channel agreed on, by sequence.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::StateView;
use ripstop_proto::lifecycle::state_data::Type as Value;
use ripstop_proto::lifecycle::{ChaincodeEndorsementInfo, ChaincodeValidationInfo};
use ripstop_proto::protos::application_policy::Type as PolicyType;
use ripstop_proto::protos::{ApplicationPolicy, CollectionConfigPackage};

use super::layout::{self, DEFINITION, DEFINITIONS, PARAMETERS, Record, approval_name, field_key};
use super::state::{CommittedState, State};
use super::{LifecycleError, NAMESPACE};

/// Plugin names that stand in a definition when nobody named one.
const ENDORSEMENT_PLUGIN: &str = "escc";
const VALIDATION_PLUGIN: &str = "vscc";

/// The channel policy that rules `_lifecycle` itself.
pub const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";
/// The channel policy of a definition that names none.
pub const DEFAULT_ENDORSEMENT: &str = "/Channel/Application/Endorsement";

/// A definition, committed or only approved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Definition {
    /// Counts the definitions of one name from 1; 0 for `_lifecycle` itself.
    pub sequence: i64,
    /// Free text; stands in every endorsement.
    pub version: String,
    /// Whether a first call must be an init call.
    pub init_required: bool,
    /// Name of the endorsement rule; only the built-in one exists.
    pub endorsement_plugin: String,
    /// Name of the validation rule; only the built-in one exists.
    pub validation_plugin: String,
    /// Marshalled `protos.ApplicationPolicy`.
    pub validation_parameter: Bytes,
    /// Static collections; empty when there are none.
    pub collections: CollectionConfigPackage,
}

/// The committed definition of `chaincode`, if there is one.
///
/// `_lifecycle` is always defined; its policy is [`LIFECYCLE_ENDORSEMENT`]. A channel
/// without that policy uses a majority of its organizations' members instead: the
/// caller, who has the channel's configuration, decides.
///
/// # Errors
/// When the ledger fails or what is stored does not decode.
pub fn committed(state: &StateView, chaincode: &str) -> Result<Option<Definition>, LifecycleError> {
    if chaincode == NAMESPACE {
        return Ok(Some(lifecycle_itself()));
    }
    Definition::read(chaincode, &mut CommittedState(state))
}

fn lifecycle_itself() -> Definition {
    Definition {
        endorsement_plugin: ENDORSEMENT_PLUGIN.to_owned(),
        validation_plugin: VALIDATION_PLUGIN.to_owned(),
        validation_parameter: policy_reference(LIFECYCLE_ENDORSEMENT),
        ..Definition::default()
    }
}

/// Marshalled `ApplicationPolicy` that refers to a channel policy.
pub fn policy_reference(path: &str) -> Bytes {
    let reference = PolicyType::ChannelConfigPolicyReference(path.to_owned());
    ApplicationPolicy { r#type: Some(reference) }.encode_to_vec().into()
}

static DEFAULT_PARAMETER: LazyLock<Bytes> = LazyLock::new(|| policy_reference(DEFAULT_ENDORSEMENT));

impl Definition {
    /// Fills what the caller left out, as every organization must in the same way.
    /// Returns whether the channel's default policy was needed.
    pub(crate) fn fill_defaults(&mut self) -> bool {
        if self.endorsement_plugin.is_empty() {
            ENDORSEMENT_PLUGIN.clone_into(&mut self.endorsement_plugin);
        }
        if self.validation_plugin.is_empty() {
            VALIDATION_PLUGIN.clone_into(&mut self.validation_plugin);
        }
        let needed = self.validation_parameter.is_empty();
        if needed {
            self.validation_parameter = DEFAULT_PARAMETER.clone();
        }
        needed
    }

    /// Reads a committed definition.
    pub(crate) fn read(chaincode: &str, state: &mut impl State) -> Result<Option<Self>, LifecycleError> {
        let Some(metadata) = layout::read_metadata(DEFINITIONS, chaincode, state)? else { return Ok(None) };
        let mut values = layout::read_fields(DEFINITIONS, chaincode, &DEFINITION, &metadata, state)?;
        let sequence = layout::number(&layout::sequence_key(chaincode), values.remove(0))?;
        Self::from_parameters(chaincode, sequence, values).map(Some)
    }

    /// Reads an approved definition from an organization's collection.
    pub(crate) fn read_approved(
        chaincode: &str,
        sequence: i64,
        state: &mut impl State,
    ) -> Result<Option<Self>, LifecycleError> {
        let name = approval_name(chaincode, sequence);
        let Some(metadata) = layout::read_metadata(DEFINITIONS, &name, state)? else { return Ok(None) };
        let values = layout::read_fields(DEFINITIONS, &name, &PARAMETERS, &metadata, state)?;
        Self::from_parameters(&name, sequence, values).map(Some)
    }

    fn from_parameters(name: &str, sequence: i64, values: Vec<Option<Value>>) -> Result<Self, LifecycleError> {
        let [endorsement, validation, collections] = <[_; 3]>::try_from(values)
            .map_err(|_| LifecycleError::Refused(format!("the record of '{name}' does not have three parameters")))?;
        let key = |field| field_key(DEFINITIONS, name, field);
        let endorsement: ChaincodeEndorsementInfo = layout::message(&key("EndorsementInfo"), endorsement)?;
        let validation: ChaincodeValidationInfo = layout::message(&key("ValidationInfo"), validation)?;
        Ok(Self {
            sequence,
            version: endorsement.version,
            init_required: endorsement.init_required,
            endorsement_plugin: endorsement.endorsement_plugin,
            validation_plugin: validation.validation_plugin,
            validation_parameter: validation.validation_parameter,
            collections: layout::message(&key("Collections"), collections)?,
        })
    }

    /// The record a commit writes into public state.
    pub(crate) fn record(&self, chaincode: &str) -> Record {
        let mut values = vec![Value::Int64(self.sequence)];
        values.extend(self.parameters());
        Record { section: DEFINITIONS, name: chaincode.to_owned(), layout: &DEFINITION, values }
    }

    /// The record an approval writes into an organization's collection.
    pub(crate) fn approval_record(&self, chaincode: &str) -> Record {
        let name = approval_name(chaincode, self.sequence);
        Record { section: DEFINITIONS, name, layout: &PARAMETERS, values: self.parameters().into() }
    }

    fn parameters(&self) -> [Value; 3] {
        let endorsement = ChaincodeEndorsementInfo {
            version: self.version.clone(),
            init_required: self.init_required,
            endorsement_plugin: self.endorsement_plugin.clone(),
        };
        let validation = ChaincodeValidationInfo {
            validation_plugin: self.validation_plugin.clone(),
            validation_parameter: self.validation_parameter.clone(),
        };
        [
            Value::Bytes(endorsement.encode_to_vec().into()),
            Value::Bytes(validation.encode_to_vec().into()),
            Value::Bytes(self.collections.encode_to_vec().into()),
        ]
    }

    /// The first parameter in which `passed` differs from this definition, in words.
    pub(crate) fn difference(&self, passed: &Self) -> Option<String> {
        let differs = |name, expected: &str, passed: &str| {
            (expected != passed)
                .then(|| format!("expected {name} '{expected}' does not match passed {name} '{passed}'"))
        };
        let flag = |set: bool| if set { "true" } else { "false" };
        differs("Version", &self.version, &passed.version)
            .or_else(|| differs("EndorsementPlugin", &self.endorsement_plugin, &passed.endorsement_plugin))
            .or_else(|| differs("InitRequired", flag(self.init_required), flag(passed.init_required)))
            .or_else(|| differs("ValidationPlugin", &self.validation_plugin, &passed.validation_plugin))
            .or_else(|| {
                let [expected, passed] = [&self.validation_parameter, &passed.validation_parameter].map(hex::encode);
                differs("ValidationParameter", &expected, &passed)
            })
            .or_else(|| (self.collections != passed.collections).then(|| "Collections do not match".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_is_a_reference_of_32_characters() {
        let mut definition = Definition::default();
        assert!(definition.fill_defaults());
        assert_eq!(&definition.validation_parameter[..2], &[0x12, 0x20]);
        assert_eq!(&definition.validation_parameter[2..], DEFAULT_ENDORSEMENT.as_bytes());
        assert!(!definition.fill_defaults());
    }

    #[test]
    fn no_collections_are_stored_as_present_but_empty_bytes() {
        let record = Definition::default().record("basic");
        let (key, value) = record.entries().last().unwrap();
        assert_eq!(key, "namespaces/fields/basic/Collections");
        assert_eq!(&value[..], &[0x12, 0x00]);
    }

    #[test]
    fn the_first_differing_parameter_is_named() {
        let one = Definition { version: "1".into(), ..Definition::default() };
        let mut two = one.clone();
        assert_eq!(one.difference(&two), None);
        two.init_required = true;
        assert_eq!(
            one.difference(&two).as_deref(),
            Some("expected InitRequired 'false' does not match passed InitRequired 'true'")
        );
    }
}
