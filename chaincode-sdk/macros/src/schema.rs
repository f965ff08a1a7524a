//! The JSON schema of a parameter or result, from how its type is written.
//!
//! A macro sees names, not types: of a type that is none of the well-known ones the schema
//! gives the name only, and accepts everything.

use syn::{GenericArgument, PathArguments, Type};

/// The schema of `()`: there is nothing to describe.
pub(crate) const NOTHING: &str = "{}";

pub(crate) fn of(kind: &Type) -> String {
    match kind {
        Type::Tuple(tuple) if tuple.elems.is_empty() => NOTHING.to_owned(),
        Type::Tuple(_) => r#"{"type":"array"}"#.to_owned(),
        Type::Array(array) => list(&array.elem),
        Type::Paren(inner) => of(&inner.elem),
        Type::Path(path) => match path.path.segments.last() {
            Some(last) => named(&last.ident.to_string(), inner(&last.arguments)),
            None => NOTHING.to_owned(),
        },
        _ => NOTHING.to_owned(),
    }
}

fn named(name: &str, inner: Option<&Type>) -> String {
    match (name, inner) {
        ("String" | "str" | "char" | "Raw", _) => r#"{"type":"string"}"#.to_owned(),
        ("bool", _) => r#"{"type":"boolean"}"#.to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "u128" | "usize", _) => r#"{"type":"integer","minimum":0}"#.to_owned(),
        ("i8" | "i16" | "i32" | "i64" | "i128" | "isize", _) => r#"{"type":"integer"}"#.to_owned(),
        ("f32" | "f64", _) => r#"{"type":"number"}"#.to_owned(),
        ("Vec" | "BTreeSet" | "VecDeque", Some(item)) => list(item),
        ("Option" | "Box", Some(inner)) => of(inner),
        ("BTreeMap" | "HashMap", _) => r#"{"type":"object"}"#.to_owned(),
        (name, _) => format!(r#"{{"title":{}}}"#, text(name)),
    }
}

fn list(item: &Type) -> String {
    format!(r#"{{"type":"array","items":{}}}"#, of(item))
}

/// The first type in the angle brackets.
fn inner(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    })
}

/// A JSON text.
pub(crate) fn text(plain: &str) -> String {
    let mut quoted = String::from('"');
    for character in plain.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_types_are_described_and_others_named() {
        let schema = |written: &str| of(&syn::parse_str(written).unwrap());
        assert_eq!(schema("std::string::String"), r#"{"type":"string"}"#);
        assert_eq!(schema("Option<Vec<u64>>"), r#"{"type":"array","items":{"type":"integer","minimum":0}}"#);
        assert_eq!(schema("bank::Account"), r#"{"title":"Account"}"#);
        assert_eq!(schema("()"), "{}");
    }

    #[test]
    fn texts_are_json() {
        assert_eq!(text("a\"b\\c\u{1}"), r#""a\"b\\c\u0001""#);
    }
}
