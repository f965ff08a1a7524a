//! What makes one proposal differ from the next: a nonce and the time.

use std::time::SystemTime;

/// Where nonces and times come from. Tests give their own.
pub trait Freshness: Send + Sync {
    /// Bytes that were never used before; the transaction id is computed from them.
    fn nonce(&self) -> [u8; 24];

    /// The time that goes into a proposal. Peers refuse one that is far from theirs
    /// (15 minutes by default).
    fn now(&self) -> SystemTime;
}

/// The operating system's random bytes and clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFreshness;

impl Freshness for SystemFreshness {
    fn nonce(&self) -> [u8; 24] {
        rand::random()
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
