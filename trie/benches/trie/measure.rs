//! Time of the wall and of the processor, and how blocks spread.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// A run over blocks.
pub(crate) struct Run {
    blocks: Vec<Duration>,
    keys: usize,
    processor: Duration,
}

impl Run {
    /// Runs `apply` for every block of `keys` keys.
    pub(crate) fn over<B>(blocks: &[B], keys: usize, mut apply: impl FnMut(usize, &B)) -> Self {
        let processor = processor_time();
        let mut times = Vec::with_capacity(blocks.len());
        for (index, block) in blocks.iter().enumerate() {
            let begin = Instant::now();
            apply(index, block);
            times.push(begin.elapsed());
        }
        Self { keys: blocks.len() * keys, blocks: times, processor: processor_time().saturating_sub(processor) }
    }

    pub(crate) fn keys_per_second(&self) -> f64 {
        self.keys as f64 / self.blocks.iter().sum::<Duration>().as_secs_f64()
    }

    /// Microseconds of processor time per key.
    pub(crate) fn processor_per_key(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.keys as f64
    }

    /// The time below which this share of the blocks lies, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.blocks.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
        sorted[index].as_secs_f64() * 1e3
    }
}

/// Processor time of the process, its threads included.
pub(crate) fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let spent = [usage.user_time(), usage.system_time()];
    Duration::from_micros(spent.iter().map(|time| (time.tv_sec() * 1_000_000 + time.tv_usec()).cast_unsigned()).sum())
}

/// Memory of the process in bytes, as it is resident.
pub(crate) fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}
