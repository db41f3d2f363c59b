//! How deep the text of a draft may nest. Cedar's parser, and much of what is made of its trees, goes as deep
//! on the stack as the text does, and checking a tree costs the square of its depth: whoever may send a draft
//! must not be able to end the process with it, or to keep a core. The count knows no grammar: it is never less
//! than the depth of any tree that could be made of the text.

use super::fault::{Fault, Place};
use super::load::PolicyFile;

/// Stack that a thread needs to load, and to drop, a draft.
pub const DRAFT_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Brackets inside brackets.
const BRACKETS_MAX: usize = 64;
/// Operators, members, brackets and conditions of one policy: each may stand inside the one before.
const STEPS_MAX: usize = 300;
/// The same of a whole text.
const ALL_STEPS_MAX: usize = 4_000;
/// Words behind which a tree may go deeper.
const DEEPER: [&str; 7] = ["when", "unless", "if", "in", "is", "has", "like"];

/// Where a text nests deeper than a draft may.
pub(super) fn too_deep(file: &PolicyFile) -> Option<Fault> {
    let (mut brackets, mut steps, mut all) = (0_usize, 0_usize, 0_usize);
    let mut rest = file.text.as_str();
    while let Some(first) = rest.chars().next() {
        let (taken, deeper) = token(rest, first);
        match first {
            '(' | '[' | '{' => brackets += 1,
            ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
            // The end of a policy.
            ';' if brackets == 0 => steps = 0,
            _ => {}
        }
        steps += usize::from(deeper);
        all += usize::from(deeper);
        let most = [
            (brackets, BRACKETS_MAX, "brackets that are open at one time"),
            (
                steps,
                STEPS_MAX,
                "operators, members and brackets in one policy",
            ),
            (
                all,
                ALL_STEPS_MAX,
                "operators, members and brackets in one draft",
            ),
        ];
        if let Some((_, most, what)) = most.iter().find(|(count, most, _)| count > most) {
            let offset = file.text.len() - rest.len();
            return Some(Fault {
                place: Place::at(&file.name, &file.text, offset),
                text: format!("more than {most} {what}"),
                help: Some("`callgate policy simulate` takes policies of any size".to_owned()),
            });
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    None
}

/// How long the token is that `text` begins with, and whether a tree may go deeper by it.
fn token(text: &str, first: char) -> (usize, bool) {
    match first {
        '"' => (string(text), false),
        '/' if text.starts_with("//") => (text.find(['\n', '\r']).unwrap_or(text.len()), false),
        // `a[0][0]` and `a.b().c()` nest as well.
        '(' | '[' | '{' | '.' | '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' => (1, true),
        '&' | '|' | '=' => {
            let two = ["&&", "||", "=="].iter().any(|two| text.starts_with(two));
            (if two { 2 } else { 1 }, true)
        }
        _ => {
            let word = text.find(|c: char| !c.is_alphanumeric() && c != '_');
            let word = word.unwrap_or(text.len());
            let deeper = text.get(..word).is_some_and(|word| DEEPER.contains(&word));
            (word.max(first.len_utf8()), deeper)
        }
    }
}

/// The length of a string with its quotes.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}
