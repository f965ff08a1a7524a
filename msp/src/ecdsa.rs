//! ECDSA signatures as bytes: strict DER, `r, s > 0`, and low `s`.
//!
//! ```text
//! SEQUENCE { INTEGER r, INTEGER s }     s <= N/2
//! ```
//! `s` and `N - s` verify alike; Fabric accepts only the lower one and rewrites certificates whose
//! issuer signed with the higher one. Go's DER reader, which Fabric uses, ignores bytes behind `s`
//! and behind the sequence; here they are refused, so that a signature has one encoding.

use crate::der;

/// The order of a curve's base point, big-endian.
pub(crate) struct Order {
    n: &'static [u8],
    half: &'static [u8],
}

/// P-256.
pub(crate) const P256: Order = Order {
    n: &[
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ],
    half: &[
        0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73,
        0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
    ],
};

/// P-384.
pub(crate) const P384: Order = Order {
    n: &[
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
        0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
    ],
    half: &[
        0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe3, 0xb1, 0xa6, 0xc0, 0xfa, 0x1b, 0x96, 0xef, 0xac, 0x0d, 0x06, 0xd9,
        0x24, 0x58, 0x53, 0xbd, 0x76, 0x76, 0x0c, 0xb5, 0x66, 0x62, 0x94, 0xb9,
    ],
};

/// The two numbers of a signature, big-endian without leading zeros.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature<'a> {
    pub(crate) r: &'a [u8],
    pub(crate) s: &'a [u8],
}

impl<'a> Signature<'a> {
    /// Reads strict DER; `None` for anything else, `r = 0`, `s = 0` and trailing bytes included.
    pub(crate) fn from_der(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = der::Reader::new(bytes);
        let mut inner = der::Reader::new(outer.read(der::SEQUENCE)?);
        let r = inner.read_positive_integer()?;
        let s = inner.read_positive_integer()?;
        (outer.is_empty() && inner.is_empty()).then_some(Self { r, s })
    }

    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut numbers = der::positive_integer(self.r);
        numbers.extend_from_slice(&der::positive_integer(self.s));
        der::element(der::SEQUENCE, &numbers)
    }

    /// `r ++ s`, each filled up to `N` bytes; `None` when one of them is longer.
    pub(crate) fn to_fixed<const N: usize, const TWICE: usize>(&self) -> Option<[u8; TWICE]> {
        let mut out = [0u8; TWICE];
        let r_at = N.checked_sub(self.r.len())?;
        let s_at = TWICE.checked_sub(self.s.len()).filter(|at| *at >= N)?;
        out.get_mut(r_at..N)?.copy_from_slice(self.r);
        out.get_mut(s_at..)?.copy_from_slice(self.s);
        Some(out)
    }

    /// Whether `s <= N/2`.
    pub(crate) fn has_low_s(&self, order: &Order) -> bool {
        !is_above(self.s, order.half)
    }
}

/// The DER of the equivalent signature with low `s`. `r` and `s` are big-endian, `s < N`.
pub(crate) fn low_s_der(r: &[u8], s: &[u8], order: &Order) -> Vec<u8> {
    let signature = Signature { r: der::strip_zeros(r), s: der::strip_zeros(s) };
    if signature.has_low_s(order) {
        return signature.to_der();
    }
    let lowered = subtract(order.n, signature.s);
    Signature { r: signature.r, s: der::strip_zeros(&lowered) }.to_der()
}

/// Compares magnitudes without leading zeros.
fn is_above(left: &[u8], right: &[u8]) -> bool {
    (left.len(), left) > (right.len(), right)
}

/// `left - right` modulo 256^len; exact when `right <= left`.
fn subtract(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut out = left.to_vec();
    let mut borrow = false;
    let from_low_end = right.iter().rev().copied().chain(std::iter::repeat(0));
    for (digit, other) in out.iter_mut().rev().zip(from_low_end) {
        let (difference, under) = digit.overflowing_sub(other);
        let (difference, under_again) = difference.overflowing_sub(u8::from(borrow));
        *digit = difference;
        borrow = under || under_again;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_orders_are_half_the_orders() {
        for order in [&P256, &P384] {
            let rest = subtract(order.n, order.half);
            // N is odd, so N - floor(N/2) = floor(N/2) + 1.
            assert_eq!(subtract(&rest, order.half).last(), Some(&1));
            assert!(is_above(&rest, order.half));
            assert_eq!(order.n.len(), order.half.len());
        }
    }

    #[test]
    fn only_strict_der_is_read() {
        let read = |hexed: &str| Signature::from_der(&hex::decode(hexed).unwrap()).is_some();
        assert!(read("3006020101020101"));
        assert!(!read("3006020101020101ff"), "bytes behind the sequence");
        assert!(!read("300902010102010102017f"), "a third number");
        assert!(!read("3006020100020101"), "r is zero");
        assert!(!read("3006020101020100"), "s is zero");
        assert!(!read("30060201ff020101"), "r is negative");
        assert!(!read("30070201010202007f"), "not minimal");
        assert!(!read("308106020101020101"), "length not minimal");
        assert!(!read(""));
    }

    #[test]
    fn a_high_s_is_replaced_by_its_complement_and_back() {
        let mut high = P256.half.to_vec();
        *high.last_mut().unwrap() += 1;
        let lowered = low_s_der(&[9], &high, &P256);
        let signature = Signature::from_der(&lowered).unwrap();
        assert!(signature.has_low_s(&P256));
        assert_eq!(subtract(P256.n, signature.s), high);
        assert_eq!(low_s_der(&[9], signature.s, &P256), lowered);
        assert!(Signature { r: &[1], s: P256.half }.has_low_s(&P256));
        assert!(!Signature { r: &[1], s: &high }.has_low_s(&P256));
    }
}
