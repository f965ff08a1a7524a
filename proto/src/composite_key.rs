//! Keys made of parts, and the ranges that find them by their first parts.
//!
//! ```text
//! 00 object_type 00 attribute 00 attribute 00 …      (a 00 after every part)
//! ```
//! Keys are UTF-8 and ordered by their bytes. Source: fabric-chaincode-go `shim/stub.go`.

/// The largest Unicode character; ends the range over a composite key's children.
pub const LAST_CHARACTER: char = '\u{10FFFF}';

/// Where an init-required chaincode notes the version that was initialized.
pub const INITIALIZED_KEY: &str = "\u{0}\u{10FFFF}initialized";

const SEPARATOR: char = '\u{0}';

/// Why a composite key cannot be made or taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompositeKeyError {
    /// A part holds one of the two characters that delimit keys and ranges.
    #[error("part {0:?} of a composite key holds U+0000 or U+10FFFF, which delimit keys and ranges")]
    Delimiter(String),
    /// The key is a simple one.
    #[error("{0:?} is not a composite key: it does not begin and end with U+0000")]
    Simple(String),
}

/// Joins `object_type` and `attributes` to a key.
///
/// # Errors
/// When a part holds U+0000 or U+10FFFF.
pub fn create(object_type: &str, attributes: &[&str]) -> Result<String, CompositeKeyError> {
    let mut key = String::from(SEPARATOR);
    for part in std::iter::once(&object_type).chain(attributes) {
        if part.contains([SEPARATOR, LAST_CHARACTER]) {
            return Err(CompositeKeyError::Delimiter((*part).to_owned()));
        }
        key.push_str(part);
        key.push(SEPARATOR);
    }
    Ok(key)
}

/// The range (start inclusive, end exclusive) over all keys that begin with these parts.
///
/// # Errors
/// As [`create`].
pub fn partial_range(object_type: &str, attributes: &[&str]) -> Result<(String, String), CompositeKeyError> {
    let start = create(object_type, attributes)?;
    let end = format!("{start}{LAST_CHARACTER}");
    Ok((start, end))
}

/// Takes a key apart into its object type and attributes.
///
/// # Errors
/// When `key` is not a composite key.
pub fn split(key: &str) -> Result<(String, Vec<String>), CompositeKeyError> {
    let inner = key
        .strip_prefix(SEPARATOR)
        .and_then(|rest| rest.strip_suffix(SEPARATOR))
        .ok_or_else(|| CompositeKeyError::Simple(key.to_owned()))?;
    let mut parts = inner.split(SEPARATOR).map(str::to_owned);
    let object_type = parts.next().unwrap_or_default();
    Ok((object_type, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_apart_into_what_it_was_made_of() {
        let key = create("color~name", &["blue", "asset1"]).unwrap();
        assert_eq!(split(&key), Ok(("color~name".into(), vec!["blue".into(), "asset1".into()])));
    }

    #[test]
    fn a_partial_range_holds_exactly_the_keys_with_these_first_parts() {
        let (start, end) = partial_range("t", &["a"]).unwrap();
        let inside = create("t", &["a", "b"]).unwrap();
        let outside = create("t", &["ab"]).unwrap();
        assert!(start <= inside && inside < end);
        assert!(!(start <= outside && outside < end));
    }

    #[test]
    fn delimiters_inside_parts_and_simple_keys_are_refused() {
        assert_eq!(create("t", &["a\u{0}"]), Err(CompositeKeyError::Delimiter("a\u{0}".into())));
        assert_eq!(split("simple"), Err(CompositeKeyError::Simple("simple".into())));
        assert_eq!(split("\u{0}"), Err(CompositeKeyError::Simple("\u{0}".into())));
    }
}
