//! One cheap pass that says which detectors can be left out: eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = !HIGH;

/// Which telling bytes a text has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    digits: u64,
    signs: u64,
    escapes: u64,
    schemes: u64,
    runs: u64,
}

/// What the bytes before were.
#[derive(Default)]
struct Past {
    /// For each of the last 32 bytes whether it is no white space; the latest highest.
    shown: u64,
    /// The last one was a `c`.
    after_c: u64,
}

/// The high bit of each byte that is exactly `byte`.
fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ ONES.wrapping_mul(u64::from(byte));
    !((other & LOW).wrapping_add(LOW) | other) & HIGH
}

/// The high bit of each byte whose low seven bits are above `limit`.
fn above(word: u64, limit: u8) -> u64 {
    (word & LOW).wrapping_add(ONES.wrapping_mul(u64::from(0x7F - limit))) & HIGH
}

/// The high bit of each byte that is a digit.
pub(super) fn digits(word: u64) -> u64 {
    above(word, b'0' - 1) & !above(word, b'9') & !word & HIGH
}

impl Marks {
    /// Looks at every byte once.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut marks = Self::default();
        let mut past = Past::default();
        let mut words = text.chunks_exact(8);
        for eight in &mut words {
            marks.add(eight.try_into().map_or(0, u64::from_le_bytes), 8, &mut past);
        }
        let rest = words.remainder();
        match text.last_chunk() {
            _ if rest.is_empty() => {}
            // The last eight bytes: those that were seen already are moved out.
            Some(eight) => {
                let seen = 8 * (8 - rest.len());
                marks.add(u64::from_le_bytes(*eight) >> seen, rest.len(), &mut past);
            }
            None => {
                let word = rest
                    .iter()
                    .rfold(0, |word, byte| word << 8 | u64::from(*byte));
                marks.add(word, rest.len(), &mut past);
            }
        }
        marks
    }

    /// Adds `count` bytes; those above them in `word` are zero.
    fn add(&mut self, word: u64, count: usize, past: &mut Past) {
        let shown = above(word, b' ') | word & HIGH;
        self.digits |= digits(word);
        self.signs |= equal(word, b'@');
        self.escapes |= equal(word, b'\\') | above(word, b'%' - 1) & !above(word, b'&') & !word;
        // `Basic ` may be followed by a few bytes only.
        let c = equal(word | ONES.wrapping_mul(0x20), b'c');
        self.schemes |= (c << 8 | past.after_c) & !shown & HIGH;
        past.after_c = c >> 56;
        // One bit for each byte, the earliest lowest.
        let bits = (shown >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        let window = (past.shown | bits << 32) >> count;
        past.shown = window & 0xFFFF_FFFF;
        let two = window & window >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        self.runs |= eight & two >> 8;
    }

    pub(super) fn at(self) -> bool {
        self.signs != 0
    }

    pub(super) fn digit(self) -> bool {
        self.digits != 0
    }

    /// A byte that begins a JSON, percent or character escape.
    pub(super) fn escape(self) -> bool {
        self.escapes != 0
    }

    /// A run of ten bytes without white space: no credential has only shorter ones (`-----BEGIN` has ten).
    pub(super) fn run(self) -> bool {
        self.runs != 0
    }

    /// A `c` before white space, as in `Basic `.
    pub(super) fn scheme(self) -> bool {
        self.schemes != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    /// The same, one byte after the other.
    fn slow(text: &[u8]) -> [bool; 5] {
        let shown = |byte: &u8| *byte > b' ';
        [
            text.contains(&b'@'),
            text.iter().any(u8::is_ascii_digit),
            text.iter().any(|byte| b"\\%&".contains(byte)),
            text.split(|byte| !shown(byte)).any(|run| run.len() >= 10),
            text.windows(2)
                .any(|pair| matches!(pair, [b'c' | b'C', after] if !shown(after))),
        ]
    }

    #[test]
    fn eight_bytes_at_a_time_are_seen_like_one() {
        let mut seed = 7u64;
        let alphabet = b"cC @0/:9\\%&ab$'zAx-\xC3\xA9\xA0\xC0\xB0\xB9\n\x00\x7F ";
        for length in 0..60 {
            for _ in 0..400 {
                let text: Vec<u8> = (0..length)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        // Most bytes are plain, so that what is looked for is often missing.
                        let pick = usize::try_from(seed >> 40).unwrap();
                        if pick % 7 == 0 {
                            alphabet[pick / 7 % alphabet.len()]
                        } else {
                            b'x'
                        }
                    })
                    .collect();
                let marks = Marks::of(&text);
                let fast = [
                    marks.at(),
                    marks.digit(),
                    marks.escape(),
                    marks.run(),
                    marks.scheme(),
                ];
                let [at, digit, escape, run, mut scheme] = slow(&text);
                // What follows the end of the text counts as white space.
                scheme |= matches!(text.last(), Some(b'c' | b'C'));
                assert_eq!(fast[..4], [at, digit, escape, run], "{text:?}");
                assert!(fast[4] || !scheme || length % 8 == 0, "{text:?}");
                assert!(scheme || !fast[4], "{text:?}");
            }
        }
    }
}
