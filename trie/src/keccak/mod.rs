//! Keccak-256, one message at a time or many at once.
//!
//! A trie hashes thousands of small messages per block, so the lever is to hash eight (AVX-512)
//! or four (AVX2) of them in one go. [`Kernel::best`] picks what this processor has, at run time;
//! all kernels give the same digests. The vector code is in `simd.rs`, [`Batch`] fills its lanes.

mod batch;
#[cfg(target_arch = "x86_64")]
mod simd;

use keccak_asm::Keccak256;

pub use batch::Batch;

/// A Keccak-256 digest.
pub type Hash = [u8; 32];

/// Bytes absorbed per permutation: the rate of Keccak-256.
pub const BLOCK_BYTES: usize = 136;

/// Keccak-256 of one message (the original padding, as Ethereum uses it, not SHA-3's).
pub fn keccak256(message: &[u8]) -> Hash {
    Keccak256::digest(message).into()
}

/// How many messages are hashed at once, and with which instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Eight messages in AVX-512 registers.
    Avx512,
    /// Four messages in AVX2 registers.
    Avx2,
    /// One message after the other, in assembly without vectors.
    Scalar,
}

impl Kernel {
    /// The fastest kernel this processor has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// The kernels this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        [Self::Avx512, Self::Avx2, Self::Scalar].into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// Messages hashed at once.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 8,
            Self::Avx2 => 4,
            Self::Scalar => 1,
        }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Scalar => true,
        }
    }
}

/// Pads `message` in place to whole blocks: one bit after it, one at the end of the last block.
fn pad(message: &mut Vec<u8>) {
    let length = message.len();
    message.resize((length / BLOCK_BYTES + 1) * BLOCK_BYTES, 0);
    message[length] |= 0x01;
    if let Some(last) = message.last_mut() {
        *last |= 0x80;
    }
}
