//! One cheap pass that says which detectors can be left out.

const AT: u8 = 1;
const DIGIT: u8 = 2;
const ESCAPE: u8 = 4;

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
    /// Looks at every byte once.
    pub(super) fn of(text: &[u8]) -> Self {
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
