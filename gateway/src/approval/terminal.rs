//! Text of strangers, made safe to show.

use std::fmt::Write;

/// Make every character visible that would act instead of show: control characters (and so ANSI
/// sequences, line ends and tabs), bidirectional overrides, invisible and filling characters, tags,
/// variation selectors, and combining marks in piles (more than four on end). They become `\u{202e}`;
/// `\n`, `\r` and `\t` keep their short forms. Other text stays as it is.
pub fn terminal_safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (c, acts) in judged(text) {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if acts => {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// How many characters [`terminal_safe`] makes visible, line ends and tabs not counted.
pub(super) fn acting(text: &str) -> u64 {
    let shows = |c| matches!(c, '\n' | '\r' | '\t');
    judged(text).filter(|(c, acts)| *acts && !shows(*c)).count() as u64
}

/// Each character, and whether it acts instead of showing.
fn judged(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut marks = 0_usize;
    text.chars().map(move |c| {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        (c, acts(c) || marks > MARKS_MAX)
    })
}

/// Combining marks on one character before the rest is shown as escapes.
const MARKS_MAX: usize = 4;

/// The common blocks of combining marks.
const fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Whether the character changes how others are shown, or is not seen at all.
const fn acts(c: char) -> bool {
    matches!(c,
        // C0, DEL, C1
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // soft hyphen, combining grapheme joiner, Arabic letter mark, fillers
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}'
        // spaces that are none or look like one
        | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
        // zero width, direction marks, separators, embeddings, isolates, invisible operators
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // variation selectors, byte order mark, interlinear annotation, tags
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // private use
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}
