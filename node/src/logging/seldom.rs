//! Warnings that others can provoke at will, and that must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two warnings of one place.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says which of many like events is worth a warning: the first, and then one in 10 s,
/// which stands for all since the last one. Each event by itself is logged at debug.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    told_at: Option<Instant>,
    count: u64,
}

impl Seldom {
    /// Notes one event. Some, if it is to be told: how many there were since the last one
    /// that was, this one included.
    pub fn note(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.count += 1;
        if since.told_at.is_some_and(|told_at| now.saturating_duration_since(told_at) < INTERVAL) {
            return None;
        }
        since.told_at = Some(now);
        Some(std::mem::take(&mut since.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_then_one_for_all_of_an_interval() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.note(start), Some(1));
        for millisecond in 0..9_999 {
            assert_eq!(seldom.note(start + Duration::from_millis(millisecond)), None);
        }
        assert_eq!(seldom.note(start + INTERVAL), Some(10_000));
        assert_eq!(seldom.note(start + INTERVAL), None);
        assert_eq!(seldom.note(start + 3 * INTERVAL), Some(2));
    }
}
