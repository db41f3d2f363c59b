//! Measures the part of a string that needs no second look.

/// The bytes of a string before the next quote, backslash or control character.
pub(super) struct Run {
    pub(super) bytes: usize,
    pub(super) ascii: bool,
}

/// Measures a clean run, eight bytes at a time.
#[inline]
pub(super) fn clean_run(text: &[u8]) -> Run {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest set bit is exact; higher ones may come from its borrow.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES.wrapping_mul(limit)) & !word & HIGH;
    let mut seen = 0;
    let mut bytes = 0;
    for eight in text.chunks_exact(8) {
        let word = eight.try_into().map_or(0, u64::from_le_bytes);
        let quote = below(word ^ ONES.wrapping_mul(u64::from(b'"')), 1);
        let backslash = below(word ^ ONES.wrapping_mul(u64::from(b'\\')), 1);
        let stops = quote | backslash | below(word, 0x20);
        if stops != 0 {
            let before = stops.trailing_zeros() / 8;
            seen |= word & HIGH & ((1 << (before * 8)) - 1);
            return Run {
                bytes: bytes + before as usize,
                ascii: seen == 0,
            };
        }
        seen |= word & HIGH;
        bytes += 8;
    }
    let rest = text.get(bytes..).unwrap_or_default();
    let clean = rest
        .iter()
        .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
        .count();
    let ascii = rest.get(..clean).unwrap_or_default().is_ascii();
    Run {
        bytes: bytes + clean,
        ascii: seen == 0 && ascii,
    }
}
