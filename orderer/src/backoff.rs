//! How long to wait before another consenter is tried again.

use std::time::Duration;

use rand::Rng;

const LEAST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(1);

/// Waiting times that double, each shortened by chance to no less than half, so that
/// consenters do not all come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: LEAST }
    }

    /// The time to wait now; the next one is longer.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(MOST);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// After a success the next waiting time is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = LEAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_double_up_to_a_second_and_start_over_after_a_success() {
        let mut backoff = Backoff::new();
        for whole in [50, 100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next();
            assert!(wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= LEAST);
    }
}
