//! Numbers as a TypeScript contract has them: every one a double, read and written by
//! JavaScript's rules.
//!
//! Source: ECMA-262, `StringToNumber` and `Number::toString`.

use ripstop_chaincode_sdk::{Bytes, Failure, Parameter};
use serde_json::Value;

/// A JavaScript number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number(pub(super) f64);

impl Number {
    /// What `Number(text)` gives; `None` for "not a number".
    ///
    /// Hexadecimal, octal and binary literals of more than 128 bits count as none.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim_matches(is_space);
        if let Some(number) = ["0x", "0o", "0b"].iter().zip([16, 8, 2]).find_map(|(prefix, radix)| {
            let (start, digits) = text.split_at_checked(2)?;
            start.eq_ignore_ascii_case(prefix).then(|| from_digits(digits, radix))
        }) {
            return number;
        }
        match text {
            "" => Some(Self(0.0)),
            "Infinity" | "+Infinity" => Some(Self(f64::INFINITY)),
            "-Infinity" => Some(Self(f64::NEG_INFINITY)),
            // Rust also reads "inf" and "nan", in any case.
            _ if text.chars().all(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')) => {
                text.parse().ok().map(Self)
            }
            _ => None,
        }
    }

    /// What `JSON.stringify` writes.
    pub(super) fn to_json(self) -> String {
        if !self.0.is_finite() {
            return "null".to_owned();
        }
        if self.0 == 0.0 {
            return "0".to_owned();
        }
        let sign = if self.0 < 0.0 { "-" } else { "" };
        format!("{sign}{}", positive_to_text(self.0.abs()))
    }
}

/// Both languages print the fewest digits that read back as the same number; they differ
/// in where they put the point.
fn positive_to_text(number: f64) -> String {
    let scientific = fewest_digits(number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = mantissa.replace('.', "");
    // The point stands behind this many digits.
    let point = exponent + 1;
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    match point {
        _ if length <= point && point <= 21 => digits + &zeros(point - length),
        1..=21 => {
            let (whole, fraction) = digits.split_at(point.unsigned_abs() as usize);
            format!("{whole}.{fraction}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            format!("{first}{point}{rest}e{exponent:+}")
        }
    }
}

/// The number in scientific form. Where two texts of the fewest digits are equally near,
/// JavaScript takes the even one, as rounding to that many digits does.
fn fewest_digits(number: f64) -> String {
    let fewest = format!("{number:e}");
    let fraction_digits = fewest.split('e').next().map_or(0, |mantissa| mantissa.len().saturating_sub(2));
    let rounded = format!("{number:.fraction_digits$e}");
    if rounded.parse() == Ok(number) { rounded } else { fewest }
}

fn zeros(count: i32) -> String {
    "0".repeat(usize::try_from(count).unwrap_or_default())
}

fn from_digits(digits: &str, radix: u32) -> Option<Number> {
    // `from_str_radix` also takes a sign.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u128::from_str_radix(digits, radix).ok().map(|number| Number(number as f64))
}

fn is_space(character: char) -> bool {
    character == '\u{FEFF}' || (character.is_whitespace() && character != '\u{85}')
}

impl Parameter for Number {
    fn read(argument: &Bytes, _position: usize) -> Result<Self, Failure> {
        Self::from_text(&String::from_utf8_lossy(argument))
            .ok_or_else(|| Failure::new("fromBuffer could not convert data to number"))
    }
}

impl From<Number> for Value {
    /// `null` where JSON has no form for the number, as in JavaScript.
    fn from(number: Number) -> Self {
        Self::from(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (number, text) in [
            (5.0, "5"),
            (-0.0, "0"),
            (300.5, "300.5"),
            (-12.25, "-12.25"),
            (1e20, "100000000000000000000"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.000001, "0.000001"),
            (0.0000015, "0.0000015"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (0.1 + 0.2, "0.30000000000000004"),
            (9007199254740993.0, "9007199254740992"),
            (1250321019614182.0 + 0.25, "1250321019614182.2"),
            (f64::INFINITY, "null"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(Number(number).to_json(), text);
        }
    }

    #[test]
    fn texts_are_read_as_javascript_reads_them() {
        for (text, number) in [
            ("5", 5.0),
            (" 5\n", 5.0),
            ("", 0.0),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("+1e3", 1000.0),
            ("0x1F", 31.0),
            ("0b101", 5.0),
            ("0O17", 15.0),
            ("Infinity", f64::INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(Number::from_text(text), Some(Number(number)), "{text:?}");
        }
        for text in ["five", "inf", "NaN", "nan", "infinity", "5 5", "1_000", "0x", "-0x1", "0x-1", "1e", ".", "é"] {
            assert_eq!(Number::from_text(text), None, "{text:?}");
        }
    }
}
