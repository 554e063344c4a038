//! A stream of output, taken apart at its marks.

use super::mark::{MARK, Nonce};

/// A piece of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Output(&'a [u8]),
    /// What follows belongs to this item of this batch; batch 0: to none.
    Mark {
        batch: u64,
        item: u64,
    },
}

/// Reads a stream in parts of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    nonce: Nonce,
    /// The end of the last part, which may be the beginning of a mark.
    held: Vec<u8>,
}

impl Parser {
    pub(super) fn new(nonce: Nonce) -> Parser {
        Parser { nonce, held: Vec::new() }
    }

    /// Takes the next part of the stream.
    pub(super) fn feed(&mut self, part: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let joined;
        let mut rest = if self.held.is_empty() {
            part
        } else {
            joined = [&self.held, part].concat();
            &joined
        };
        let mut keep = 0;
        while !rest.is_empty() {
            match self.find(rest) {
                None => {
                    each(Piece::Output(rest));
                    break;
                }
                Some(at) => {
                    if at > 0 {
                        each(Piece::Output(&rest[..at]));
                    }
                    rest = &rest[at..];
                    if rest.len() < MARK {
                        keep = rest.len();
                        break;
                    }
                    let word =
                        |at: usize| rest[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                    each(Piece::Mark { batch: word(16), item: word(24) });
                    rest = &rest[MARK..];
                }
            }
        }
        self.held = rest[rest.len() - keep..].to_vec();
    }

    /// At the end of the stream: what looked like the beginning of a mark was output.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }

    /// Where a mark begins, or may begin.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let nonce = &self.nonce.0;
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|byte| *byte == nonce[0]) {
            let at = from + at;
            let len = nonce.len().min(bytes.len() - at);
            if bytes[at..at + len] == nonce[..len] {
                return Some(at);
            }
            from = at + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_in_parts_of_any_size() {
        let nonce = Nonce::new();
        let mut stream = b"before".to_vec();
        stream.extend(nonce.mark(7, 3));
        stream.extend(b"of three\x1e\x1e");
        stream.extend(&nonce.0[..9]);
        stream.extend(b"still three");
        stream.extend(nonce.mark(7, 4));
        stream.extend(nonce.mark(0, 0));
        stream.extend(b"after");
        stream.extend(&nonce.0[..5]);
        let three = [b"of three\x1e\x1e", &nonce.0[..9], b"still three"].concat();
        let mut after = b"after".to_vec();
        after.extend(&nonce.0[..5]);
        let expected = [((0, 0), b"before".to_vec()), ((7, 3), three), ((0, 0), after)];
        for size in 1..stream.len() + 1 {
            let mut parser = Parser::new(nonce);
            let (mut found, mut now) = (Vec::<((u64, u64), Vec<u8>)>::new(), (0, 0));
            let mut take = |piece: Piece<'_>| match piece {
                Piece::Mark { batch, item } => now = (batch, item),
                Piece::Output(bytes) => match found.last_mut() {
                    Some((of, so_far)) if *of == now => so_far.extend(bytes),
                    _ => found.push((now, bytes.to_vec())),
                },
            };
            stream.chunks(size).for_each(|part| parser.feed(part, &mut take));
            parser.finish().iter().for_each(|rest| take(Piece::Output(rest)));
            assert_eq!(found, expected, "parts of {size}");
        }
    }
}
