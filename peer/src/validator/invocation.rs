//! What a transaction invoked and what it writes.
//!
//! Every part that the checks of endorsement lean on is read here, once, and in
//! the order in which a failure has its code. Who may write what is not known here.
//! Source: Fabric `core/committer/txvalidator/v20/plugindispatcher/dispatcher.go`.

use std::collections::BTreeSet;

use prost::Message;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::protos::{ChaincodeAction, ChaincodeEvent, ChaincodeHeaderExtension, TxValidationCode};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};
use ripstop_proto::transaction::OpenTransaction;

use super::refused::Refused;

/// The invoked chaincode and the read and write sets of a transaction.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) chaincode_name: String,
    /// As the endorsers state it; not compared with the definition.
    pub(super) chaincode_version: String,
    pub(super) read_write_set: ReadWriteSet,
}

/// A written key: of the public state, or (hashed) of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenKey<'a> {
    pub(super) collection: Option<&'a str>,
    /// The key's bytes, or its SHA-256 in a collection.
    pub(super) key: &'a [u8],
}

impl Invocation {
    /// Reads and checks the invocation of a well-formed transaction.
    pub(super) fn open(envelope: &OpenEnvelope, transaction: &OpenTransaction) -> Result<Self, Refused> {
        let extension =
            ChaincodeHeaderExtension::decode(envelope.channel_header.extension.clone()).map_err(|cause| {
                Refused::new(
                    TxValidationCode::BadHeaderExtension,
                    format!("the header extension does not decode: {cause}"),
                )
            })?;
        let action = open_action(transaction)?;
        let read_write_set = ReadWriteSet::decode(action.results.clone()).map_err(|cause| {
            Refused::new(TxValidationCode::BadRwset, format!("the read and write sets do not decode: {cause}"))
        })?;
        let (chaincode_name, chaincode_version) = invoked_chaincode(extension, &action)?;
        check_event(&action, &chaincode_name)?;
        check_namespaces(&read_write_set)?;
        Ok(Self { chaincode_name, chaincode_version, read_write_set })
    }

    /// The namespaces whose rules decide, ascending: the invoked chaincode's, and
    /// every one that something is written to. Reading alone needs no endorsement.
    pub(super) fn governed_namespaces(&self) -> BTreeSet<&str> {
        let written = self.read_write_set.namespaces.iter().filter(|set| set.writes_anything());
        written.map(|set| set.namespace.as_str()).chain([self.chaincode_name.as_str()]).collect()
    }

    /// Every key that the transaction writes in `namespace`, value or metadata:
    /// public values, public metadata, hashed values, hashed metadata.
    pub(super) fn written_keys(&self, namespace: &str) -> impl Iterator<Item = WrittenKey<'_>> {
        let set = self.set_of(namespace).into_iter();
        set.flat_map(|set| {
            public_keys(set).chain(public_metadata_keys(set)).chain(hashed_keys(set)).chain(hashed_metadata_keys(set))
        })
    }

    /// Every key whose metadata the transaction writes in `namespace`.
    pub(super) fn metadata_keys(&self, namespace: &str) -> impl Iterator<Item = WrittenKey<'_>> {
        let set = self.set_of(namespace).into_iter();
        set.flat_map(|set| public_metadata_keys(set).chain(hashed_metadata_keys(set)))
    }

    fn set_of(&self, namespace: &str) -> Option<&NamespaceSet> {
        self.read_write_set.namespaces.iter().find(|set| set.namespace == namespace)
    }
}

fn public_keys(set: &NamespaceSet) -> impl Iterator<Item = WrittenKey<'_>> {
    set.public.writes.iter().map(|write| WrittenKey { collection: None, key: write.key.as_bytes() })
}

fn public_metadata_keys(set: &NamespaceSet) -> impl Iterator<Item = WrittenKey<'_>> {
    set.public.metadata_writes.iter().map(|write| WrittenKey { collection: None, key: write.key.as_bytes() })
}

fn hashed_keys(set: &NamespaceSet) -> impl Iterator<Item = WrittenKey<'_>> {
    set.collections.iter().flat_map(|collection| {
        let written = collection.hashed.hashed_writes.iter();
        written.map(|write| WrittenKey { collection: Some(&collection.name), key: &write.key_hash })
    })
}

fn hashed_metadata_keys(set: &NamespaceSet) -> impl Iterator<Item = WrittenKey<'_>> {
    set.collections.iter().flat_map(|collection| {
        let written = collection.hashed.metadata_writes.iter();
        written.map(|write| WrittenKey { collection: Some(&collection.name), key: &write.key_hash })
    })
}

fn open_action(transaction: &OpenTransaction) -> Result<ChaincodeAction, Refused> {
    let refuse = |text: String| Refused::new(TxValidationCode::BadResponsePayload, text);
    if transaction.response_payload.extension.is_empty() {
        return Err(refuse("the endorsed answer holds no chaincode action".into()));
    }
    transaction.chaincode_action().map_err(|error| refuse(error.to_string()))
}

fn invoked_chaincode(
    extension: ChaincodeHeaderExtension,
    action: &ChaincodeAction,
) -> Result<(String, String), Refused> {
    let missing = |text: &str| Refused::new(TxValidationCode::InvalidOtherReason, text);
    let asked = extension.chaincode_id.ok_or_else(|| missing("the header extension names no chaincode"))?;
    let ran = action.chaincode_id.as_ref().ok_or_else(|| missing("the chaincode action names no chaincode"))?;
    let refuse = |text: String| Refused::new(TxValidationCode::InvalidChaincode, text);
    if asked.name.is_empty() {
        return Err(refuse("the chaincode name in the header extension is empty".into()));
    }
    if asked.name != ran.name {
        return Err(refuse(format!("chaincode {:?} was asked for, {:?} answered", asked.name, ran.name)));
    }
    if ran.version.is_empty() {
        return Err(refuse(format!("the chaincode action names no version of {:?}", ran.name)));
    }
    Ok((asked.name, ran.version.clone()))
}

fn check_event(action: &ChaincodeAction, chaincode_name: &str) -> Result<(), Refused> {
    if action.events.is_empty() {
        return Ok(());
    }
    let refuse = |text: String| Refused::new(TxValidationCode::InvalidOtherReason, text);
    let event = ChaincodeEvent::decode(action.events.clone())
        .map_err(|cause| refuse(format!("the chaincode event does not decode: {cause}")))?;
    if event.chaincode_id != chaincode_name {
        return Err(refuse(format!(
            "the event is of chaincode {:?}, the transaction of {chaincode_name:?}",
            event.chaincode_id
        )));
    }
    Ok(())
}

fn check_namespaces(read_write_set: &ReadWriteSet) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for set in &read_write_set.namespaces {
        if !seen.insert(set.namespace.as_str()) {
            return Err(Refused::new(
                TxValidationCode::IllegalWriteset,
                format!("namespace {:?} stands twice in the read and write sets", set.namespace),
            ));
        }
    }
    Ok(())
}
