//! The parts of which composite keys are made.

use std::fmt::Display;
use std::str::FromStr;

/// A stored key whose parts are not those of the type it is read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Fewer parts than the type has, or more.
    #[error("the key has another number of parts than its type")]
    Count,
    /// A part that does not read.
    #[error("part {part:?} of the key is not a {kind}: {cause}")]
    Part {
        /// As stored.
        part: String,
        /// What it should be.
        kind: &'static str,
        /// Why it is not.
        cause: String,
    },
}

/// What a [`crate::Map`] is looked up by: one or more parts of a composite key.
///
/// Texts are their own part, numbers and booleans their text; tuples, and structs with
/// `#[derive(Key)]`, have the parts of their fields in their order. Keys are ordered by
/// the bytes of their parts: of the numbers 9 and 10, 10 comes first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "has no parts of a composite key",
    note = "use text, numbers, tuples of them, or a struct with `#[derive(Key)]`"
)]
pub trait Key: Sized {
    /// Appends the parts of this key.
    fn write(&self, parts: &mut Vec<String>);

    /// Takes as many parts as this type has.
    ///
    /// # Errors
    /// When there are fewer, or one does not read.
    fn read(parts: &mut std::vec::IntoIter<String>) -> Result<Self, KeyError>;
}

/// All parts of `key`.
pub(crate) fn parts(key: &impl Key) -> Vec<String> {
    let mut parts = Vec::new();
    key.write(&mut parts);
    parts
}

/// The key that has exactly these parts.
pub(crate) fn from_parts<K: Key>(parts: Vec<String>) -> Result<K, KeyError> {
    let mut parts = parts.into_iter();
    let key = K::read(&mut parts)?;
    if parts.len() == 0 { Ok(key) } else { Err(KeyError::Count) }
}

impl Key for String {
    fn write(&self, parts: &mut Vec<String>) {
        parts.push(self.clone());
    }

    fn read(parts: &mut std::vec::IntoIter<String>) -> Result<Self, KeyError> {
        parts.next().ok_or(KeyError::Count)
    }
}

fn parsed<T: FromStr<Err: Display>>(parts: &mut std::vec::IntoIter<String>) -> Result<T, KeyError> {
    let part = parts.next().ok_or(KeyError::Count)?;
    let kind = std::any::type_name::<T>();
    part.parse().map_err(|cause: T::Err| KeyError::Part { cause: cause.to_string(), part, kind })
}

macro_rules! text_keys {
    ($($type:ty),+) => {$(
        impl Key for $type {
            fn write(&self, parts: &mut Vec<String>) {
                parts.push(self.to_string());
            }

            fn read(parts: &mut std::vec::IntoIter<String>) -> Result<Self, KeyError> {
                parsed(parts)
            }
        }
    )+};
}
text_keys!(bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

macro_rules! tuple_keys {
    ($($type:ident $index:tt),*) => {
        impl<$($type: Key),*> Key for ($($type,)*) {
            fn write(&self, parts: &mut Vec<String>) {
                let _ = &parts;
                $(self.$index.write(parts);)*
            }

            fn read(parts: &mut std::vec::IntoIter<String>) -> Result<Self, KeyError> {
                let _ = &parts;
                Ok(($($type::read(parts)?,)*))
            }
        }
    };
}
tuple_keys!();
tuple_keys!(A 0);
tuple_keys!(A 0, B 1);
tuple_keys!(A 0, B 1, C 2);
tuple_keys!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_parts() {
        let key = ("blue".to_owned(), (7u32, true));
        assert_eq!(parts(&key), ["blue", "7", "true"]);
        assert_eq!(from_parts(parts(&key)), Ok(key));
    }

    #[test]
    fn other_parts_are_no_such_key() {
        assert_eq!(from_parts::<(u8, u8)>(vec!["1".into()]), Err(KeyError::Count));
        assert_eq!(from_parts::<u8>(vec!["1".into(), "2".into()]), Err(KeyError::Count));
        let refused = from_parts::<u8>(vec!["x".into()]).unwrap_err().to_string();
        assert!(refused.starts_with("part \"x\" of the key is not a u8"), "{refused}");
    }
}
