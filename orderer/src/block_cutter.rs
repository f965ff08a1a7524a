//! The block cutter: which envelopes form a block together, by count, by bytes and by time.
//!
//! The rules of count, bytes and timeout are Fabric's (`orderer/common/blockcutter`). On top
//! of them stands [`Cutting::Adaptive`]: while nothing is under way to the log, waiting makes
//! no block better, so pending messages are cut after a short linger and the batch timeout is
//! only the upper bound. Under load batches fill by themselves while others are under way.
//!
//! A core without clock or I/O: `now` is an argument, and what the messages are is the
//! caller's affair. Read next: [`crate::consenter`], which proposes what is cut here.

use std::time::{Duration, Instant};

/// When a batch is full. From the channel's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages of a batch; at least 1.
    pub message_count_max: usize,
    /// Bytes a batch is kept under where its messages allow it: a larger message travels alone.
    pub preferred_bytes_max: usize,
    /// How long the first message of a batch waits for others.
    pub timeout: Duration,
}

/// Whether an idle log shortens the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Only count, bytes and timeout cut, as in Fabric.
    Timeout,
    /// With nothing under way, pending messages are cut `linger` after the first arrived.
    Adaptive {
        /// How long the first message of a batch waits for its neighbours.
        linger: Duration,
    },
}

/// Messages that form one block.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut<T> {
    /// The messages, in the order of their arrival; never empty.
    pub messages: Vec<T>,
    /// From the arrival of the first message to the cut.
    pub fill_duration: Duration,
}

/// Collects messages until they form a batch.
#[derive(Debug)]
pub struct BlockCutter<T> {
    limits: BatchLimits,
    cutting: Cutting,
    pending: Vec<T>,
    pending_bytes: usize,
    filling_since: Option<Instant>,
    timer: Option<Instant>,
}

impl<T> BlockCutter<T> {
    /// A cutter with nothing pending.
    pub fn new(limits: BatchLimits, cutting: Cutting) -> Self {
        Self { limits, cutting, pending: Vec::new(), pending_bytes: 0, filling_since: None, timer: None }
    }

    /// Takes other limits, from the next message on.
    pub fn set_limits(&mut self, limits: BatchLimits) {
        self.limits = limits;
    }

    /// Takes a message of `bytes` (payload and signature together) and returns the batches
    /// that it completes: none, one or two.
    pub fn push(&mut self, message: T, bytes: usize, now: Instant) -> Vec<Cut<T>> {
        let mut cuts = Vec::new();
        let oversize = bytes > self.limits.preferred_bytes_max;
        if oversize || self.pending_bytes + bytes > self.limits.preferred_bytes_max {
            cuts.extend(self.take_pending(now));
        }
        self.filling_since.get_or_insert(now);
        self.pending.push(message);
        self.pending_bytes += bytes;
        if oversize || self.pending.len() >= self.limits.message_count_max {
            cuts.extend(self.take_pending(now));
        }
        // The timer of a batch that was cut because the next message did not fit runs on for
        // that message: this is Fabric's rule.
        match self.pending.is_empty() {
            true => self.timer = None,
            false => _ = self.timer.get_or_insert(now + self.limits.timeout),
        }
        cuts
    }

    /// When pending messages have to be cut at the latest; `idle` tells that no batch is
    /// under way to the log.
    pub fn deadline(&self, idle: bool) -> Option<Instant> {
        let timeout = self.timer?;
        match (self.cutting, idle, self.filling_since) {
            (Cutting::Adaptive { linger }, true, Some(since)) => Some(timeout.min(since + linger)),
            _ => Some(timeout),
        }
    }

    /// Cuts what is pending if its deadline has come.
    pub fn cut_if_due(&mut self, now: Instant, idle: bool) -> Option<Cut<T>> {
        match self.deadline(idle) {
            Some(deadline) if deadline <= now => self.cut(now),
            _ => None,
        }
    }

    /// Cuts whatever is pending.
    pub fn cut(&mut self, now: Instant) -> Option<Cut<T>> {
        self.timer = None;
        self.take_pending(now)
    }

    fn take_pending(&mut self, now: Instant) -> Option<Cut<T>> {
        self.pending_bytes = 0;
        let since = self.filling_since.take()?;
        Some(Cut { messages: std::mem::take(&mut self.pending), fill_duration: now.saturating_duration_since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LINGER: Duration = Duration::from_millis(4);

    fn limits(message_count_max: usize, preferred_bytes_max: usize) -> BatchLimits {
        BatchLimits { message_count_max, preferred_bytes_max, timeout: 2 * SECOND }
    }

    /// Pushes messages of the given sizes; each is named by its position.
    fn batches_after_each(limits: BatchLimits, sizes: &[usize]) -> (Vec<Vec<Vec<usize>>>, Vec<usize>) {
        let now = Instant::now();
        let mut cutter = BlockCutter::new(limits, Cutting::Timeout);
        let push = |(position, &bytes): (usize, &usize)| {
            cutter.push(position, bytes, now).into_iter().map(|cut| cut.messages).collect()
        };
        let batches = sizes.iter().enumerate().map(push).collect();
        (batches, cutter.pending)
    }

    #[test]
    fn count_and_bytes_cut_as_the_table_says() {
        struct Case {
            what: &'static str,
            limits: BatchLimits,
            sizes: &'static [usize],
            batches: &'static [&'static [&'static [usize]]],
            pending: &'static [usize],
        }
        let cases = [
            Case {
                what: "below every limit",
                limits: limits(3, 100),
                sizes: &[10, 10],
                batches: &[&[], &[]],
                pending: &[0, 1],
            },
            Case {
                what: "count reached",
                limits: limits(2, 100),
                sizes: &[10, 10, 10],
                batches: &[&[], &[&[0, 1]], &[]],
                pending: &[2],
            },
            Case {
                what: "count of one",
                limits: limits(1, 100),
                sizes: &[10, 10],
                batches: &[&[&[0]], &[&[1]]],
                pending: &[],
            },
            Case {
                what: "overflow leaves the new one",
                limits: limits(9, 100),
                sizes: &[60, 41],
                batches: &[&[], &[&[0]]],
                pending: &[1],
            },
            Case {
                what: "exactly full is not over",
                limits: limits(9, 100),
                sizes: &[60, 40],
                batches: &[&[], &[]],
                pending: &[0, 1],
            },
            Case {
                what: "after exactly full",
                limits: limits(9, 100),
                sizes: &[60, 40, 1],
                batches: &[&[], &[], &[&[0, 1]]],
                pending: &[2],
            },
            Case {
                what: "exactly preferred is not oversize",
                limits: limits(9, 100),
                sizes: &[100],
                batches: &[&[]],
                pending: &[0],
            },
            Case {
                what: "oversize travels alone",
                limits: limits(9, 100),
                sizes: &[101],
                batches: &[&[&[0]]],
                pending: &[],
            },
            Case {
                what: "oversize flushes first",
                limits: limits(9, 100),
                sizes: &[5, 101, 5],
                batches: &[&[], &[&[0], &[1]], &[]],
                pending: &[2],
            },
            Case {
                what: "overflow with a count of one",
                limits: limits(1, 100),
                sizes: &[100, 100],
                batches: &[&[&[0]], &[&[1]]],
                pending: &[],
            },
            Case {
                what: "overflow, then count",
                limits: limits(2, 100),
                sizes: &[60, 60, 1],
                batches: &[&[], &[&[0]], &[&[1, 2]]],
                pending: &[],
            },
            Case {
                what: "bytes start again after a cut",
                limits: limits(2, 100),
                sizes: &[50, 50, 50, 50],
                batches: &[&[], &[&[0, 1]], &[], &[&[2, 3]]],
                pending: &[],
            },
        ];
        for Case { what, limits, sizes, batches, pending } in cases {
            let (cut, left) = batches_after_each(limits, sizes);
            assert_eq!(cut, batches, "{what}");
            assert_eq!(left, pending, "{what}");
        }
    }

    #[test]
    fn the_timer_starts_with_the_first_pending_message_and_cuts_once() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Timeout);
        assert_eq!(cutter.deadline(true), None);
        assert_eq!(cutter.cut_if_due(start, true), None);
        cutter.push('a', 1, start);
        cutter.push('b', 1, start + SECOND);
        assert_eq!(cutter.deadline(true), Some(start + 2 * SECOND));
        assert_eq!(cutter.cut_if_due(start + SECOND, true), None);
        let cut = cutter.cut_if_due(start + 2 * SECOND, true).unwrap();
        assert_eq!(cut, Cut { messages: vec!['a', 'b'], fill_duration: 2 * SECOND });
        assert_eq!(cutter.cut_if_due(start + 9 * SECOND, true), None, "no empty block");
        assert_eq!(cutter.deadline(true), None);
    }

    #[test]
    fn an_overflow_cut_does_not_restart_the_timer() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Timeout);
        cutter.push('a', 60, start);
        assert_eq!(cutter.push('b', 60, start + SECOND).len(), 1);
        assert_eq!(cutter.deadline(false), Some(start + 2 * SECOND));
    }

    #[test]
    fn a_cut_by_count_stops_the_timer() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(2, 100), Cutting::Timeout);
        cutter.push('a', 1, start);
        cutter.push('b', 1, start + SECOND);
        assert_eq!(cutter.deadline(false), None);
        cutter.push('c', 1, start + 3 * SECOND);
        assert_eq!(cutter.deadline(false), Some(start + 5 * SECOND));
    }

    #[test]
    fn an_idle_log_cuts_after_the_linger_and_a_busy_one_at_the_timeout() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Adaptive { linger: LINGER });
        cutter.push('a', 1, start);
        cutter.push('b', 1, start + LINGER / 2);
        assert_eq!(cutter.deadline(true), Some(start + LINGER));
        assert_eq!(cutter.deadline(false), Some(start + 2 * SECOND));
        assert_eq!(cutter.cut_if_due(start + LINGER, false), None);
        assert_eq!(cutter.cut_if_due(start + LINGER, true).unwrap().messages, ['a', 'b']);
    }

    #[test]
    fn the_linger_counts_from_the_first_message_of_the_batch_at_hand() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Adaptive { linger: LINGER });
        cutter.push('a', 60, start);
        cutter.push('b', 60, start + SECOND);
        assert_eq!(cutter.deadline(true), Some(start + SECOND + LINGER));
    }

    #[test]
    fn a_linger_beyond_the_timeout_changes_nothing() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Adaptive { linger: 9 * SECOND });
        cutter.push('a', 1, start);
        assert_eq!(cutter.deadline(true), Some(start + 2 * SECOND));
    }

    #[test]
    fn new_limits_rule_from_the_next_message_on() {
        let start = Instant::now();
        let mut cutter = BlockCutter::new(limits(10, 100), Cutting::Timeout);
        cutter.push('a', 1, start);
        cutter.set_limits(limits(2, 100));
        assert_eq!(cutter.pending, ['a']);
        assert_eq!(cutter.push('b', 1, start).len(), 1);
        assert_eq!(cutter.cut(start), None);
    }
}
