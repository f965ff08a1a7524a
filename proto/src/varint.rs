//! The two variable-length integers of the formats: the order-preserving one of
//! versions and index keys, and the unsigned LEB128 of protocol buffers.
//!
//! ```text
//! order-preserving:  one byte n (0..=8), then the number big-endian in n bytes
//!                    without leading zeros; 0 is the single byte 00
//! ```
//! Source: Fabric `common/ledger/util/util.go`.

/// Why bytes are not an order-preserving varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The first byte asks for more than eight bytes.
    #[error("an order-preserving number has at most 8 bytes, not {0}")]
    TooLong(u8),
    /// Fewer bytes than the first byte says.
    #[error("an order-preserving number ends early: {expected} bytes expected, {found} found")]
    Short {
        /// Bytes that the length byte announces, itself included.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
}

/// Encodes `number` so that byte order is number order.
pub fn order_preserving(number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9);
    write_order_preserving(&mut bytes, number);
    bytes
}

/// Appends the order-preserving form of `number`.
pub fn write_order_preserving(bytes: &mut Vec<u8>, number: u64) {
    let significant = 8 - (number.leading_zeros() / 8) as usize;
    bytes.push(significant as u8);
    bytes.extend_from_slice(&number.to_be_bytes()[8 - significant..]);
}

/// Reads an order-preserving number from the front of `bytes`; also returns how many bytes it took.
///
/// # Errors
/// When the length byte is over 8 or the bytes end early.
pub fn read_order_preserving(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    let significant = *bytes.first().ok_or(VarintError::Short { expected: 1, found: 0 })?;
    if significant > 8 {
        return Err(VarintError::TooLong(significant));
    }
    let end = 1 + significant as usize;
    let digits = bytes.get(1..end).ok_or(VarintError::Short { expected: end, found: bytes.len() })?;
    let number = digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit));
    Ok((number, end))
}

/// Appends `number` as an unsigned LEB128 varint, as protocol buffers write lengths.
pub fn write_unsigned(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_number_order() {
        let numbers = [0, 1, 255, 256, 65_535, 65_536, u64::MAX - 1, u64::MAX];
        let encoded = numbers.map(order_preserving);
        assert!(encoded.is_sorted());
        for (number, bytes) in numbers.iter().zip(&encoded) {
            assert_eq!(read_order_preserving(bytes), Ok((*number, bytes.len())));
        }
    }

    #[test]
    fn a_number_that_ends_early_is_refused() {
        assert_eq!(read_order_preserving(&[]), Err(VarintError::Short { expected: 1, found: 0 }));
        assert_eq!(read_order_preserving(&[2, 1]), Err(VarintError::Short { expected: 3, found: 2 }));
        assert_eq!(read_order_preserving(&[9; 12]), Err(VarintError::TooLong(9)));
    }
}
