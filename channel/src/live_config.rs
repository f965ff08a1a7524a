//! The configuration in force.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::channel_config::ChannelConfig;

/// A channel's configuration, replaced as a whole. Take [`LiveConfig::current`] once per
/// request or block: what was taken does not change.
pub struct LiveConfig(ArcSwap<ChannelConfig>);

impl LiveConfig {
    /// Begins with `config`.
    pub fn new(config: ChannelConfig) -> Self {
        Self(ArcSwap::from_pointee(config))
    }

    /// The configuration in force now.
    pub fn current(&self) -> Arc<ChannelConfig> {
        self.0.load_full()
    }

    /// Puts another configuration in force, for all that ask from now on.
    pub fn replace(&self, config: ChannelConfig) {
        self.0.store(Arc::new(config));
    }
}
