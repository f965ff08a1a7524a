//! Where one gRPC message ends and the next begins.

/// Length of gRPC's prefix of each message: a flag byte and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Follows the boundaries of gRPC messages through pieces of any size.
#[derive(Default)]
pub(super) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    remaining: usize,
}

impl Messages {
    /// Whether the bytes so far end with a message.
    pub(super) fn at_end(&self) -> bool {
        self.prefix_filled == 0 && self.remaining == 0
    }

    /// Looks at the next bytes; how many messages end in them.
    pub(super) fn pass(&mut self, mut piece: &[u8]) -> u64 {
        let mut ended = 0;
        while !piece.is_empty() {
            if self.remaining > 0 {
                let passed = self.remaining.min(piece.len());
                self.remaining -= passed;
                piece = &piece[passed..];
                ended += u64::from(self.remaining == 0);
                continue;
            }
            self.prefix[self.prefix_filled] = piece[0];
            self.prefix_filled += 1;
            piece = &piece[1..];
            if self.prefix_filled == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                self.remaining = u32::from_be_bytes(length) as usize;
                self.prefix_filled = 0;
                ended += u64::from(self.remaining == 0);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    #[test]
    fn boundaries_are_found_whatever_the_pieces() {
        let stream = [message(3), message(0), message(300)].concat();
        for size in [1, 2, 4, 5, 7, 64, 400] {
            let mut messages = Messages::default();
            let (mut passed, mut ended) = (0, 0);
            for piece in stream.chunks(size) {
                ended += messages.pass(piece);
                passed += piece.len();
                assert_eq!(messages.at_end(), [8, 13, 318].contains(&passed), "{size} {passed}");
            }
            assert_eq!(ended, 3);
        }
    }
}
