//! An argument's text as serde sees it: the forms of Fabric's contract API.
//!
//! | wanted | form |
//! |---|---|
//! | text | as it is, without quotes |
//! | number, boolean | its text |
//! | `Option` | no text for `None` |
//! | a variant without fields | its name |
//! | everything made of parts | JSON |

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{self, Visitor};

/// So much of an argument an error repeats.
const ECHO_CHARACTERS_MAX: usize = 100;

/// One argument.
pub(crate) struct Argument<'text>(pub(crate) &'text str);

/// Why an argument is not what a function takes; goes on from "Parameter 1 ".
#[derive(Debug)]
pub(crate) struct ArgumentError(String);

impl Display for ArgumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ArgumentError {}

impl de::Error for ArgumentError {
    fn custom<T: Display>(message: T) -> Self {
        Self(format!("is not what the function takes: {message}"))
    }
}

impl<'de> Argument<'de> {
    fn parse<T: FromStr<Err: Display>>(&self) -> Result<T, ArgumentError> {
        self.0.trim().parse().map_err(|cause| {
            let echo: String = self.0.chars().take(ECHO_CHARACTERS_MAX).collect();
            ArgumentError(format!("is not a {}: {echo:?}: {cause}", std::any::type_name::<T>()))
        })
    }

    fn json<T>(
        &self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, ArgumentError> {
        let mut json = serde_json::Deserializer::from_str(self.0);
        let value = read(&mut json).and_then(|value| json.end().map(|()| value));
        value.map_err(|cause| ArgumentError(format!("is not the expected JSON: {cause}")))
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident),+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
            visitor.$visit(self.parse()?)
        }
    )+};
}

macro_rules! json {
    ($($method:ident),+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
            self.json(|json| json.$method(visitor))
        }
    )+};
}

impl<'de> Deserializer<'de> for Argument<'de> {
    type Error = ArgumentError;

    parsed!(
        deserialize_bool visit_bool,
        deserialize_u8 visit_u8,
        deserialize_u16 visit_u16,
        deserialize_u32 visit_u32,
        deserialize_u64 visit_u64,
        deserialize_u128 visit_u128,
        deserialize_i8 visit_i8,
        deserialize_i16 visit_i16,
        deserialize_i32 visit_i32,
        deserialize_i64 visit_i64,
        deserialize_i128 visit_i128,
        deserialize_f32 visit_f32,
        deserialize_f64 visit_f64
    );

    json!(deserialize_any, deserialize_seq, deserialize_map, deserialize_ignored_any);

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_bytes(self.0.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_bytes(self.0.as_bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        if self.0.is_empty() { visitor.visit_unit() } else { self.json(|json| json.deserialize_unit(visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ArgumentError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, ArgumentError> {
        self.json(|json| json.deserialize_tuple(length, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        self.json(|json| json.deserialize_tuple_struct(name, length, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        self.json(|json| json.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        if self.0.starts_with(['{', '"']) {
            return self.json(|json| json.deserialize_enum(name, variants, visitor));
        }
        visitor.visit_enum(StrDeserializer::<ArgumentError>::new(self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct AccountId(String);

    #[derive(Debug, PartialEq, Deserialize)]
    struct Account {
        id: AccountId,
        cents: u64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Color {
        Blue,
        Mixed(u8),
    }

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        T::deserialize(Argument(text)).map_err(|cause| cause.to_string())
    }

    #[test]
    fn plain_types_are_read_from_plain_text() {
        assert_eq!(read("\"as it is\""), Ok("\"as it is\"".to_owned()));
        assert_eq!(read(" -7 "), Ok(-7i64));
        assert_eq!(read("true"), Ok(true));
        assert_eq!(read("a1"), Ok(AccountId("a1".to_owned())));
        assert_eq!(read(""), Ok(None::<u8>));
        assert_eq!(read("5"), Ok(Some(5u8)));
    }

    #[test]
    fn what_has_parts_is_read_from_json() {
        let account = Account { id: AccountId("a1".to_owned()), cents: 5 };
        assert_eq!(read(r#"{"id":"a1","cents":5}"#), Ok(account));
        assert_eq!(read("[1,[2]]"), Ok((1u8, vec![2u8])));
        assert_eq!(read("Blue"), Ok(Color::Blue));
        assert_eq!(read(r#"{"Mixed":3}"#), Ok(Color::Mixed(3)));
    }

    #[test]
    fn what_is_wrong_is_said_and_long_arguments_are_not_repeated() {
        assert_eq!(read::<u8>("300").unwrap_err(), "is not a u8: \"300\": number too large to fit in target type");
        assert!(read::<Account>("{}").unwrap_err().starts_with("is not the expected JSON: missing field `id`"));
        assert!(read::<Vec<u8>>("[1] 2").unwrap_err().contains("trailing characters"));
        assert!(read::<Color>("Green").unwrap_err().contains("unknown variant `Green`"));
        assert!(read::<u8>(&"9".repeat(10_000)).unwrap_err().len() < 200);
        assert!(read::<Vec<serde_json::Value>>(&"[".repeat(100_000)).unwrap_err().contains("recursion limit"));
    }
}
