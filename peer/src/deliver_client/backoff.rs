//! How long to wait after a round of failures.

use std::time::Duration;

use rand::Rng;

/// Waiting times that double from `least` to `most`, each shortened by chance to
/// no less than half, so that peers do not come back all at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `least`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    /// The time to wait now; the next one is longer.
    pub fn next(&mut self, random: &mut impl Rng) -> Duration {
        let whole = self.next.min(self.most);
        self.next = (whole * 2).min(self.most);
        whole.mul_f64(random.random_range(0.5..=1.0))
    }

    /// After a success the next waiting time is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waiting_times_double_up_to_the_most_and_start_over_after_a_success() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for whole in [100, 200, 350, 350] {
            let wait = backoff.next(&mut random);
            assert!(wait >= Duration::from_millis(whole / 2) && wait <= Duration::from_millis(whole), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut random) <= Duration::from_millis(100));
    }
}
