//! What a channel is: its configuration, its policies and access rules, its genesis block.
//!
//! A [`ChannelConfig`] is one configuration as typed, checked and immutable values: a
//! request or a block takes one and sees nothing change under it. A [`LiveConfig`] holds
//! the one in force, which a configuration block replaces as a whole. [`genesis`] makes a
//! channel's first block.
//!
//! This room never knows a ledger or a transport: it gets configuration as messages and
//! answers questions about it.
//!
//! Read next: [`ChannelConfig`], then [`Policy`], then [`genesis`].

mod channel_config;
mod config_error;
mod config_group;
mod live_config;
mod names;

mod capabilities;

mod application;
mod orderer;

mod acl;
mod application_policy;
mod block_signatures;
pub mod layout;
mod policy;

pub mod go_duration;

pub mod genesis;

pub use application::{ApplicationConfig, ApplicationOrganization};
pub use application_policy::{ApplicationPolicyError, ResolvedPolicy};
pub use block_signatures::BlockSignatureError;
pub use capabilities::{ApplicationLevel, Capabilities, ChannelLevel, OrdererLevel};
pub use channel_config::ChannelConfig;
pub use config_error::ConfigError;
pub use layout::Layout;
pub use live_config::LiveConfig;
pub use orderer::{
    BatchSize, CONSENSUS_ETCDRAFT, Consenter, OrdererConfig, OrdererOrganization, RaftConfig, RaftOptions,
};
pub use policy::{Policy, PolicyError};
