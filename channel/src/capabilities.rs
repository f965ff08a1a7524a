//! What a configuration demands of the programs that take part in the channel.
//!
//! Each of the three groups names capabilities; the highest one it names is its level,
//! and a level includes those below it. A name that this program does not know means that
//! the channel may follow rules it does not have, so the configuration is refused.

use ripstop_msp::MspVersion;
use ripstop_proto::common::{Capabilities as CapabilitiesValue, ConfigGroup};

use crate::config_error::ConfigError;
use crate::config_group::Group;

/// Key of the value in each of the three groups.
pub(crate) const KEY: &str = "Capabilities";

macro_rules! levels {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// No capability is named.
            None,
            $(#[doc = concat!("`", $text, "`.")] $variant),+
        }

        impl $name {
            const KNOWN: &'static [(&'static str, Self)] = &[$(($text, Self::$variant)),+];

            /// The name as the configuration writes it; empty for no capability.
            pub fn name(self) -> &'static str {
                Self::KNOWN.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
            }

            fn read(group: &Group<'_>) -> Result<Self, ConfigError> {
                highest(group, Self::KNOWN).map(|level| level.unwrap_or(Self::None))
            }
        }
    };
}

levels! {
    /// Level of the channel group: rules that orderers and peers share.
    ChannelLevel { V1_1 = "V1_1", V1_3 = "V1_3", V1_4_2 = "V1_4_2", V1_4_3 = "V1_4_3", V2_0 = "V2_0", V3_0 = "V3_0" }
}
levels! {
    /// Level of the orderer group.
    OrdererLevel { V1_1 = "V1_1", V1_4_2 = "V1_4_2", V2_0 = "V2_0" }
}
levels! {
    /// Level of the application group: rules of peers.
    ApplicationLevel { V1_1 = "V1_1", V1_2 = "V1_2", V1_3 = "V1_3", V1_4_2 = "V1_4_2", V2_0 = "V2_0", V2_5 = "V2_5" }
}

/// The levels of a channel's three groups; an absent group has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Of the channel group.
    pub channel: ChannelLevel,
    /// Of the orderer group.
    pub orderer: OrdererLevel,
    /// Of the application group.
    pub application: ApplicationLevel,
}

impl ChannelLevel {
    /// The rules for MSPs under this level.
    ///
    /// # Errors
    /// Levels below V1_4_3 have other MSP rules, which are not built here.
    pub(crate) fn msp_version(self) -> Result<MspVersion, ConfigError> {
        match self {
            Self::V3_0 => Ok(MspVersion::V3_0),
            Self::V1_4_3 | Self::V2_0 => Ok(MspVersion::V1_4_3),
            Self::None | Self::V1_1 | Self::V1_3 | Self::V1_4_2 => Err(ConfigError::OldCapability {
                path: "/Channel".to_owned(),
                level: if self == Self::None { "none".to_owned() } else { self.name().to_owned() },
                needed: Self::V1_4_3.name(),
            }),
        }
    }
}

impl Capabilities {
    pub(crate) fn read(
        channel: &Group<'_>,
        orderer: Option<&Group<'_>>,
        application: Option<&Group<'_>>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            channel: ChannelLevel::read(channel)?,
            orderer: orderer.map_or(Ok(OrdererLevel::None), OrdererLevel::read)?,
            application: application.map_or(Ok(ApplicationLevel::None), ApplicationLevel::read)?,
        })
    }
}

/// Capabilities of the channel or of applications need those of orderers to be on: a rule
/// from the time when capabilities were new.
pub(crate) fn check_order(channel: &ConfigGroup) -> Result<(), ConfigError> {
    let Some(orderer) = channel.groups.get(crate::orderer::GROUP) else { return Ok(()) };
    let application = channel.groups.get(crate::application::GROUP);
    let named = |group: &ConfigGroup| group.values.contains_key(KEY);
    if !named(orderer) && (named(channel) || application.is_some_and(named)) {
        let reason = "channel and application capabilities need orderer capabilities to be set first";
        return Err(ConfigError::value("/Channel/Orderer/Capabilities", reason));
    }
    Ok(())
}

fn highest<L: Copy + Ord>(group: &Group<'_>, known: &[(&'static str, L)]) -> Result<Option<L>, ConfigError> {
    let value: CapabilitiesValue = group.value(KEY)?;
    let mut highest = None;
    for name in value.capabilities.keys() {
        let Some((_, level)) = known.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(ConfigError::UnknownCapability {
                path: group.path.clone(),
                capability: name.clone(),
                known: known.join(", "),
            });
        };
        highest = highest.max(Some(*level));
    }
    Ok(highest)
}
