//! How lifecycle's records lie in state: one key for what kind of record it is, one
//! key per field, so that an update writes only the fields that changed.
//!
//! ```text
//! namespaces/metadata/<name>           StateMetadata{datatype, fields}
//! namespaces/fields/<name>/<field>     StateData{Int64 | Bytes | String}
//! chaincode-sources/…                  the same, in an organization's collection only
//! ```
//! Datatypes, field names and their order are hashed and compared between
//! organizations. Source: Fabric `core/chaincode/lifecycle/serializer.go`.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::lifecycle::state_data::Type as Value;
use ripstop_proto::lifecycle::{StateData, StateMetadata};

use super::LifecycleError;
use super::state::{HashedState, State, WritableState};

/// Section of definitions and of approved parameters.
pub(crate) const DEFINITIONS: &str = "namespaces";
/// Section of where an organization's package is.
pub(crate) const SOURCES: &str = "chaincode-sources";

/// One kind of record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) datatype: &'static str,
    pub(crate) fields: &'static [&'static str],
}

/// A committed definition, in public state.
pub(crate) static DEFINITION: Layout = Layout {
    datatype: "ChaincodeDefinition",
    fields: &["Sequence", "EndorsementInfo", "ValidationInfo", "Collections"],
};
/// An approved definition, in an organization's collection.
pub(crate) static PARAMETERS: Layout =
    Layout { datatype: "ChaincodeParameters", fields: &["EndorsementInfo", "ValidationInfo", "Collections"] };
/// The package an organization chose, in its collection.
pub(crate) static LOCAL_PACKAGE: Layout = Layout { datatype: "ChaincodeLocalPackage", fields: &["PackageID"] };

impl Layout {
    fn metadata(&self) -> Bytes {
        let fields = self.fields.iter().map(|field| (*field).to_owned()).collect();
        StateMetadata { datatype: self.datatype.to_owned(), fields }.encode_to_vec().into()
    }
}

pub(crate) fn metadata_key(section: &str, name: &str) -> String {
    format!("{section}/metadata/{name}")
}

pub(crate) fn field_key(section: &str, name: &str, field: &str) -> String {
    format!("{section}/fields/{name}/{field}")
}

/// The key that every call of a chaincode reads.
pub(crate) fn sequence_key(chaincode: &str) -> String {
    field_key(DEFINITIONS, chaincode, "Sequence")
}

/// The name of an approval: chaincode and sequence.
pub(crate) fn approval_name(chaincode: &str, sequence: i64) -> String {
    format!("{chaincode}#{sequence}")
}

/// A record to be written or compared; values stand in the order of the layout's fields.
pub(crate) struct Record {
    pub(crate) section: &'static str,
    pub(crate) name: String,
    pub(crate) layout: &'static Layout,
    pub(crate) values: Vec<Value>,
}

impl Record {
    /// Every key and value of the record, the metadata first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, Bytes)> + '_ {
        let metadata = (metadata_key(self.section, &self.name), self.layout.metadata());
        std::iter::once(metadata).chain(self.fields().map(|(_, key, value)| (key, value)))
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, String, Bytes)> + '_ {
        self.layout.fields.iter().zip(&self.values).map(|(field, value)| {
            let data = StateData { r#type: Some(value.clone()) };
            (*field, field_key(self.section, &self.name, field), data.encode_to_vec().into())
        })
    }

    /// Writes the fields that differ from what is stored, the metadata when the kind of
    /// record changes, and removes fields that the record no longer has.
    pub(crate) fn write(&self, state: &mut impl WritableState) -> Result<(), LifecycleError> {
        let stored = read_metadata(self.section, &self.name, state)?.unwrap_or_default();
        let mut existing = std::collections::BTreeMap::new();
        for field in &stored.fields {
            let key = field_key(self.section, &self.name, field);
            let value = state.get(&key)?;
            existing.insert(key, value);
        }
        for (_, key, value) in self.fields() {
            if existing.remove(&key).flatten().as_ref() != Some(&value) {
                state.put(&key, value)?;
            }
        }
        let same_kind = stored.datatype == self.layout.datatype && stored.fields.len() == self.layout.fields.len();
        if !same_kind || !existing.is_empty() {
            state.put(&metadata_key(self.section, &self.name), self.layout.metadata())?;
        }
        existing.keys().try_for_each(|key| state.delete(key))
    }

    /// Which fields differ from the hashes in an organization's collection; the
    /// datatype's name when there is no such record. Reads every hash in any case.
    pub(crate) fn mismatches(&self, state: &mut impl HashedState) -> Result<Vec<&'static str>, LifecycleError> {
        let stored = state.hash(&metadata_key(self.section, &self.name))?;
        let mut different = Vec::new();
        for (field, key, value) in self.fields() {
            if state.hash(&key)? != Some(sha256(&[&value])) {
                different.push(field);
            }
        }
        if stored != Some(sha256(&[&self.layout.metadata()])) {
            return Ok(vec![self.layout.datatype]);
        }
        Ok(different)
    }

    /// Whether the stored record is of this kind, by hash.
    pub(crate) fn metadata_matches(
        section: &str,
        name: &str,
        layout: &Layout,
        state: &mut impl HashedState,
    ) -> Result<bool, LifecycleError> {
        Ok(state.hash(&metadata_key(section, name))? == Some(sha256(&[&layout.metadata()])))
    }
}

/// What kind of record is stored under this name, if any.
pub(crate) fn read_metadata(
    section: &str,
    name: &str,
    state: &mut impl State,
) -> Result<Option<StateMetadata>, LifecycleError> {
    let key = metadata_key(section, name);
    let Some(value) = state.get(&key)? else { return Ok(None) };
    let metadata = StateMetadata::decode(value).map_err(|cause| LifecycleError::Undecodable { key, cause })?;
    Ok(Some(metadata))
}

/// The fields of a stored record in the layout's order; `metadata` is what
/// [`read_metadata`] gave for it.
pub(crate) fn read_fields(
    section: &str,
    name: &str,
    layout: &Layout,
    metadata: &StateMetadata,
    state: &mut impl State,
) -> Result<Vec<Option<Value>>, LifecycleError> {
    if metadata.datatype != layout.datatype {
        let text = format!("type name mismatch '{}' != '{}'", layout.datatype, metadata.datatype);
        return Err(LifecycleError::Refused(text));
    }
    layout.fields.iter().map(|field| read_field(section, name, field, state)).collect()
}

fn read_field(section: &str, name: &str, field: &str, state: &mut impl State) -> Result<Option<Value>, LifecycleError> {
    let key = field_key(section, name, field);
    let value = state.get(&key)?.unwrap_or_default();
    let data = StateData::decode(value).map_err(|cause| LifecycleError::Undecodable { key, cause })?;
    Ok(data.r#type)
}

/// The committed sequence of a chaincode, 0 when there is none.
pub(crate) fn read_sequence(chaincode: &str, state: &mut impl State) -> Result<i64, LifecycleError> {
    let value = read_field(DEFINITIONS, chaincode, "Sequence", state)?;
    number(&sequence_key(chaincode), value)
}

pub(crate) fn number(key: &str, value: Option<Value>) -> Result<i64, LifecycleError> {
    match value {
        None => Ok(0),
        Some(Value::Int64(number)) => Ok(number),
        Some(_) => Err(LifecycleError::WrongType { key: key.to_owned(), expected: "Int64" }),
    }
}

pub(crate) fn text(key: &str, value: Option<Value>) -> Result<String, LifecycleError> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(LifecycleError::WrongType { key: key.to_owned(), expected: "String" }),
    }
}

pub(crate) fn message<M: Message + Default>(key: &str, value: Option<Value>) -> Result<M, LifecycleError> {
    let bytes = match value {
        None => Bytes::new(),
        Some(Value::Bytes(bytes)) => bytes,
        Some(_) => return Err(LifecycleError::WrongType { key: key.to_owned(), expected: "[]byte" }),
    };
    M::decode(bytes).map_err(|cause| LifecycleError::Undecodable { key: key.to_owned(), cause })
}
