//! Why a configuration is refused.

use ripstop_msp::SetupError;
use ripstop_msp::signature_policy::CompileError;
use ripstop_proto::config::ConfigBlockError;

/// Why a configuration is refused; `path` is the element's place, such as
/// `/Channel/Orderer/BatchSize`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The block carries no configuration.
    #[error(transparent)]
    Block(#[from] ConfigBlockError),
    /// The configuration has no channel group.
    #[error("the configuration has no channel group")]
    NoChannelGroup,
    /// The channel id breaks the rules for names.
    #[error(
        "channel id '{0}' is not allowed: lower case letters, digits, '.' and '-', beginning with a letter, at most 249 bytes"
    )]
    ChannelId(String),
    /// A key of the configuration tree breaks the rules for names.
    #[error(
        "'{key}' in {path} is no name for a configuration element: letters, digits, '.' and '-', at most 249 bytes"
    )]
    Key {
        /// The group.
        path: String,
        /// The key.
        key: String,
    },
    /// A group that has no place there.
    #[error("group {0} is not allowed in a channel's configuration")]
    Group(String),
    /// A value that has no place there.
    #[error("unexpected key '{key}' in {path}")]
    UnexpectedValue {
        /// The group.
        path: String,
        /// The key.
        key: String,
    },
    /// A value that is not the message it should be.
    #[error("{path} does not decode: {cause}")]
    Undecodable {
        /// The value.
        path: String,
        /// What the decoder says.
        cause: prost::DecodeError,
    },
    /// A value that is not allowed.
    #[error("{path}: {reason}")]
    Value {
        /// The value.
        path: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The configuration demands something that this program does not have.
    #[error(
        "{path} demands capability {capability}, which this program does not know (it knows {known}); a newer version is needed"
    )]
    UnknownCapability {
        /// The group.
        path: String,
        /// The unknown capability.
        capability: String,
        /// Those that are known.
        known: String,
    },
    /// The configuration is of an older kind than this program handles.
    #[error("{path} has capability level {level}; this program needs {needed} or later")]
    OldCapability {
        /// The group.
        path: String,
        /// The level that is set.
        level: String,
        /// The lowest one that is handled.
        needed: &'static str,
    },
    /// An organization's MSP cannot be set up.
    #[error("the MSP of {path} cannot be set up: {cause}")]
    Msp {
        /// The organization's group.
        path: String,
        /// What is wrong.
        cause: SetupError,
    },
    /// Two organizations share an MSP id, but not the MSP.
    #[error("MSP {msp_id} is defined twice with different contents, the second time in {path}")]
    TwoMsps {
        /// The organization's group.
        path: String,
        /// The MSP.
        msp_id: String,
    },
    /// A policy is missing its content, or is of an unknown kind.
    #[error("policy {path}: {reason}")]
    Policy {
        /// The policy.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A signature policy that cannot be evaluated.
    #[error("policy {path} does not compile: {cause}")]
    SignaturePolicy {
        /// The policy.
        path: String,
        /// What is wrong.
        cause: CompileError,
    },
}

impl ConfigError {
    pub(crate) fn value(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { path: path.into(), reason: reason.into() }
    }
}
