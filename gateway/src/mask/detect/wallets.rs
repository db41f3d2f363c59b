//! What a word's length and first letters tell. Addresses of wallets, and their private keys: base58 and
//! bech32 with their checksums, Ethereum's hexadecimal form with the capitals that check it. Keys of
//! Twilio, tokens of Discord.

use aws_lc_rs::digest::{SHA256, digest};

use super::super::config::ClassId;
use super::{Hit, before, is_word};

/// Which classes are looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wallets {
    bitcoin: Option<ClassId>,
    ethereum: Option<ClassId>,
    key: Option<ClassId>,
    twilio: Option<ClassId>,
    discord: Option<ClassId>,
}

/// The classes, with their groups.
pub(in crate::mask) const CLASSES: [&str; 2] = ["bitcoin-address", "ethereum-address"];
/// A private key in wallet import format, or an extended one (BIP 32).
pub(in crate::mask) const KEY_CLASSES: [&str; 3] = [
    "secret.bitcoin-key",
    "secret.twilio-key",
    "secret.discord-token",
];

/// Shortest and longest word that is looked at.
const WORD_BYTES: std::ops::RangeInclusive<usize> = 26..=112;
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

impl Wallets {
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>) -> Option<Self> {
        let [bitcoin, ethereum] = CLASSES.map(number);
        let [key, twilio, discord] = KEY_CLASSES.map(number);
        let all = [bitcoin, ethereum, key, twilio, discord];
        all.iter().any(Option::is_some).then_some(Self {
            bitcoin,
            ethereum,
            key,
            twilio,
            discord,
        })
    }

    /// Finds addresses and keys: words of the right length that begin as one of them does.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut at = WORD_BYTES.start() - 1;
        // A word of n bytes has a byte at every nth place: only those are looked at.
        while let Some(byte) = text.get(at) {
            if !byte.is_ascii_alphanumeric() {
                at += WORD_BYTES.start();
                continue;
            }
            let ahead = text.get(..at).unwrap_or_default();
            let behind = text.get(at..).unwrap_or_default();
            let back = ahead
                .iter()
                .rev()
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
            let forth = behind
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric())
                .count();
            let (start, end) = (at - back, at + forth);
            at = end + WORD_BYTES.start();
            let word = text.get(start..end).unwrap_or_default();
            if !WORD_BYTES.contains(&word.len()) || is_word(before(text, start)) {
                continue;
            }
            hits.extend(self.class(word).map(|class| Hit { start, end, class }));
        }
        if let Some(class) = self.discord {
            discord_tokens(text, class, hits);
        }
    }

    fn class(&self, word: &[u8]) -> Option<ClassId> {
        match word {
            [b'0', b'x' | b'X', hex @ ..] => self.ethereum.filter(|_| is_ethereum(hex)),
            [b'b' | b'B', b'c' | b'C', b'1', ..] => self.bitcoin.filter(|_| is_bech32(word)),
            [b'1' | b'3', ..] if word.len() <= 35 => self
                .bitcoin
                .filter(|_| matches!(base58(word).as_deref(), Some([0 | 5, ..]))),
            [b'5' | b'K' | b'L', ..] if matches!(word.len(), 51 | 52) => self
                .key
                .filter(|_| matches!(base58(word).as_deref(), Some([0x80, ..]))),
            [b'x', b'p', b'r', b'v', ..] if word.len() == 111 => {
                self.key.filter(|_| base58(word).is_some())
            }
            [b'S', b'K', hex @ ..] if hex.len() == 32 => self.twilio.filter(|_| {
                hex.iter()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            }),
            _ => None,
        }
    }
}

/// A bot's token: its number in base64, six characters of time, at least 27 of a signature.
fn discord_tokens(text: &[u8], class: ClassId, hits: &mut Vec<Hit>) {
    const TIME_BYTES: usize = 6;
    const NUMBER_BYTES: std::ops::RangeInclusive<usize> = 23..=28;
    const SIGNATURE_BYTES: std::ops::RangeInclusive<usize> = 27..=40;
    let in_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'-');
    for dot in memchr::memchr_iter(b'.', text) {
        if text.get(dot + TIME_BYTES + 1) != Some(&b'.') {
            continue;
        }
        let ahead = text.get(..dot).unwrap_or_default();
        let number = ahead
            .iter()
            .rev()
            .take(*NUMBER_BYTES.end() + 1)
            .take_while(in_part)
            .count();
        let behind = text.get(dot + TIME_BYTES + 2..).unwrap_or_default();
        let signature = behind
            .iter()
            .take(*SIGNATURE_BYTES.end() + 1)
            .take_while(in_part)
            .count();
        let start = dot - number;
        let bot = matches!(text.get(start), Some(b'M' | b'N' | b'O'));
        let time = text.get(dot + 1..=dot + TIME_BYTES).unwrap_or_default();
        if bot
            && NUMBER_BYTES.contains(&number)
            && SIGNATURE_BYTES.contains(&signature)
            && time.iter().all(|byte| in_part(&byte))
        {
            hits.push(Hit {
                start,
                end: dot + TIME_BYTES + 2 + signature,
                class,
            });
        }
    }
}

/// The bytes of a base58 word whose last four are the checksum of the others.
fn base58(word: &[u8]) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(word.len());
    for character in word {
        let mut carry = BASE58.iter().position(|known| known == character)?;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xFF).ok()?;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.insert(0, u8::try_from(carry & 0xFF).ok()?);
            carry >>= 8;
        }
    }
    let zeros = word.iter().take_while(|byte| **byte == b'1').count();
    let mut all = vec![0; zeros];
    all.append(&mut bytes);
    let (payload, check) = all.split_at_checked(all.len().checked_sub(4)?)?;
    let twice = digest(&SHA256, digest(&SHA256, payload).as_ref());
    (twice.as_ref().get(..4) == Some(check)).then(|| payload.to_vec())
}

/// BIP 173 and 350: one case, and a checksum of version 0 or later.
fn is_bech32(word: &[u8]) -> bool {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    const CHECKS: [u32; 2] = [1, 0x2bc8_30a3];
    let mixed = word.iter().any(u8::is_ascii_lowercase) && word.iter().any(u8::is_ascii_uppercase);
    if mixed || !(42..=62).contains(&word.len()) {
        return false;
    }
    let step = |check: u32, value: u32| {
        let top = check >> 25;
        let shifted = (check & 0x1FF_FFFF) << 5 ^ value;
        GENERATOR
            .iter()
            .enumerate()
            .fold(shifted, |check, (bit, generator)| {
                if top >> bit & 1 == 1 {
                    check ^ generator
                } else {
                    check
                }
            })
    };
    // The human-readable part `bc`, spread as the checksum wants it.
    let mut check = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    for byte in word.iter().skip(3) {
        let byte = byte.to_ascii_lowercase();
        let Some(value) = BECH32.iter().position(|known| *known == byte) else {
            return false;
        };
        check = step(check, u32::try_from(value).unwrap_or(0));
    }
    CHECKS.contains(&check)
}

/// Forty hexadecimal digits; where both cases stand, the capitals are a checksum (EIP 55).
fn is_ethereum(hex: &[u8]) -> bool {
    if hex.len() != 40 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let lower = hex.to_ascii_lowercase();
    let mixed = hex.iter().any(u8::is_ascii_uppercase) && hex.iter().any(u8::is_ascii_lowercase);
    let hash = keccak256(&lower);
    let checked = || {
        hex.iter().enumerate().all(|(at, byte)| {
            let nibble = hash
                .get(at / 2)
                .map_or(0, |byte| byte >> (4 * (1 - at % 2)) & 0xF);
            byte.is_ascii_digit() || byte.is_ascii_uppercase() == (nibble >= 8)
        })
    };
    !mixed || checked()
}

/// Keccak-256 as Ethereum uses it (before SHA-3 changed the padding), of at most one block.
fn keccak256(message: &[u8]) -> [u8; 32] {
    const RATE: usize = 136;
    let mut block = [0u8; RATE];
    for (to, from) in block.iter_mut().zip(message) {
        *to = *from;
    }
    if let Some(byte) = block.get_mut(message.len().min(RATE - 1)) {
        *byte ^= 1;
    }
    block[RATE - 1] ^= 0x80;
    let mut state = [0u64; 25];
    for (lane, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
        *lane = bytes
            .iter()
            .rev()
            .fold(0, |lane, byte| lane << 8 | u64::from(*byte));
    }
    permute(&mut state);
    let mut out = [0; 32];
    for (bytes, lane) in out.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&lane.to_le_bytes());
    }
    out
}

fn permute(state: &mut [u64; 25]) {
    const TURNS: [u32; 24] = [
        1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44,
    ];
    const LANES: [usize; 24] = [
        10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1,
    ];
    let mut register = 1u8;
    for _ in 0..24 {
        let mut columns = [0u64; 5];
        for (at, lane) in state.iter().enumerate() {
            columns[at % 5] ^= lane;
        }
        for (at, lane) in state.iter_mut().enumerate() {
            *lane ^= columns[(at + 4) % 5] ^ columns[(at + 1) % 5].rotate_left(1);
        }
        let mut moved = state[1];
        for (lane, turn) in LANES.iter().zip(TURNS) {
            moved = std::mem::replace(&mut state[*lane], moved.rotate_left(turn));
        }
        for row in state.chunks_exact_mut(5) {
            let old = [row[0], row[1], row[2], row[3], row[4]];
            for (at, lane) in row.iter_mut().enumerate() {
                *lane ^= !old[(at + 1) % 5] & old[(at + 2) % 5];
            }
        }
        // The constant of the round, from a shift register.
        for bit in 0..7u32 {
            if register & 1 == 1 {
                state[0] ^= 1 << ((1u64 << bit) - 1);
            }
            register = register << 1 ^ if register & 0x80 == 0 { 0 } else { 0x71 };
        }
    }
}

#[cfg(test)]
#[test]
fn the_hash_is_that_of_the_published_vector() {
    let hash: String = keccak256(b"")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hash,
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    );
}
