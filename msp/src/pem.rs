//! PEM as Go's `encoding/pem` reads it: text before the first block is skipped, header lines are
//! allowed, lines may end in CR LF; what follows the block is handed back.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Go's decoder does not look at the unused bits of the last symbol.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// So that hostile text made of opening lines does not cost quadratic time.
const OPENING_LINES_MAX: usize = 64;
const LINE_SYMBOLS: usize = 64;

/// One decoded block.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a [u8],
    pub(crate) contents: Vec<u8>,
    pub(crate) rest: &'a [u8],
}

/// The first well-formed block, or `None`.
pub(crate) fn first_block(text: &[u8]) -> Option<Block<'_>> {
    let mut rest = text;
    for _ in 0..OPENING_LINES_MAX {
        rest = after_line_start(rest, BEGIN)?;
        let (label_line, body) = split_line(rest);
        let Some(label) = label_line.strip_suffix(DASHES) else {
            continue;
        };
        if let Some(block) = block_at(label, body) {
            return Some(block);
        }
    }
    None
}

/// A block with lines of 64 symbols and a closing newline, as Go writes it.
pub(crate) fn encode(label: &str, contents: &[u8]) -> String {
    let symbols = BASE64.encode(contents);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut line = symbols.as_str();
    while !line.is_empty() {
        let (head, tail) = line.split_at(line.len().min(LINE_SYMBOLS));
        text.push_str(head);
        text.push('\n');
        line = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn block_at<'a>(label: &'a [u8], after_opening: &'a [u8]) -> Option<Block<'a>> {
    let mut body = after_opening;
    loop {
        let (line, next) = split_line(body);
        if line.starts_with(END) || !line.contains(&b':') {
            break;
        }
        body = next;
    }
    let after_end = after_line_start(body, END)?;
    let symbols = &body[..body.len() - after_end.len() - END.len()];
    let (closing, rest) = split_line(after_end);
    if closing.strip_suffix(DASHES)? != label {
        return None;
    }
    let packed: Vec<u8> =
        symbols.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).collect();
    let contents = BASE64.decode(packed).ok()?;
    Some(Block { label, contents, rest })
}

/// What follows `marker` at its first occurrence at the beginning of a line.
fn after_line_start<'a>(text: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    if let Some(after) = text.strip_prefix(marker) {
        return Some(after);
    }
    let mut from = 0;
    while let Some(newline) = text[from..].iter().position(|byte| *byte == b'\n') {
        from += newline + 1;
        if let Some(after) = text[from..].strip_prefix(marker) {
            return Some(after);
        }
    }
    None
}

/// The first line without trailing blanks, and the text behind its newline.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n');
    let (line, rest) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &text[text.len()..]),
    };
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    (&line[..line.len() - blanks], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0usize, 1, 47, 48, 49, 500] {
            let contents: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let text = encode("CERTIFICATE", &contents);
            let block = first_block(text.as_bytes()).unwrap();
            assert_eq!(block.label, b"CERTIFICATE");
            assert_eq!(block.contents, contents);
            assert!(block.rest.is_empty());
        }
    }

    #[test]
    fn text_around_a_block_is_skipped_or_handed_back() {
        let text = format!("subject=x\r\n{}tail", encode("A", b"first").replace('\n', "\r\n"));
        let block = first_block(text.as_bytes()).unwrap();
        assert_eq!(block.contents, b"first");
        assert_eq!(block.rest, b"tail");
    }

    #[test]
    fn header_lines_are_skipped() {
        let text = encode("A", b"body").replacen("A-----\n", "A-----\nProc-Type: 4\n\n", 1);
        assert_eq!(first_block(text.as_bytes()).unwrap().contents, b"body");
    }

    #[test]
    fn a_wrong_closing_line_or_symbol_is_no_block() {
        assert!(first_block(b"-----BEGIN A-----\nAAAA\n-----END B-----\n").is_none());
        assert!(first_block(b"-----BEGIN A-----\nA*AA\n-----END A-----\n").is_none());
        assert!(first_block(b"-----BEGIN A-----\nAAAA\n").is_none());
        assert!(first_block(b"").is_none());
    }

    #[test]
    fn many_opening_lines_cost_little() {
        let text = "-----BEGIN A-----\n".repeat(100_000) + "-----END B-----\n";
        assert!(first_block(text.as_bytes()).is_none());
    }
}
