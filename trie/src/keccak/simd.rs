//! Keccak-f\[1600\] on eight or four states at once (FIPS 202, section 3; the original padding).
//!
//! Each vector holds the same 64-bit word of all states. This is the one file of the hashing with
//! `unsafe` code: vector loads and stores through pointers, and the calls of functions whose
//! instructions were found on this processor. Tests compare it with the scalar code for every
//! length up to 1,100 bytes and every number of lanes (`batch.rs`).
#![expect(unsafe_code, reason = "vector instructions; see the text above")]

use core::arch::x86_64::*;

use super::{BLOCK_BYTES, Hash};

/// The words absorbed per block.
const RATE_WORDS: usize = BLOCK_BYTES / 8;

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Hashes eight padded messages of equally many whole blocks. The processor has AVX-512F.
pub(super) fn eight(lanes: &[&[u8]; 8], hashes: &mut [Hash; 8]) {
    let length = whole_blocks(lanes);
    assert!(is_x86_feature_detected!("avx512f"));
    // SAFETY: the feature was just found; all lanes have `length` bytes, a multiple of a block.
    unsafe { avx512::hash(lanes, length, hashes) }
}

/// Hashes four padded messages of equally many whole blocks. The processor has AVX2.
pub(super) fn four(lanes: &[&[u8]; 4], hashes: &mut [Hash; 8]) {
    let length = whole_blocks(lanes);
    assert!(is_x86_feature_detected!("avx2"));
    // SAFETY: the feature was just found; all lanes have `length` bytes, a multiple of a block.
    unsafe { avx2::hash(lanes, length, hashes) }
}

fn whole_blocks(lanes: &[&[u8]]) -> usize {
    let length = lanes[0].len();
    assert!(length.is_multiple_of(BLOCK_BYTES) && lanes.iter().all(|lane| lane.len() == length));
    length
}

/// Word `word` of the message that starts at `lane`.
///
/// # Safety
/// `lane` points to at least `8 * (word + 1)` readable bytes.
#[inline(always)]
unsafe fn word_at(lane: *const u8, word: usize) -> i64 {
    // SAFETY: the caller's promise; the read asks for no alignment.
    unsafe { lane.cast::<i64>().add(word).read_unaligned() }
}

/// The 24 rounds, written once for both widths: theta, rho and pi, chi, iota.
macro_rules! permutation {
    ($feature:literal, $vector:ty) => {
        #[target_feature(enable = $feature)]
        fn permute(a: &mut [$vector; 25]) {
            for constant in ROUND_CONSTANTS {
                let c: [$vector; 5] = [
                    xor5(a[0], a[5], a[10], a[15], a[20]),
                    xor5(a[1], a[6], a[11], a[16], a[21]),
                    xor5(a[2], a[7], a[12], a[17], a[22]),
                    xor5(a[3], a[8], a[13], a[18], a[23]),
                    xor5(a[4], a[9], a[14], a[19], a[24]),
                ];
                let d: [$vector; 5] = [
                    xor(c[4], rotate::<1>(c[1])),
                    xor(c[0], rotate::<1>(c[2])),
                    xor(c[1], rotate::<1>(c[3])),
                    xor(c[2], rotate::<1>(c[4])),
                    xor(c[3], rotate::<1>(c[0])),
                ];
                let rows: [[$vector; 5]; 5] = [
                    [
                        xor(a[0], d[0]),
                        rotate::<44>(xor(a[6], d[1])),
                        rotate::<43>(xor(a[12], d[2])),
                        rotate::<21>(xor(a[18], d[3])),
                        rotate::<14>(xor(a[24], d[4])),
                    ],
                    [
                        rotate::<28>(xor(a[3], d[3])),
                        rotate::<20>(xor(a[9], d[4])),
                        rotate::<3>(xor(a[10], d[0])),
                        rotate::<45>(xor(a[16], d[1])),
                        rotate::<61>(xor(a[22], d[2])),
                    ],
                    [
                        rotate::<1>(xor(a[1], d[1])),
                        rotate::<6>(xor(a[7], d[2])),
                        rotate::<25>(xor(a[13], d[3])),
                        rotate::<8>(xor(a[19], d[4])),
                        rotate::<18>(xor(a[20], d[0])),
                    ],
                    [
                        rotate::<27>(xor(a[4], d[4])),
                        rotate::<36>(xor(a[5], d[0])),
                        rotate::<10>(xor(a[11], d[1])),
                        rotate::<15>(xor(a[17], d[2])),
                        rotate::<56>(xor(a[23], d[3])),
                    ],
                    [
                        rotate::<62>(xor(a[2], d[2])),
                        rotate::<55>(xor(a[8], d[3])),
                        rotate::<39>(xor(a[14], d[4])),
                        rotate::<41>(xor(a[15], d[0])),
                        rotate::<2>(xor(a[21], d[1])),
                    ],
                ];
                for (y, row) in rows.iter().enumerate() {
                    for x in 0..5 {
                        a[5 * y + x] = chi(row[x], row[(x + 1) % 5], row[(x + 2) % 5]);
                    }
                }
                a[0] = xor(a[0], splat(constant));
            }
        }
    };
}

mod avx512 {
    use super::*;

    permutation!("avx512f", __m512i);

    /// # Safety
    /// Every lane has `length` bytes, whole blocks.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn hash(lanes: &[&[u8]; 8], length: usize, hashes: &mut [Hash; 8]) {
        let mut state = [_mm512_setzero_si512(); 25];
        for start in (0..length).step_by(BLOCK_BYTES) {
            let at: [*const u8; 8] = std::array::from_fn(|lane| lanes[lane][start..].as_ptr());
            // SAFETY: a whole block of 17 words can be read at each pointer.
            let (low, high, last) = unsafe { (eight_words(&at, 0), eight_words(&at, 8), gather(&at, RATE_WORDS - 1)) };
            for word in 0..8 {
                state[word] = xor(state[word], low[word]);
                state[8 + word] = xor(state[8 + word], high[word]);
            }
            state[16] = xor(state[16], last);
            permute(&mut state);
        }
        for word in 0..4 {
            let mut words = [0_u64; 8];
            // SAFETY: `words` has room for the 64 bytes.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), state[word]) };
            for (hash, word_of_lane) in hashes.iter_mut().zip(words) {
                hash[8 * word..8 * word + 8].copy_from_slice(&word_of_lane.to_le_bytes());
            }
        }
    }

    /// Words `first..first + 8` of all lanes, turned so that a vector holds one word of each.
    ///
    /// # Safety
    /// Every pointer has `8 * (first + 8)` readable bytes.
    #[target_feature(enable = "avx512f")]
    unsafe fn eight_words(at: &[*const u8; 8], first: usize) -> [__m512i; 8] {
        // SAFETY: the caller's promise.
        let r: [__m512i; 8] = std::array::from_fn(|lane| unsafe { _mm512_loadu_si512(at[lane].add(8 * first).cast()) });
        let [w0, w2, w4, w6] = quarters(
            _mm512_unpacklo_epi64(r[0], r[1]),
            _mm512_unpacklo_epi64(r[2], r[3]),
            _mm512_unpacklo_epi64(r[4], r[5]),
            _mm512_unpacklo_epi64(r[6], r[7]),
        );
        let [w1, w3, w5, w7] = quarters(
            _mm512_unpackhi_epi64(r[0], r[1]),
            _mm512_unpackhi_epi64(r[2], r[3]),
            _mm512_unpackhi_epi64(r[4], r[5]),
            _mm512_unpackhi_epi64(r[6], r[7]),
        );
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    /// Four vectors of four 128-bit quarters, rows to columns.
    #[target_feature(enable = "avx512f")]
    fn quarters(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
        let (ab_even, ab_odd) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
        [
            _mm512_shuffle_i64x2::<0x88>(ab_even, cd_even),
            _mm512_shuffle_i64x2::<0x88>(ab_odd, cd_odd),
            _mm512_shuffle_i64x2::<0xdd>(ab_even, cd_even),
            _mm512_shuffle_i64x2::<0xdd>(ab_odd, cd_odd),
        ]
    }

    /// One word of all lanes.
    ///
    /// # Safety
    /// Every pointer has `8 * (word + 1)` readable bytes.
    #[target_feature(enable = "avx512f")]
    unsafe fn gather(at: &[*const u8; 8], word: usize) -> __m512i {
        // SAFETY: the caller's promise.
        let w: [i64; 8] = std::array::from_fn(|lane| unsafe { word_at(at[lane], word) });
        _mm512_set_epi64(w[7], w[6], w[5], w[4], w[3], w[2], w[1], w[0])
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor(a: __m512i, b: __m512i) -> __m512i {
        _mm512_xor_si512(a, b)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn xor5(a: __m512i, b: __m512i, c: __m512i, d: __m512i, e: __m512i) -> __m512i {
        _mm512_ternarylogic_epi64::<0x96>(_mm512_ternarylogic_epi64::<0x96>(a, b, c), d, e)
    }

    /// `a ^ (!b & c)`.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn chi(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi64::<0xd2>(a, b, c)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn rotate<const BITS: i32>(a: __m512i) -> __m512i {
        _mm512_rol_epi64::<BITS>(a)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn splat(word: u64) -> __m512i {
        _mm512_set1_epi64(word.cast_signed())
    }
}

mod avx2 {
    use super::*;

    permutation!("avx2", __m256i);

    /// # Safety
    /// Every lane has `length` bytes, whole blocks.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn hash(lanes: &[&[u8]; 4], length: usize, hashes: &mut [Hash; 8]) {
        let mut state = [_mm256_setzero_si256(); 25];
        for start in (0..length).step_by(BLOCK_BYTES) {
            let at: [*const u8; 4] = std::array::from_fn(|lane| lanes[lane][start..].as_ptr());
            for first in (0..RATE_WORDS - 1).step_by(4) {
                // SAFETY: a whole block of 17 words can be read at each pointer.
                let words = unsafe { four_words(&at, first) };
                for (word, vector) in words.into_iter().enumerate() {
                    state[first + word] = xor(state[first + word], vector);
                }
            }
            // SAFETY: as above.
            state[16] = xor(state[16], unsafe { gather(&at, RATE_WORDS - 1) });
            permute(&mut state);
        }
        for word in 0..4 {
            let mut words = [0_u64; 4];
            // SAFETY: `words` has room for the 32 bytes.
            unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), state[word]) };
            for (hash, word_of_lane) in hashes.iter_mut().zip(words) {
                hash[8 * word..8 * word + 8].copy_from_slice(&word_of_lane.to_le_bytes());
            }
        }
    }

    /// Words `first..first + 4` of all lanes, turned so that a vector holds one word of each.
    ///
    /// # Safety
    /// Every pointer has `8 * (first + 4)` readable bytes.
    #[target_feature(enable = "avx2")]
    unsafe fn four_words(at: &[*const u8; 4], first: usize) -> [__m256i; 4] {
        // SAFETY: the caller's promise.
        let r: [__m256i; 4] = std::array::from_fn(|lane| unsafe { _mm256_loadu_si256(at[lane].add(8 * first).cast()) });
        let (low01, high01) = (_mm256_unpacklo_epi64(r[0], r[1]), _mm256_unpackhi_epi64(r[0], r[1]));
        let (low23, high23) = (_mm256_unpacklo_epi64(r[2], r[3]), _mm256_unpackhi_epi64(r[2], r[3]));
        [
            _mm256_permute2x128_si256::<0x20>(low01, low23),
            _mm256_permute2x128_si256::<0x20>(high01, high23),
            _mm256_permute2x128_si256::<0x31>(low01, low23),
            _mm256_permute2x128_si256::<0x31>(high01, high23),
        ]
    }

    /// One word of all lanes.
    ///
    /// # Safety
    /// Every pointer has `8 * (word + 1)` readable bytes.
    #[target_feature(enable = "avx2")]
    unsafe fn gather(at: &[*const u8; 4], word: usize) -> __m256i {
        // SAFETY: the caller's promise.
        let w: [i64; 4] = std::array::from_fn(|lane| unsafe { word_at(at[lane], word) });
        _mm256_set_epi64x(w[3], w[2], w[1], w[0])
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn xor5(a: __m256i, b: __m256i, c: __m256i, d: __m256i, e: __m256i) -> __m256i {
        xor(xor(xor(a, b), xor(c, d)), e)
    }

    /// `a ^ (!b & c)`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn chi(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        xor(a, _mm256_andnot_si256(b, c))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn rotate<const BITS: i32>(a: __m256i) -> __m256i {
        let left = _mm256_sll_epi64(a, _mm_cvtsi32_si128(BITS));
        _mm256_or_si256(left, _mm256_srl_epi64(a, _mm_cvtsi32_si128(64 - BITS)))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn splat(word: u64) -> __m256i {
        _mm256_set1_epi64x(word.cast_signed())
    }
}
