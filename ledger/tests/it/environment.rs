//! What random tests stand on: how much and from which seed, which a longer run by hand may
//! set, and folders on a fast disk.

use proptest::test_runner::{RngAlgorithm, TestRng};

/// A number from the environment, or the one that suits every run.
pub(crate) fn number(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} has to be a number, not {text:?}")),
        Err(_) => usual,
    }
}

/// Random numbers that depend on nothing but the seed.
pub(crate) fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// A folder for tests that make many ledgers and let no real power fail: in memory where the
/// machine has a place for that, so that syncs cost nothing.
#[cfg(feature = "leveldb")]
pub(crate) fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
