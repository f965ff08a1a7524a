//! Endorsement policies of chaincode definitions and collections, resolved in a channel.

use std::sync::Arc;

use prost::Message;
use ripstop_msp::Identity;
use ripstop_msp::signature_policy::{CompileError, PolicyFailure, SignaturePolicy};
use ripstop_proto::protos::ApplicationPolicy;
use ripstop_proto::protos::application_policy::Type;

use crate::channel_config::ChannelConfig;
use crate::layout::{self, Layout};
use crate::policy::PolicyError;

/// A validation parameter that can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedPolicy {
    /// A policy written out in the parameter.
    Signature(SignaturePolicy),
    /// The path of a policy in the channel's configuration.
    Channel(String),
}

/// Why an endorsement policy is not satisfied, or cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationPolicyError {
    /// The parameter is no `ApplicationPolicy`.
    #[error("endorsement policy does not decode: {0}")]
    Undecodable(prost::DecodeError),
    /// The parameter holds neither form.
    #[error("endorsement policy has no content: write a signature policy or refer to a policy of the channel")]
    Empty,
    /// The written policy does not compile.
    #[error("endorsement policy does not compile: {0}")]
    Compile(#[from] CompileError),
    /// The written policy is not satisfied.
    #[error(transparent)]
    Signature(#[from] PolicyFailure),
    /// The channel's policy is missing or not satisfied.
    #[error(transparent)]
    Channel(#[from] PolicyError),
}

impl ResolvedPolicy {
    pub(crate) fn read(validation_parameter: &[u8], config: &ChannelConfig) -> Result<Self, ApplicationPolicyError> {
        let policy = ApplicationPolicy::decode(validation_parameter).map_err(ApplicationPolicyError::Undecodable)?;
        match policy.r#type.ok_or(ApplicationPolicyError::Empty)? {
            Type::SignaturePolicy(policy) => Ok(Self::Signature(SignaturePolicy::compile(&policy)?)),
            Type::ChannelConfigPolicyReference(path) if config.policy(&path).is_some() => Ok(Self::Channel(path)),
            Type::ChannelConfigPolicyReference(path) => Err(PolicyError::NoSuchPolicy(path).into()),
        }
    }

    /// Evaluates over identities whose signatures were checked, in signature order and
    /// without duplicates. A channel's policy is the one of `config`.
    ///
    /// # Errors
    /// Says what is needed and who signed.
    pub fn evaluate_identities(
        &self,
        config: &ChannelConfig,
        identities: &[Arc<Identity>],
    ) -> Result<(), ApplicationPolicyError> {
        match self {
            Self::Signature(policy) => Ok(policy.evaluate_identities(identities)?),
            Self::Channel(path) => Ok(config.check_identities(path, identities)?),
        }
    }

    /// For planning: how many peers of which organizations satisfy the policy, fewest
    /// first; none when peers alone cannot.
    pub fn endorsing_organizations(&self, config: &ChannelConfig) -> Vec<Layout> {
        match self {
            Self::Signature(policy) => layout::of_signature_policy(policy),
            Self::Channel(path) => config.layouts(path),
        }
    }
}
