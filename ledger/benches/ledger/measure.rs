//! Wall and processor time of an action, and how figures are printed.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What an action took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time of all threads of this process.
    pub(crate) processor: Duration,
}

pub(crate) fn cost(action: impl FnOnce()) -> Cost {
    let (begin, processor) = (Instant::now(), processor_time());
    action();
    Cost { wall: begin.elapsed(), processor: processor_time() - processor }
}

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let duration = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000);
    duration(usage.user_time()) + duration(usage.system_time())
}

/// Prints the median of `costs` per item, and the smallest and largest figure.
pub(crate) fn report(name: &str, items: u64, costs: &[Cost]) {
    let per_item = |time: Duration| time.as_secs_f64() * 1e6 / items as f64;
    let [low, wall, high] = spread(costs.iter().map(|cost| per_item(cost.wall)).collect());
    let [low_processor, processor, high_processor] =
        spread(costs.iter().map(|cost| per_item(cost.processor)).collect());
    println!(
        "{name}: {:.0}/s ({:.0} to {:.0}), processor {processor:.2} µs each ({low_processor:.2} to {high_processor:.2})",
        1e6 / wall,
        1e6 / high,
        1e6 / low,
    );
}

/// The smallest, the median, the largest.
pub(crate) fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}
