//! One cheap pass that says which detectors can be left out.

const AT: u8 = 1;
const DIGIT: u8 = 2;
const ESCAPE: u8 = 4;
/// From here on searching for each byte is cheaper than one look at all.
const LONG_TEXT_BYTES: usize = 256;

static TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        table[byte as usize] = DIGIT;
        byte += 1;
    }
    table[b'@' as usize] = AT;
    table[b'\\' as usize] = ESCAPE;
    table[b'%' as usize] = ESCAPE;
    table[b'&' as usize] = ESCAPE;
    table
};

/// Which telling bytes a text has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    /// Looks at every byte once. Long text nearly always holds a digit, so it is not looked for.
    pub(super) fn of(text: &[u8]) -> Self {
        if text.len() > LONG_TEXT_BYTES {
            let at = memchr::memchr(b'@', text).map_or(0, |_| AT);
            let escape = memchr::memchr3(b'\\', b'%', b'&', text).map_or(0, |_| ESCAPE);
            return Self(at | escape | DIGIT);
        }
        Self(
            text.iter()
                .fold(0, |marks, byte| marks | TABLE[usize::from(*byte)]),
        )
    }

    pub(super) fn at(self) -> bool {
        self.0 & AT != 0
    }

    pub(super) fn digit(self) -> bool {
        self.0 & DIGIT != 0
    }

    /// A byte that begins a JSON, percent or character escape.
    pub(super) fn escape(self) -> bool {
        self.0 & ESCAPE != 0
    }
}
