//! Approvals: what an organization says yes to, and the clear values of its own
//! approvals, which every peer of the organization finds again in the transaction.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::hash::sha256;
use ripstop_proto::kvrwset::KvWriteHash;
use ripstop_proto::lifecycle::chaincode_source::Type as SourceType;
use ripstop_proto::lifecycle::state_data::Type as Value;
use ripstop_proto::lifecycle::{ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource};
use ripstop_proto::protos::{ChaincodeInvocationSpec, ChaincodeProposalPayload};
use ripstop_proto::read_write_set::ReadWriteSet;

use super::definition::Definition;
use super::layout::{LOCAL_PACKAGE, Record, SOURCES, approval_name};
use super::{NAMESPACE, implicit_collection};

/// The function whose arguments hold an approval.
pub(crate) const APPROVE: &str = "ApproveChaincodeDefinitionForMyOrg";

/// A clear private write: collection (in namespace `_lifecycle`), key, value or deletion.
pub type ClearWrite = (String, String, Option<Bytes>);

/// The clear values behind the hashed writes of an approval by organization `msp_id`.
///
/// `proposal_payload` is the transaction's `chaincode_proposal_payload`, which holds the
/// arguments; `sets` are the same transaction's read and write sets. A value is returned
/// only where the hashes of its key and of itself stand in the write set, so whatever
/// the arguments say, nothing wrong enters private state. Empty for every transaction
/// that is not an approval of this organization.
pub fn private_writes(proposal_payload: &Bytes, sets: &ReadWriteSet, msp_id: &str) -> Vec<ClearWrite> {
    let collection = implicit_collection::name_of(msp_id);
    let Some(hashed_writes) = hashed_writes(sets, &collection) else { return Vec::new() };
    let Some(approval) = Approval::from_proposal(proposal_payload) else { return Vec::new() };
    let clear = |write: &KvWriteHash, key: &str, value: &Bytes| {
        let value = (!write.is_delete).then(|| value.clone());
        (collection.clone(), key.to_owned(), value)
    };
    let mut found = Vec::new();
    for (key, value) in approval.entries() {
        let (key_hash, value_hash) = (sha256(&[key.as_bytes()]), sha256(&[&value]));
        let matching = hashed_writes
            .iter()
            .filter(|write| write.key_hash == key_hash[..] && (write.is_delete || write.value_hash == value_hash[..]));
        found.extend(matching.map(|write| clear(write, &key, &value)));
    }
    found
}

fn hashed_writes<'a>(sets: &'a ReadWriteSet, collection: &str) -> Option<&'a [KvWriteHash]> {
    let lifecycle = sets.namespaces.iter().find(|set| set.namespace == NAMESPACE)?;
    let set = lifecycle.collections.iter().find(|set| set.name == collection)?;
    (!set.hashed.hashed_writes.is_empty()).then_some(&set.hashed.hashed_writes)
}

/// What the arguments of an approval say, with defaults filled in.
pub(crate) struct Approval {
    pub(crate) chaincode: String,
    pub(crate) definition: Definition,
    /// Empty: this organization's peers shall not run the chaincode.
    pub(crate) package_id: String,
    /// Whether the definition rests on the channel's default endorsement policy.
    pub(crate) uses_default_policy: bool,
}

impl Approval {
    pub(crate) fn new(args: ApproveChaincodeDefinitionForMyOrgArgs) -> Self {
        let mut definition = Definition {
            sequence: args.sequence,
            version: args.version,
            init_required: args.init_required,
            endorsement_plugin: args.endorsement_plugin,
            validation_plugin: args.validation_plugin,
            validation_parameter: args.validation_parameter,
            collections: args.collections.unwrap_or_default(),
        };
        let uses_default_policy = definition.fill_defaults();
        Self { chaincode: args.name, definition, package_id: package_id(args.source), uses_default_policy }
    }

    fn from_proposal(proposal_payload: &Bytes) -> Option<Self> {
        let payload = ChaincodeProposalPayload::decode(proposal_payload.clone()).ok()?;
        let spec = ChaincodeInvocationSpec::decode(payload.input).ok()?.chaincode_spec?;
        let mut args = spec.input?.args.into_iter();
        if args.next()? != APPROVE.as_bytes() {
            return None;
        }
        ApproveChaincodeDefinitionForMyOrgArgs::decode(args.next()?).ok().map(Self::new)
    }

    /// The record of where the package is.
    pub(crate) fn source_record(&self) -> Record {
        Record {
            section: SOURCES,
            name: approval_name(&self.chaincode, self.definition.sequence),
            layout: &LOCAL_PACKAGE,
            values: vec![Value::String(self.package_id.clone())],
        }
    }

    fn entries(&self) -> Vec<(String, Bytes)> {
        let parameters = self.definition.approval_record(&self.chaincode);
        parameters.entries().chain(self.source_record().entries()).collect()
    }
}

fn package_id(source: Option<ChaincodeSource>) -> String {
    match source.and_then(|source| source.r#type) {
        Some(SourceType::LocalPackage(local)) => local.package_id,
        Some(SourceType::Unavailable(_)) | None => String::new(),
    }
}
