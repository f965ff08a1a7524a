//! Durations as they are typed: a whole number and a unit.

use std::time::Duration;

/// Reads `500ms`, `2s` or `1m`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(format!("{text} is no duration: write a whole number and ms, s or m, such as 500ms")),
    };
    let duration_ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    match duration_ms {
        Some(duration_ms) if duration_ms > 0 => Ok(Duration::from_millis(duration_ms)),
        _ => Err(format!("{text} is not a positive duration that fits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["", "2", "0s", "-1s", "2h", "1.5s", "99999999999999999999ms"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
