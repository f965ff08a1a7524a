//! Bytes and texts that others wrote, safe to print.

use std::fmt::{self, Display, Write};

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// More of a value than this is not printed for people; JSON has all of it.
const SHOWN_CHARACTERS_MAX: usize = 160;

/// A value: text where it is text, hexadecimal elsewhere. In JSON a string, or `{"hex": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readable(pub(crate) Bytes);

impl Readable {
    fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let plain = |character: char| !character.is_control() || character.is_ascii_whitespace();
        text.chars().all(plain).then_some(text)
    }
}

impl Serialize for Readable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.text() {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &hex::encode(&self.0))?;
        map.end()
    }
}

impl Display for Readable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.text() {
            Some(text) => text.to_owned(),
            None => format!("0x{}", hex::encode(&self.0[..self.0.len().min(SHOWN_CHARACTERS_MAX)])),
        };
        for character in text.chars().take(SHOWN_CHARACTERS_MAX) {
            write_printable(formatter, character)?;
        }
        let is_cut = text.chars().nth(SHOWN_CHARACTERS_MAX).is_some();
        if is_cut { write!(formatter, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// Text for a terminal: control characters are spelled out.
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| write_printable(formatter, character))
    }
}

fn write_printable(formatter: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    if character.is_control() {
        write!(formatter, "{}", character.escape_unicode())
    } else {
        formatter.write_char(character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_other_bytes_are_hexadecimal() {
        let text = Readable(Bytes::from_static("größer\n".as_bytes()));
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"größer\\n\"");
        let bytes = Readable(Bytes::from_static(b"\x00\xff"));
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "{\"hex\":\"00ff\"}");
        assert_eq!(bytes.to_string(), "0x00ff");
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let hostile = "\u{1b}[2J\u{0}key";
        assert_eq!(Printable(hostile).to_string(), "\\u{1b}[2J\\u{0}key");
        assert_eq!(Readable(Bytes::from_static(b"a\nb")).to_string(), "a\\u{a}b");
    }

    #[test]
    fn a_long_value_is_cut_and_its_size_told() {
        let long = Readable(Bytes::from(vec![b'x'; 1000]));
        assert!(long.to_string().ends_with("x… (1000 bytes)"));
        let binary = Readable(Bytes::from(vec![0; 1000]));
        assert!(binary.to_string().ends_with("0… (1000 bytes)"));
        assert!(binary.to_string().chars().count() < 200);
    }
}
