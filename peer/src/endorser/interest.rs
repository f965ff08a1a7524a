//! Which endorsement policies a transaction has to satisfy: what the gateway plans by.
//!
//! There is an entry for the public part of each namespace that the transaction touched,
//! and one for each collection. It is not signed. Keys of collections are seen like public
//! ones, since their policies, too, take the place of the chaincode's.
//! Source: Fabric `core/endorser/endorser.go`.

use std::collections::BTreeMap;

use prost::Message;
use ripstop_ledger::{SimulationResult, WrittenKey};
use ripstop_proto::common::SignaturePolicyEnvelope;
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest, MetaDataKeys};

use super::is_system_chaincode;

/// What one namespace asks for.
#[derive(Default)]
struct Asked {
    /// Of written keys that have a policy; each once.
    key_policies: Vec<SignaturePolicyEnvelope>,
    /// By collection, the empty one for public state: whether its own policy is needed,
    /// which it is not where every written key has one.
    parts: BTreeMap<String, bool>,
}

/// The policies of every namespace that was read or written, except those of the peer itself.
///
/// # Errors
/// When a written key's policy does not decode: nobody could satisfy it.
pub(super) fn interest(simulation: &SimulationResult) -> Result<ChaincodeInterest, String> {
    let mut asked: BTreeMap<&str, Asked> = BTreeMap::new();
    for written in &simulation.written_keys {
        asked.entry(&written.namespace).or_default().add(written)?;
    }
    for set in &simulation.read_write_set.ns_rwset {
        let needs_chaincodes = || Asked { parts: BTreeMap::from([(String::new(), true)]), ..Asked::default() };
        asked.entry(&set.namespace).or_insert_with(needs_chaincodes);
    }
    for (namespace, collection) in &simulation.private_reads {
        asked.entry(namespace).or_default().parts.insert(collection.clone(), true);
    }
    let namespaces = asked.into_iter().filter(|(namespace, _)| !is_system_chaincode(namespace));
    let calls = namespaces.flat_map(|(namespace, asked)| asked.into_calls(namespace, simulation));
    Ok(ChaincodeInterest { chaincodes: calls.collect() })
}

impl Asked {
    fn add(&mut self, written: &WrittenKey) -> Result<(), String> {
        self.parts.entry(String::new()).or_default();
        let policy = written.metadata.get(MetaDataKeys::ValidationParameter.as_str_name());
        let Some(policy) = policy.filter(|policy| !policy.is_empty()) else {
            self.parts.insert(written.collection.clone().unwrap_or_default(), true);
            return Ok(());
        };
        let policy = SignaturePolicyEnvelope::decode(policy.clone()).map_err(|cause| {
            let WrittenKey { namespace, key, .. } = written;
            format!("the endorsement policy of key {key:?} of chaincode {namespace} does not decode: {cause}")
        })?;
        if !self.key_policies.contains(&policy) {
            self.key_policies.push(policy);
        }
        Ok(())
    }

    fn into_calls(self, namespace: &str, simulation: &SimulationResult) -> Vec<ChaincodeCall> {
        let call = || ChaincodeCall { name: namespace.to_owned(), ..ChaincodeCall::default() };
        let mut key_policies = Some(self.key_policies);
        let calls = self.parts.into_iter().filter_map(|(collection, is_needed)| {
            if !collection.is_empty() {
                let no_private_reads = !simulation.private_reads.contains(&(namespace.to_owned(), collection.clone()));
                return Some(ChaincodeCall { collection_names: vec![collection], no_private_reads, ..call() });
            }
            let key_policies = key_policies.take().unwrap_or_default();
            let disregard_namespace_policy = !is_needed;
            match is_needed || !key_policies.is_empty() {
                true => Some(ChaincodeCall { key_policies, disregard_namespace_policy, ..call() }),
                false => None,
            }
        });
        calls.collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ripstop_ledger::Metadata;
    use ripstop_msp::policy_text;
    use ripstop_proto::rwset::{NsReadWriteSet, TxReadWriteSet};

    use super::*;

    fn written(namespace: &str, collection: Option<&str>, key: &str, policy: Option<&str>) -> WrittenKey {
        let policy = policy.map(|text| match text {
            "" => Bytes::new(),
            text => policy_text::parse(text).unwrap().encode_to_vec().into(),
        });
        let metadata = policy.map(|policy| Metadata::from([("VALIDATION_PARAMETER".to_owned(), policy)]));
        WrittenKey {
            namespace: namespace.to_owned(),
            collection: collection.map(str::to_owned),
            key: key.to_owned(),
            metadata: metadata.unwrap_or_default(),
        }
    }

    fn simulation(touched: &[&str], written_keys: Vec<WrittenKey>) -> SimulationResult {
        let set = |namespace: &&str| NsReadWriteSet { namespace: (*namespace).to_owned(), ..NsReadWriteSet::default() };
        let read_write_set = TxReadWriteSet { data_model: 0, ns_rwset: touched.iter().map(set).collect() };
        SimulationResult { read_write_set, private: None, written_keys, private_reads: Default::default() }
    }

    /// Name, count of key policies, whether the chaincode's policy does not matter, collection.
    fn calls(simulation: &SimulationResult) -> Vec<(String, usize, bool, String)> {
        let calls = interest(simulation).unwrap().chaincodes.into_iter();
        calls
            .map(|call| {
                let collection = call.collection_names.first().cloned().unwrap_or_default();
                (call.name, call.key_policies.len(), call.disregard_namespace_policy, collection)
            })
            .collect()
    }

    fn call(name: &str, policies: usize, disregards: bool, collection: &str) -> (String, usize, bool, String) {
        (name.to_owned(), policies, disregards, collection.to_owned())
    }

    #[test]
    fn reads_and_plain_writes_ask_for_the_chaincodes_policy() {
        let keys = vec![written("b", None, "k", None), written("b", None, "l", Some(""))];
        let simulation = simulation(&["_lifecycle", "a", "b"], keys);
        assert_eq!(calls(&simulation), [call("a", 0, false, ""), call("b", 0, false, "")]);
    }

    #[test]
    fn keys_with_a_policy_take_the_place_of_the_chaincodes_if_all_have_one() {
        let one = || written("a", None, "k", Some("OR('A.peer')"));
        let same = written("a", None, "l", Some("OR('A.peer')"));
        let other = written("a", None, "m", Some("OR('B.peer')"));
        let all = simulation(&["a"], vec![one(), same, other]);
        assert_eq!(calls(&all), [call("a", 2, true, "")]);
        let not_all = simulation(&["a"], vec![one(), written("a", None, "n", None)]);
        assert_eq!(calls(&not_all), [call("a", 1, false, "")]);
    }

    #[test]
    fn collections_stand_by_themselves() {
        let mut simulation = simulation(&["a"], vec![written("a", Some("c"), "k", None)]);
        simulation.private_reads.insert(("a".to_owned(), "d".to_owned()));
        assert_eq!(calls(&simulation), [call("a", 0, false, "c"), call("a", 0, false, "d")]);
        let chaincodes = interest(&simulation).unwrap().chaincodes;
        assert_eq!([chaincodes[0].no_private_reads, chaincodes[1].no_private_reads], [true, false]);
        simulation.written_keys = vec![written("a", Some("c"), "k", Some("OR('A.peer')"))];
        assert_eq!(calls(&simulation), [call("a", 1, true, ""), call("a", 0, false, "d")]);
    }

    #[test]
    fn a_policy_that_does_not_decode_is_named() {
        let mut key = written("a", None, "k", None);
        key.metadata.insert("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"\xff\xff"));
        let error = interest(&simulation(&["a"], vec![key])).unwrap_err();
        assert!(error.starts_with("the endorsement policy of key \"k\" of chaincode a does not decode"), "{error}");
    }
}
