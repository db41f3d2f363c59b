//! A scanner for Rust sources that is just good enough for house rules: it blanks comments and literals,
//! cuts test items, and lists the paths that code names.

/// `text` with comments, strings and characters replaced by blanks; line breaks stay.
pub(super) fn bare(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' | b'c' if !follows_word(bytes, at) => match raw_string_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            b'\'' => match char_end(bytes, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole literals were blanked")
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `b'…'` starting here, if one does.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    if matches!(bytes[at], b'b' | b'c') {
        at += 1;
        match bytes.get(at) {
            Some(b'"') => return Some(string_end(bytes, at)),
            Some(b'\'') => return char_end(bytes, at),
            _ => {}
        }
    }
    if bytes.get(at) != Some(&b'r') {
        return None;
    }
    at += 1;
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    at += hashes;
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
    let length = bytes[at + 1..]
        .windows(close.len())
        .position(|window| window == close)?;
    Some(at + 1 + length + close.len())
}

/// The end of a character literal; a lifetime is none.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start + 1) == Some(&b'\\') {
        let length = bytes[start + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(start + 3 + length + 1);
    }
    let text = std::str::from_utf8(&bytes[start + 1..]).ok()?;
    let width = text.chars().next()?.len_utf8();
    (bytes.get(start + 1 + width) == Some(&b'\'')).then_some(start + width + 2)
}

/// Bare `code` with items under `#[cfg(test)]` blanked, and the names of test modules kept in other files.
pub(super) fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut modules = Vec::new();
    while let Some(start) = out.find(MARK) {
        let rest = &out[start + MARK.len()..];
        let item = rest.find([';', '{']).unwrap_or(rest.len());
        let words: Vec<&str> = rest[..item].split_whitespace().collect();
        let end = if rest[item..].starts_with(';') {
            if let Some(at) = words.iter().position(|word| *word == "mod") {
                modules.extend(words.get(at + 1).map(|name| (*name).to_owned()));
            }
            item + 1
        } else {
            item + block_length(&rest[item..])
        };
        let end = (start + MARK.len() + end).min(out.len());
        let blank: String = out[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blank);
    }
    (out, modules)
}

/// The length of the block in braces that `text` begins with.
fn block_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// The paths that bare `code` names from the crate's root, without `crate::`; groups are taken apart.
pub(super) fn crate_paths(code: &str) -> Vec<Vec<String>> {
    starts(code, "crate")
        .flat_map(|at| expand(&code[at..]))
        .collect()
}

/// The paths that begin with `super::`: how often they climb, and what they name then.
pub(super) fn super_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    starts(code, "super")
        .filter(|at| !code[..*at - "super::".len()].ends_with("super::"))
        .flat_map(|at| {
            let (mut rest, mut climbs) = (&code[at..], 1);
            while let Some(next) = rest.strip_prefix("super::") {
                (rest, climbs) = (next, climbs + 1);
            }
            expand(rest).into_iter().map(move |path| (climbs, path))
        })
        .collect()
}

/// Where the text behind each `word::` begins.
fn starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).filter_map(move |(at, _)| {
        let whole = !follows_word(code.as_bytes(), at);
        (whole && code[at + word.len()..].starts_with("::")).then(|| at + word.len() + "::".len())
    })
}

/// The paths of `a::b`, or of each member of `{a::b, c::{d, e}}`; never empty ones.
fn expand(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if text.starts_with('{') {
        let inner = &text[1..block_length(text).saturating_sub(1).max(1)];
        return members(inner).into_iter().flat_map(expand).collect();
    }
    let length = text.bytes().take_while(|byte| is_word(*byte)).count();
    if length == 0 {
        return Vec::new();
    }
    let (head, rest) = (text[..length].to_owned(), &text[length..]);
    let tails = rest.strip_prefix("::").map(expand).unwrap_or_default();
    if tails.is_empty() {
        return vec![vec![head]];
    }
    tails
        .into_iter()
        .map(|tail| [vec![head.clone()], tail].concat())
        .collect()
}

/// `inner` split at the commas that are in no braces.
fn members(inner: &str) -> Vec<&str> {
    let (mut found, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                found.push(&inner[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(&inner[from..]);
    found
}

/// The `use` paths of bare `code` that end in a glob.
pub(super) fn glob_imports(code: &str) -> Vec<String> {
    code.split(';')
        .filter_map(|item| item.rfind("use ").map(|at| &item[at + "use ".len()..]))
        .filter(|path| path.contains("::*"))
        .map(|path| path.split_whitespace().collect())
        .collect()
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = concat!(
        "a /* crate::x /* y */ z */ b\n// crate::c\nlet s = \"crate::d \\\" e\"; ",
        "let r = r#\"crate::f \" g\"#; let c = '\"'; let q = '\\''; fn f<'a>(x: &'a str) { crate::h() }",
    );
    let code = bare(text);
    assert_eq!(crate_paths(&code), [["h"]]);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(code.contains("fn f<'a>(x: &'a str)"));
}

#[test]
fn raw_byte_strings_are_blanked_and_words_are_not() {
    let code =
        bare("let b = br##\"crate::x \"# y\"##; let r = number; let n = b'\\n'; crate::y();");
    assert_eq!(crate_paths(&code), [["y"]]);
    assert!(code.contains("number"));
}

#[test]
fn groups_are_taken_apart() {
    let code = "use crate::{call::{Call, Input}, clock, disk::Disk as D};\npub(crate) fn f(x: crate::gate::Gate) {}";
    let firsts: Vec<String> = crate_paths(code)
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        firsts,
        [
            "call::Call",
            "call::Input",
            "clock",
            "disk::Disk",
            "gate::Gate"
        ]
    );
}

#[test]
fn climbs_are_counted() {
    let paths = super_paths("use super::a; use super::super::b::C; mysuper::d();");
    let flat: Vec<(usize, String)> = paths
        .into_iter()
        .map(|(climbs, path)| (climbs, path.join("::")))
        .collect();
    assert_eq!(flat, [(1, "a".to_owned()), (2, "b::C".to_owned())]);
}

#[test]
fn test_items_are_cut() {
    let code = "use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::b;\n fn f() { {} }\n}\nuse crate::c;\n#[cfg(test)]\npub(crate) mod fake;\n#[cfg(test)]\nuse crate::d;";
    let (left, modules) = without_tests(code);
    assert_eq!(crate_paths(&left), [["a"], ["c"]]);
    assert_eq!(modules, ["fake"]);
    assert_eq!(left.lines().count(), code.lines().count());
}

#[test]
fn globs_are_found() {
    assert_eq!(
        glob_imports("use a::b;\nuse c::*;\nfn f() -> u8 { 2 * 3 }\npub use d::{e::*, g};"),
        ["c::*", "d::{e::*,g}"]
    );
}
