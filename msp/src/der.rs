//! The few DER shapes this room reads and writes by itself: signatures, private keys, and the outer
//! frame of a certificate whose signature is replaced. Certificates are read by `x509-parser`.
//!
//! ```text
//! element = tag (1 byte) ++ length (short form, or 8n ++ n bytes, minimal) ++ contents
//! ```

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Reads elements one after the other; `None` means "not DER".
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The contents of the next element, which must carry `tag`.
    pub(crate) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, _, contents) = self.next()?;
        (found == tag).then_some(contents)
    }

    /// The next element whole: tag, length and contents.
    pub(crate) fn read_raw(&mut self) -> Option<&'a [u8]> {
        self.next().map(|(_, raw, _)| raw)
    }

    /// The contents of an INTEGER above zero, without its leading zero byte.
    pub(crate) fn read_positive_integer(&mut self) -> Option<&'a [u8]> {
        let contents = self.read(INTEGER)?;
        match contents {
            [] | [0] => None,
            [0, second, ..] if *second < 0x80 => None,
            [first, ..] if *first >= 0x80 => None,
            [0, magnitude @ ..] => Some(magnitude),
            magnitude => Some(magnitude),
        }
    }

    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, after_tag) = self.rest.split_first()?;
        let (&first, after_first) = after_tag.split_first()?;
        let (length, body) =
            if first < 0x80 { (usize::from(first), after_first) } else { long_length(first, after_first)? };
        let contents = body.get(..length)?;
        let header_bytes = self.rest.len() - body.len();
        let raw = self.rest.get(..header_bytes + length)?;
        self.rest = body.get(length..)?;
        Some((tag, raw, contents))
    }
}

fn long_length(first: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return None;
    }
    let (digits, body) = rest.split_at_checked(count)?;
    let length = digits.iter().fold(0usize, |sum, digit| (sum << 8) | usize::from(*digit));
    let minimal = length >= 0x80 && digits[0] != 0;
    minimal.then_some((length, body))
}

/// One element with the given contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    out.push(tag);
    if contents.len() < 0x80 {
        out.push(contents.len() as u8);
    } else {
        let digits = contents.len().to_be_bytes();
        let skip = digits.iter().take_while(|digit| **digit == 0).count();
        out.push(0x80 | (digits.len() - skip) as u8);
        out.extend_from_slice(&digits[skip..]);
    }
    out.extend_from_slice(contents);
    out
}

/// An INTEGER from a magnitude in big-endian order.
pub(crate) fn positive_integer(magnitude: &[u8]) -> Vec<u8> {
    let significant = strip_zeros(magnitude);
    let mut contents = Vec::with_capacity(significant.len() + 1);
    if significant.first().is_none_or(|first| *first >= 0x80) {
        contents.push(0);
    }
    contents.extend_from_slice(significant);
    element(INTEGER, &contents)
}

/// Without leading zero bytes.
pub(crate) fn strip_zeros(magnitude: &[u8]) -> &[u8] {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    &magnitude[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_be_minimal() {
        assert_eq!(Reader::new(&[0x04, 0x01, 7]).read(OCTET_STRING), Some(&[7u8][..]));
        assert_eq!(Reader::new(&[0x04, 0x81, 0x01, 7]).read(OCTET_STRING), None);
        assert_eq!(Reader::new(&[0x04, 0x80, 7]).read(OCTET_STRING), None);
        assert_eq!(Reader::new(&[0x04, 0x02, 7]).read(OCTET_STRING), None);
    }

    #[test]
    fn elements_of_every_length_are_read_back() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let contents = vec![0x5a; length];
            let raw = element(OCTET_STRING, &contents);
            let mut reader = Reader::new(&raw);
            assert_eq!(reader.read(OCTET_STRING), Some(&contents[..]));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        let read = |bytes: &[u8]| Reader::new(bytes).read_positive_integer().map(<[u8]>::to_vec);
        assert_eq!(read(&[2, 1, 1]), Some(vec![1]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Some(vec![0x80]));
        assert_eq!(read(&[2, 2, 0, 0x7f]), None);
        assert_eq!(read(&[2, 1, 0]), None);
        assert_eq!(read(&[2, 1, 0xff]), None);
        assert_eq!(read(&[2, 0]), None);
        assert_eq!(positive_integer(&[0, 0, 0x80]), vec![2, 2, 0, 0x80]);
        assert_eq!(positive_integer(&[1]), vec![2, 1, 1]);
    }
}
