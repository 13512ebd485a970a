//! Chunks of bytes to lines of bounded length.

/// Puts lines together that come in pieces. Of a longer line than `most` the first `most` bytes are kept and the rest is
/// skipped, counted.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    partial: Vec<u8>,
    skipping: bool,
    /// Lines that were cut.
    pub cut: u64,
}

impl Lines {
    /// Lines of at most `most` bytes.
    pub const fn new(most: usize) -> Self {
        Self { most, partial: Vec::new(), skipping: false, cut: 0 }
    }

    /// Forgets what has begun: what follows is another text.
    pub fn restart(&mut self) {
        self.partial.clear();
        self.skipping = false;
    }

    /// Takes a chunk, and hands out each line that ends in it, without its end.
    pub fn feed(&mut self, mut chunk: &[u8], each: &mut impl FnMut(&[u8])) {
        while let Some(end) = chunk.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = rest;
            if self.skipping {
                // Its beginning was handed out.
                self.skipping = false;
            } else if self.partial.is_empty() && line.len() <= self.most {
                each(line);
            } else {
                self.keep(line);
                each(&self.partial);
                self.partial.clear();
                self.skipping = false;
            }
        }
        if !chunk.is_empty() && !self.skipping {
            self.keep(chunk);
            if self.partial.len() >= self.most && self.skipping {
                each(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// Keeps what fits of a piece; notes whether something did not.
    fn keep(&mut self, piece: &[u8]) {
        let room = self.most.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            self.skipping = true;
            self.cut += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, u64) {
        let mut lines = Lines::new(8);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, &mut |l| out.push(String::from_utf8_lossy(l).into_owned()));
        }
        (out, lines.cut)
    }

    #[test]
    fn pieces_are_put_together_and_long_lines_cut() {
        for (chunks, expected, cut) in [
            (vec![&b"a\nb\n"[..]], vec!["a", "b"], 0),
            (vec![b"a", b"b\nc", b"\n\n"], vec!["ab", "c", ""], 0),
            (vec![b"12345678\n"], vec!["12345678"], 0),
            (vec![b"123456789\nx\n"], vec!["12345678", "x"], 1),
            (vec![b"12345", b"6789", b"0000000000", b"00\nx\n"], vec!["12345678", "x"], 1),
            (vec![b"no end"], vec![], 0),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(lines(&chunks), (expected, cut), "{chunks:?}");
        }
    }

    proptest! {
        #[test]
        fn how_it_is_cut_into_chunks_makes_no_difference(
            text in "[ab\n]{0,80}",
            cuts in prop::collection::vec(0usize..80, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            at.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for to in at.into_iter().chain([bytes.len()]) {
                chunks.push(&bytes[from..to]);
                from = to;
            }
            let (pieces, cut) = lines(&chunks);
            let expected: Vec<String> = text
                .split_inclusive('\n')
                .filter_map(|l| l.strip_suffix('\n').map(|l| l.chars().take(8).collect()))
                .collect();
            // A long line without end is handed out as soon as it is known to be long.
            let tail_cut = text.rsplit('\n').next().is_some_and(|l| l.len() > 8);
            prop_assert_eq!(&pieces[..expected.len()], &expected[..]);
            prop_assert_eq!(pieces.len() - expected.len(), usize::from(tail_cut));
            prop_assert_eq!(cut as usize, text.split('\n').filter(|l| l.len() > 8).count());
        }
    }
}
