//! Durations as people write them: Go's text form, as everywhere in Fabric, and positive.

use std::time::Duration;

use ripstop_channel::go_duration;
use serde::{Deserialize, Deserializer};

/// Reads `500ms`, `2s`, `1m30s`.
///
/// # Errors
/// Says what a duration looks like.
pub fn parse(text: &str) -> Result<Duration, String> {
    go_duration::parse(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{text:?} is no positive duration; write for instance \"500ms\", \"2s\" or \"1m30s\""))
}

/// For `#[serde(with = "…")]`.
///
/// # Errors
/// As [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_and_is_positive() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "2", "0s", "-1s", "2 s", "2x", "99999999999999999999s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
