//! A group of the configuration tree with its path, for reading its values.

use prost::Message;
use ripstop_proto::common::ConfigGroup;

use crate::config_error::ConfigError;

/// A group and where it stands.
pub(crate) struct Group<'a> {
    pub(crate) path: String,
    pub(crate) group: &'a ConfigGroup,
}

impl<'a> Group<'a> {
    /// The group at `path`, whose values all have one of the `known` keys.
    pub(crate) fn new(path: String, group: &'a ConfigGroup, known: &[&str]) -> Result<Self, ConfigError> {
        match group.values.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ConfigError::UnexpectedValue { path, key: key.clone() }),
            None => Ok(Self { path, group }),
        }
    }

    /// Whether the value is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.group.values.contains_key(key)
    }

    /// The value under `key`; an absent one is the empty message, as in Fabric.
    pub(crate) fn value<M: Message + Default>(&self, key: &str) -> Result<M, ConfigError> {
        let Some(value) = self.group.values.get(key) else { return Ok(M::default()) };
        M::decode(value.value.clone()).map_err(|cause| ConfigError::Undecodable { path: self.at(key), cause })
    }

    /// The path of an element of this group.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.path)
    }

    /// The organizations below this group, which have no groups of their own.
    pub(crate) fn organizations(
        &self,
        known: &'static [&'static str],
    ) -> Result<Vec<(&'a str, Group<'a>)>, ConfigError> {
        let organization = |(name, group): (&'a String, &'a ConfigGroup)| {
            let path = self.at(name);
            if let Some(inner) = group.groups.keys().next() {
                return Err(ConfigError::Group(format!("{path}/{inner}")));
            }
            Ok((name.as_str(), Group::new(path, group, known)?))
        };
        self.group.groups.iter().map(organization).collect()
    }
}
