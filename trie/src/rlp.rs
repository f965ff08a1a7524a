//! Recursive length prefix, as far as a trie needs it (Ethereum yellow paper, appendix B).
//!
//! Writing appends to a buffer; lengths are known before. Reading is strict: what was not written
//! in the one canonical way is refused, and nothing is allocated.

/// Bytes that are not canonical RLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One item: a byte string, or a list whose items stand in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    String(&'a [u8]),
    List(&'a [u8]),
}

/// Bytes of the encoding of a string.
pub(crate) fn string_bytes(string: &[u8]) -> usize {
    if is_own_encoding(string) { 1 } else { with_header(string.len()) }
}

/// Bytes of a header and its payload.
pub(crate) fn with_header(payload: usize) -> usize {
    1 + payload + if payload < 56 { 0 } else { length_bytes(payload) }
}

/// Appends a string.
pub(crate) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    if !is_own_encoding(string) {
        put_header(out, 0x80, string.len());
    }
    out.extend_from_slice(string);
}

/// Appends the big-endian form of `number` without leading zeros, as a string.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    put_string(out, &number.to_be_bytes()[number.leading_zeros() as usize / 8..]);
}

/// Appends the header of a list whose items take `payload` bytes.
pub(crate) fn put_list_header(out: &mut Vec<u8>, payload: usize) {
    put_header(out, 0xc0, payload);
}

/// The first item of `bytes` and what follows it.
pub(crate) fn split(bytes: &[u8]) -> Result<(Item<'_>, &[u8]), Malformed> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed)?;
    let base = match first {
        0x00..=0x7f => return Ok((Item::String(&bytes[..1]), rest)),
        0x80..=0xbf => 0x80,
        0xc0..=0xff => 0xc0,
    };
    let (length, rest) = length(first - base, rest)?;
    let (payload, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    if base == 0xc0 {
        return Ok((Item::List(payload), rest));
    }
    if is_own_encoding(payload) { Err(Malformed) } else { Ok((Item::String(payload), rest)) }
}

fn length(code: u8, rest: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let size = match code {
        0..=55 => return Ok((code.into(), rest)),
        56..=59 => usize::from(code - 55),
        _ => return Err(Malformed),
    };
    let (bytes, rest) = rest.split_at_checked(size).ok_or(Malformed)?;
    let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if length < 56 || bytes[0] == 0 { Err(Malformed) } else { Ok((length, rest)) }
}

/// A single byte below 0x80 is its own encoding.
fn is_own_encoding(string: &[u8]) -> bool {
    matches!(string, [0x00..=0x7f])
}

fn length_bytes(length: usize) -> usize {
    8 - (length as u64).leading_zeros() as usize / 8
}

fn put_header(out: &mut Vec<u8>, base: u8, payload: usize) {
    if payload < 56 {
        return out.push(base + payload as u8);
    }
    let size = length_bytes(payload);
    out.push(base + 55 + size as u8);
    out.extend_from_slice(&(payload as u64).to_be_bytes()[8 - size..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_lists_of_every_length_are_read_as_written() {
        for length in (0..600).chain([65_535, 65_536, 70_000]) {
            let string = vec![0x81; length];
            let mut out = Vec::new();
            put_string(&mut out, &string);
            assert_eq!(out.len(), string_bytes(&string));
            assert_eq!(split(&out), Ok((Item::String(&string), &[][..])));
            out.clear();
            put_list_header(&mut out, length);
            out.extend_from_slice(&string);
            assert_eq!(split(&out), Ok((Item::List(&string), &[][..])));
            assert_eq!(split(&out[..out.len() - 1]), Err(Malformed));
        }
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        assert_eq!(split(&[0x81, 0x05]), Err(Malformed), "a small byte with a header");
        assert_eq!(split(&[0xb8, 0x01, 0xff]), Err(Malformed), "a long form for a short string");
        assert_eq!(split(&[0xb9, 0x00, 0x38]), Err(Malformed), "a length with a leading zero");
        assert_eq!(split(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(Malformed), "beyond memory");
        assert_eq!(split(&[]), Err(Malformed));
    }

    #[test]
    fn numbers_have_no_leading_zeros() {
        let form = |number| {
            let mut out = Vec::new();
            put_number(&mut out, number);
            out
        };
        assert_eq!(form(0), [0x80]);
        assert_eq!(form(15), [0x0f]);
        assert_eq!(form(1024), [0x82, 0x04, 0x00]);
    }
}
