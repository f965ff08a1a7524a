//! The policies of a configuration, by path.
//!
//! A policy is a signature policy or an implicit meta policy. The latter counts how many
//! child groups' policies of one name are satisfied, each of them judging all signatures;
//! a child group without that policy counts as one that is never satisfied. With no child
//! groups it is satisfied. Sources: Fabric `common/policies/{policy,implicitmeta}.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use ripstop_msp::Identity;
use ripstop_msp::signature_policy::{PolicyFailure, SignaturePolicy};
use ripstop_proto::common::implicit_meta_policy::Rule;
use ripstop_proto::common::policy::PolicyType;
use ripstop_proto::common::{ConfigGroup, ConfigPolicy, ImplicitMetaPolicy, SignaturePolicyEnvelope};

use crate::config_error::ConfigError;
use crate::layout::{self, Layout};

/// Path of the root group.
pub(crate) const ROOT: &str = "/Channel";

/// A compiled policy of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Decided by signatures directly.
    Signature(SignaturePolicy),
    /// Decided by the child groups' policies.
    ImplicitMeta {
        /// How many of the members have to be satisfied.
        threshold: usize,
        /// Paths of the child groups' policies; one may be of a policy that is not there.
        members: Vec<String>,
        /// Name of the policy in the child groups.
        sub_policy: String,
    },
}

/// A policy is not satisfied, or not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The configuration has no policy at this path.
    #[error("no such policy: '{0}'")]
    NoSuchPolicy(String),
    /// The signatures are not enough.
    #[error("policy {path}: {failure}")]
    Signature {
        /// The policy.
        path: String,
        /// What is needed and who signed.
        failure: PolicyFailure,
    },
    /// Too few child groups' policies are satisfied.
    #[error(
        "policy {path}: implicit policy evaluation failed - {satisfied} sub-policies were satisfied, \
         but this policy requires {threshold} of the '{sub_policy}' sub-policies to be satisfied; signed: [{}]",
        signers.join(", ")
    )]
    ImplicitMeta {
        /// The policy.
        path: String,
        /// How many were.
        satisfied: usize,
        /// How many have to be.
        threshold: usize,
        /// Their name.
        sub_policy: String,
        /// `MSP id (common name)` of everyone whose signature was good.
        signers: Vec<String>,
    },
}

/// All policies of a configuration.
#[derive(Debug)]
pub(crate) struct Policies(BTreeMap<String, Policy>);

impl Policies {
    pub(crate) fn read(channel: &ConfigGroup) -> Result<Self, ConfigError> {
        let mut policies = BTreeMap::new();
        read_group(ROOT, channel, &mut policies)?;
        Ok(Self(policies))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Policy> {
        match path {
            "" => None,
            absolute if absolute.starts_with('/') => self.0.get(absolute),
            relative => self.0.get(&format!("{ROOT}/{relative}")),
        }
    }

    pub(crate) fn evaluate(&self, path: &str, identities: &[Arc<Identity>]) -> Result<(), PolicyError> {
        let policy = self.get(path).ok_or_else(|| PolicyError::NoSuchPolicy(path.to_owned()))?;
        let (threshold, members, sub_policy) = match policy {
            Policy::Signature(policy) => {
                return policy
                    .evaluate_identities(identities)
                    .map_err(|failure| PolicyError::Signature { path: path.to_owned(), failure });
            }
            Policy::ImplicitMeta { threshold, members, sub_policy } => (*threshold, members, sub_policy),
        };
        let satisfied =
            members.iter().filter(|member| self.evaluate(member, identities).is_ok()).take(threshold).count();
        if satisfied >= threshold {
            return Ok(());
        }
        let signer =
            |identity: &Arc<Identity>| format!("{} ({})", identity.msp_id(), identity.certificate().common_name());
        Err(PolicyError::ImplicitMeta {
            path: path.to_owned(),
            satisfied,
            threshold,
            sub_policy: sub_policy.clone(),
            signers: identities.iter().map(signer).collect(),
        })
    }

    pub(crate) fn layouts(&self, path: &str) -> Vec<Layout> {
        match self.get(path) {
            None => Vec::new(),
            Some(Policy::Signature(policy)) => layout::of_signature_policy(policy),
            Some(Policy::ImplicitMeta { threshold, members, .. }) => {
                let parts: Vec<Vec<Layout>> = members.iter().map(|member| self.layouts(member)).collect();
                layout::out_of(*threshold, &parts)
            }
        }
    }
}

fn read_group(path: &str, group: &ConfigGroup, policies: &mut BTreeMap<String, Policy>) -> Result<(), ConfigError> {
    for (name, child) in &group.groups {
        read_group(&format!("{path}/{name}"), child, policies)?;
    }
    for (name, policy) in &group.policies {
        let policy_path = format!("{path}/{name}");
        let policy = read_policy(path, &policy_path, policy, group)?;
        policies.insert(policy_path, policy);
    }
    Ok(())
}

fn read_policy(
    group_path: &str,
    path: &str,
    policy: &ConfigPolicy,
    group: &ConfigGroup,
) -> Result<Policy, ConfigError> {
    let refuse = |reason: &str| ConfigError::Policy { path: path.to_owned(), reason: reason.to_owned() };
    let undecodable = |cause| ConfigError::Undecodable { path: path.to_owned(), cause };
    let policy = policy.policy.as_ref().ok_or_else(|| refuse("it has no content"))?;
    match PolicyType::try_from(policy.r#type) {
        Ok(PolicyType::Signature) => {
            let envelope = SignaturePolicyEnvelope::decode(policy.value.clone()).map_err(undecodable)?;
            let compiled = SignaturePolicy::compile_version_0(&envelope)
                .map_err(|cause| ConfigError::SignaturePolicy { path: path.to_owned(), cause })?;
            Ok(Policy::Signature(compiled))
        }
        Ok(PolicyType::ImplicitMeta) => {
            let meta = ImplicitMetaPolicy::decode(policy.value.clone()).map_err(undecodable)?;
            let rule = Rule::try_from(meta.rule).map_err(|_| refuse("its rule is none of ANY, ALL and MAJORITY"))?;
            let members: Vec<String> =
                group.groups.keys().map(|child| format!("{group_path}/{child}/{}", meta.sub_policy)).collect();
            let threshold = threshold(rule, members.len());
            Ok(Policy::ImplicitMeta { threshold, members, sub_policy: meta.sub_policy })
        }
        _ => Err(refuse("its type is neither SIGNATURE nor IMPLICIT_META")),
    }
}

fn threshold(rule: Rule, member_count: usize) -> usize {
    match (rule, member_count) {
        (_, 0) => 0,
        (Rule::Any, _) => 1,
        (Rule::All, count) => count,
        (Rule::Majority, count) => count / 2 + 1,
    }
}
