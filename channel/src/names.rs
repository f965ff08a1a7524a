//! Names of channels and of configuration elements.

use ripstop_proto::common::ConfigGroup;

use crate::config_error::ConfigError;

const LENGTH_MAX: usize = 249;

/// `[a-z][a-z0-9.-]{0,248}`.
pub(crate) fn check_channel_id(channel_id: &str) -> Result<(), ConfigError> {
    let rest_allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
    let allowed = channel_id.len() <= LENGTH_MAX
        && channel_id.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && channel_id.bytes().all(rest_allowed);
    if allowed { Ok(()) } else { Err(ConfigError::ChannelId(channel_id.to_owned())) }
}

/// Checks the keys of a group and of all groups below it.
pub(crate) fn check_keys(path: &str, group: &ConfigGroup) -> Result<(), ConfigError> {
    for key in group.groups.keys().chain(group.values.keys()).chain(group.policies.keys()) {
        check_key(path, key)?;
    }
    group.groups.iter().try_for_each(|(key, child)| check_keys(&format!("{path}/{key}"), child))
}

fn check_key(path: &str, key: &str) -> Result<(), ConfigError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'.' || c == b'-';
    let allowed = (1..=LENGTH_MAX).contains(&key.len()) && key.bytes().all(plain) && key != "." && key != "..";
    if allowed { Ok(()) } else { Err(ConfigError::Key { path: path.to_owned(), key: key.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_ids_are_lower_case_and_begin_with_a_letter() {
        for good in ["a", "mychannel", "a.b-c9", &"x".repeat(249)] {
            assert!(check_channel_id(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "9a", ".a", "a_b", "a/b", "ä", &"x".repeat(250)] {
            assert!(check_channel_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_checked_at_every_depth() {
        let mut root = ConfigGroup::default();
        let mut child = ConfigGroup::default();
        child.values.insert("Endpoints".into(), Default::default());
        root.groups.insert("Org.1-MSP".into(), child.clone());
        assert!(check_keys("/Channel", &root).is_ok());
        for bad in ["", ".", "..", "a b", "a/b", "a_b", &"x".repeat(250)] {
            let mut child = child.clone();
            child.policies.insert(bad.to_owned(), Default::default());
            root.groups.insert("Org.1-MSP".into(), child);
            let error = check_keys("/Channel", &root).unwrap_err();
            assert!(matches!(&error, ConfigError::Key { path, key } if path == "/Channel/Org.1-MSP" && key == bad));
        }
    }
}
