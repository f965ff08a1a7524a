//! Which rule governs a written key, and what the rule demands.
//!
//! A rule is an endorsement policy with the place it comes from: the metadata of the key
//! itself, the definition of a chaincode, one of its collections, an organization's
//! implicit collection, or the channel's policy for `_lifecycle`. Rules are read from the
//! state before the block and from the configuration in force, once per block.
//! It does not know what a signature is: `endorsers` tells who validly signed.
//! Sources: Fabric `core/common/validation/statebased/{validator_keylevel,v20}.go`,
//! `core/chaincode/lifecycle/deployedcc_infoprovider.go`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use prost::Message;
use ripstop_channel::{ChannelConfig, Layout, ResolvedPolicy};
use ripstop_ledger::StateView;
use ripstop_msp::policy_text;
use ripstop_msp::signature_policy::SignaturePolicy;
use ripstop_proto::common::SignaturePolicyEnvelope;
use ripstop_proto::common::msp_role::MspRoleType;
use ripstop_proto::protos::{ApplicationPolicy, MetaDataKeys, TxValidationCode, application_policy, collection_config};

use super::endorsers::Endorsers;
use super::invocation::WrittenKey;
use super::refused::Refused;
use super::{Halt, Stop};
use crate::lifecycle::definition::{self, Definition, LIFECYCLE_ENDORSEMENT};
use crate::lifecycle::{self, implicit_collection};

/// The only validation plugin there is: this validator.
const PLUGIN: &str = "vscc";

/// The rules of every namespace that a block touches.
pub(super) struct EndorsementRules<'a> {
    config: &'a ChannelConfig,
    state: &'a StateView,
    of_namespace: RwLock<HashMap<String, Option<Arc<NamespaceRules>>>>,
    /// By the bytes of the key's policy: many keys have the same one.
    of_key: RwLock<HashMap<Bytes, Arc<Rule>>>,
}

/// The rules of one namespace.
pub(super) struct NamespaceRules {
    /// Governs public keys and collections without a rule of their own.
    pub(super) chaincode: Arc<Rule>,
    /// By collection; `None` where the chaincode's rule governs.
    collections: BTreeMap<String, Option<Arc<Rule>>>,
}

/// An endorsement policy and how it is called.
pub(super) struct Rule {
    /// As `why` prints it.
    text: String,
    /// A policy that cannot be resolved is one that nobody satisfies.
    policy: Result<ResolvedPolicy, String>,
}

impl<'a> EndorsementRules<'a> {
    pub(super) fn new(config: &'a ChannelConfig, state: &'a StateView) -> Self {
        Self { config, state, of_namespace: RwLock::default(), of_key: RwLock::default() }
    }

    /// The rules of `namespace`; a namespace without definition refuses the transaction.
    pub(super) fn of_namespace(&self, namespace: &str) -> Result<Arc<NamespaceRules>, Stop> {
        let known = self.of_namespace.read().get(namespace).cloned();
        let rules = match known {
            Some(rules) => rules,
            None => {
                let rules = self.read(namespace)?.map(Arc::new);
                self.of_namespace.write().insert(namespace.to_owned(), rules.clone());
                rules
            }
        };
        rules.ok_or_else(|| {
            Refused::new(
                TxValidationCode::InvalidChaincode,
                format!("chaincode {namespace:?} has no usable definition on this channel"),
            )
            .at(namespace, None, &[])
            .into()
        })
    }

    /// The rule that governs one written key; the single place that decides it. A policy of
    /// the key itself takes the place of all others.
    pub(super) fn rule_for(
        &self,
        rules: &NamespaceRules,
        namespace: &str,
        written: WrittenKey<'_>,
    ) -> Result<Arc<Rule>, Stop> {
        match self.of_key(namespace, written)? {
            Some(rule) => Ok(rule),
            None => Ok(rules.of_collection(namespace, written.collection)?),
        }
    }

    /// The rule in the key's metadata; an empty policy is none.
    fn of_key(&self, namespace: &str, written: WrittenKey<'_>) -> Result<Option<Arc<Rule>>, Halt> {
        let metadata = self.state.metadata(namespace, written.collection, written.key).map_err(Halt::ledger)?;
        let policy = metadata.get(MetaDataKeys::ValidationParameter.as_str_name()).filter(|policy| !policy.is_empty());
        let Some(policy) = policy else { return Ok(None) };
        if let Some(known) = self.of_key.read().get(policy) {
            return Ok(Some(Arc::clone(known)));
        }
        let rule = Arc::new(Rule::of_key(self.config, policy));
        Ok(Some(Arc::clone(self.of_key.write().entry(policy.clone()).or_insert(rule))))
    }

    fn read(&self, namespace: &str) -> Result<Option<NamespaceRules>, Halt> {
        if namespace == lifecycle::NAMESPACE {
            let chaincode = Arc::new(lifecycle_rule(self.config));
            return Ok(Some(NamespaceRules { chaincode, collections: self.implicit_collections() }));
        }
        let Some(definition) = definition::committed(self.state, namespace).map_err(Halt::ledger)? else {
            return Ok(None);
        };
        if definition.validation_plugin.is_empty() || definition.validation_parameter.is_empty() {
            return Ok(None);
        }
        if definition.validation_plugin != PLUGIN {
            return Err(Halt::UnknownPlugin { namespace: namespace.to_owned(), plugin: definition.validation_plugin });
        }
        let mut collections = static_collections(self.config, &definition);
        collections.extend(self.implicit_collections());
        let chaincode = Arc::new(Rule::new(self.config, &definition.validation_parameter));
        Ok(Some(NamespaceRules { chaincode, collections }))
    }

    fn implicit_collections(&self) -> BTreeMap<String, Option<Arc<Rule>>> {
        let Some(application) = self.config.application() else { return BTreeMap::new() };
        let organizations = application.organizations.iter();
        organizations
            .map(|organization| {
                let rule = implicit_collection_rule(self.config, &organization.name, &organization.msp_id);
                (implicit_collection::name_of(&organization.msp_id), Some(Arc::new(rule)))
            })
            .collect()
    }
}

impl NamespaceRules {
    /// The rule that governs a collection's keys, or the public ones.
    fn of_collection(&self, namespace: &str, collection: Option<&str>) -> Result<Arc<Rule>, Refused> {
        let Some(collection) = collection else { return Ok(Arc::clone(&self.chaincode)) };
        match self.collections.get(collection) {
            Some(rule) => Ok(Arc::clone(rule.as_ref().unwrap_or(&self.chaincode))),
            None => Err(Refused::by_rule(
                format!("chaincode {namespace:?} has no collection {collection:?}"),
                "",
                Vec::new(),
                Vec::new(),
            )),
        }
    }
}

impl Rule {
    /// The rule in a definition: a marshalled `ApplicationPolicy`.
    fn new(config: &ChannelConfig, application_policy: &[u8]) -> Self {
        Self {
            text: describe(application_policy),
            policy: config.application_policy(application_policy).map_err(|error| error.to_string()),
        }
    }

    /// The rule in the metadata of a key: a marshalled `SignaturePolicyEnvelope`. Nothing
    /// checked the bytes when they were set, so any may stand there. Fabric stops the channel
    /// at bytes that do not decode; here nobody satisfies them.
    fn of_key(config: &ChannelConfig, policy: &[u8]) -> Self {
        match SignaturePolicyEnvelope::decode(policy) {
            Ok(policy) => Self::signature_policy(config, policy),
            Err(error) => {
                Self { text: "(a policy of the key that does not decode)".to_owned(), policy: Err(error.to_string()) }
            }
        }
    }

    fn signature_policy(config: &ChannelConfig, policy: SignaturePolicyEnvelope) -> Self {
        let policy = application_policy::Type::SignaturePolicy(policy);
        Self::new(config, &ApplicationPolicy { r#type: Some(policy) }.encode_to_vec())
    }

    fn channel(config: &ChannelConfig, path: &str) -> Self {
        let reference = application_policy::Type::ChannelConfigPolicyReference(path.to_owned());
        Self::new(config, &ApplicationPolicy { r#type: Some(reference) }.encode_to_vec())
    }

    fn members(config: &ChannelConfig, needed: usize, msp_ids: &[&str]) -> Self {
        Self::signature_policy(config, members_policy(needed, msp_ids))
    }

    /// Whether the endorsers satisfy the rule.
    pub(super) fn check(&self, config: &ChannelConfig, endorsers: &Endorsers) -> Result<(), Refused> {
        let missing = || self.missing(config, endorsers);
        let refuse = |text: String| Refused::by_rule(text, &self.text, endorsers.msp_ids(), missing());
        let policy = self
            .policy
            .as_ref()
            .map_err(|error| refuse(format!("endorsement policy {} cannot be evaluated: {error}", self.text)))?;
        policy.evaluate_identities(config, &endorsers.identities).map_err(|failure| {
            refuse(format!("endorsement policy {} is not satisfied: {failure}; {}", self.text, endorsers.describe()))
        })
    }

    /// The organizations whose peers' endorsements are still missing, by the way to satisfy
    /// the rule that needs the fewest more. Empty when no number of peers is enough, or when
    /// something else than a peer's endorsement is missing.
    fn missing(&self, config: &ChannelConfig, endorsers: &Endorsers) -> Vec<String> {
        let Ok(policy) = &self.policy else { return Vec::new() };
        let lacking = |layout: Layout| -> Layout {
            let lacks = |(msp_id, needed): (String, usize)| {
                let count = needed.saturating_sub(endorsers.peers_of(&msp_id));
                (count > 0).then_some((msp_id, count))
            };
            layout.into_iter().filter_map(lacks).collect()
        };
        let ways = policy.endorsing_organizations(config).into_iter().map(lacking);
        let fewest = ways.min_by_key(|lacking| lacking.values().sum::<usize>());
        fewest.unwrap_or_default().into_keys().collect()
    }
}

/// `_lifecycle` itself: the channel's policy, or a majority of the organizations.
fn lifecycle_rule(config: &ChannelConfig) -> Rule {
    if config.policy(LIFECYCLE_ENDORSEMENT).is_some() {
        return Rule::channel(config, LIFECYCLE_ENDORSEMENT);
    }
    let msp_ids: Vec<&str> = config
        .application()
        .map(|application| application.organizations.iter().map(|organization| organization.msp_id.as_str()).collect())
        .unwrap_or_default();
    Rule::members(config, msp_ids.len() / 2 + 1, &msp_ids)
}

/// An organization's implicit collection: its own policy, or any of its members.
fn implicit_collection_rule(config: &ChannelConfig, group: &str, msp_id: &str) -> Rule {
    let path = format!("/Channel/Application/{group}/Endorsement");
    if config.policy(&path).is_some() { Rule::channel(config, &path) } else { Rule::members(config, 1, &[msp_id]) }
}

/// By name; of two collections with one name the first counts.
fn static_collections(config: &ChannelConfig, definition: &Definition) -> BTreeMap<String, Option<Arc<Rule>>> {
    let mut rules = BTreeMap::new();
    for collection in &definition.collections.config {
        let Some(collection_config::Payload::StaticCollectionConfig(collection)) = &collection.payload else {
            continue;
        };
        rules.entry(collection.name.clone()).or_insert_with(|| {
            let policy = collection.endorsement_policy.as_ref();
            policy.map(|policy| Arc::new(Rule::new(config, &policy.encode_to_vec())))
        });
    }
    rules
}

fn members_policy(needed: usize, msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    let rules = (0..msp_ids.len()).map(|index| policy_text::signed_by(index as i32)).collect();
    SignaturePolicyEnvelope {
        version: 0,
        rule: Some(policy_text::n_out_of(needed as i32, rules)),
        identities: msp_ids.iter().map(|msp_id| policy_text::role_principal(msp_id, MspRoleType::Member)).collect(),
    }
}

/// A marshalled `ApplicationPolicy` in words: the text of the policy, or the path of
/// the channel's policy.
fn describe(application_policy: &[u8]) -> String {
    match ApplicationPolicy::decode(application_policy).map(|policy| policy.r#type) {
        Ok(Some(application_policy::Type::SignaturePolicy(policy))) => SignaturePolicy::compile(&policy).map_or_else(
            |error| format!("(a signature policy that does not compile: {error})"),
            |policy| policy.to_string(),
        ),
        Ok(Some(application_policy::Type::ChannelConfigPolicyReference(path))) => path,
        Ok(None) | Err(_) => "(no application policy)".to_owned(),
    }
}
