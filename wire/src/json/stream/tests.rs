use super::{Documents, Kind, Scanner, StreamLimits, Token, Verdict, Visitor};
use crate::json::{JsonErrorKind, Limits, parse};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

/// Records tokens; replaces strings `"x"` by `"X"` and the value of each key `"drop"`.
#[derive(Default)]
struct Recorder {
    seen: Vec<(Kind, String)>,
    drop_next: bool,
}

impl Visitor for Recorder {
    fn token(&mut self, token: &Token<'_>) -> Verdict {
        let text = String::from_utf8(token.inner().to_vec()).unwrap();
        let replace = std::mem::replace(&mut self.drop_next, false);
        self.drop_next = token.kind == Kind::Key && text == "drop";
        let verdict = if replace {
            Verdict::Replace(b"0".to_vec())
        } else if text == "x" {
            Verdict::Replace(b"\"X\"".to_vec())
        } else {
            Verdict::Keep
        };
        self.seen.push((token.kind, text));
        verdict
    }
}

fn feed(chunks: &[&[u8]], limits: StreamLimits) -> Result<(Vec<u8>, Recorder), JsonErrorKind> {
    let mut scanner = Scanner::new(limits);
    let mut recorder = Recorder::default();
    let mut out = Vec::new();
    for chunk in chunks {
        scanner
            .push(chunk, &mut recorder, &mut out)
            .map_err(|error| error.kind().clone())?;
    }
    scanner
        .finish(&mut recorder, &mut out)
        .map_err(|error| error.kind().clone())?;
    Ok((out, recorder))
}

const SAMPLE: &str = " {\"a\" : [1, -2.5e3,true ,null],\"drop\":{\"b\":[\"x\",{\"drop\":1}]},\
    \"drop\":\"y\",\"x\":\"x\",\"q\\\"\\\\\":\"\\u00e9\u{e9}\",\"drop\":[],\"e\":{}}\n";

#[test]
fn every_split_gives_the_same_tokens_and_bytes() {
    let (whole, tokens) = feed(&[SAMPLE.as_bytes()], StreamLimits::default()).unwrap();
    assert_eq!(
        String::from_utf8(whole.clone()).unwrap(),
        " {\"a\" : [1, -2.5e3,true ,null],\"drop\":0,\"drop\":0,\"X\":\"X\",\
            \"q\\\"\\\\\":\"\\u00e9\u{e9}\",\"drop\":0,\"e\":{}}\n"
    );
    for at in 0..=SAMPLE.len() {
        let (left, right) = SAMPLE.as_bytes().split_at(at);
        let (out, recorder) = feed(&[left, b"", right], StreamLimits::default()).unwrap();
        assert_eq!(out, whole, "split at {at}");
        assert_eq!(recorder.seen, tokens.seen, "split at {at}");
    }
    let bytes: Vec<&[u8]> = SAMPLE.as_bytes().chunks(1).collect();
    assert_eq!(feed(&bytes, StreamLimits::default()).unwrap().0, whole);
}

#[test]
fn hidden_content_is_checked_but_not_shown() {
    let (_, recorder) = feed(&[br#"{"drop":{"secret":1}}"#], StreamLimits::default()).unwrap();
    assert!(recorder.seen.iter().all(|(_, text)| text != "secret"));
    assert!(feed(&[br#"{"drop":{"secret":}}"#], StreamLimits::default()).is_err());
}

// M19
#[test]
fn a_token_over_the_limit_is_refused_however_it_is_split() {
    let limits = StreamLimits {
        token_bytes_max: 8,
        ..StreamLimits::default()
    };
    let exact = br#"["123456"]"#;
    let over = br#"["1234567"]"#;
    for at in 0..exact.len() {
        assert!(feed(&[&exact[..at], &exact[at..]], limits).is_ok());
        let kind = feed(&[&over[..at], &over[at..]], limits).err();
        assert_eq!(kind, Some(JsonErrorKind::TokenTooLarge(8)));
    }
}

// M8
#[test]
fn deep_nesting_and_trailing_data_are_refused() {
    let deep = vec![b'['; 10_000];
    let kind = feed(&[&deep], StreamLimits::default()).err();
    assert_eq!(kind, Some(JsonErrorKind::TooDeep(512)));
    let kind = feed(&[b"{} x"], StreamLimits::default()).err();
    assert_eq!(kind, Some(JsonErrorKind::TrailingData));
    let kind = feed(&[b"1 2"], StreamLimits::default()).err();
    assert_eq!(kind, Some(JsonErrorKind::TrailingData));
}

#[test]
fn many_documents_pass_where_they_are_asked_for() {
    let limits = StreamLimits {
        documents: Documents::Many,
        ..StreamLimits::default()
    };
    let text = b"{\"a\":1}\n\x1e[2]\n3\n\"x\"";
    assert_eq!(
        feed(&[text], limits).unwrap().0,
        b"{\"a\":1}\n\x1e[2]\n3\n\"X\""
    );
    assert!(feed(&[b"{\"a\":1}\n{"], limits).is_err());
}

#[test]
fn an_empty_stream_is_accepted() {
    assert_eq!(feed(&[b""], StreamLimits::default()).unwrap().0, b"");
}

#[test]
fn a_failed_scanner_stays_failed() {
    let mut scanner = Scanner::new(StreamLimits::default());
    let mut recorder = Recorder::default();
    let mut out = Vec::new();
    assert!(scanner.push(b"}", &mut recorder, &mut out).is_err());
    assert!(scanner.push(b"{}", &mut recorder, &mut out).is_err());
    assert!(scanner.finish(&mut recorder, &mut out).is_err());
}

struct Keep;
impl Visitor for Keep {
    fn token(&mut self, _: &Token<'_>) -> Verdict {
        Verdict::Keep
    }
}

proptest! {
    #[test]
    fn what_it_accepts_is_json_and_unchanged(
        text in r#"[\[\]{}",:0-9eE.\\u +a-f\u{e9}-]{0,24}"#, split in any::<prop::sample::Index>(),
    ) {
        let at = split.index(text.len() + 1);
        let mut scanner = Scanner::new(StreamLimits::default());
        let mut out = Vec::new();
        let (left, right) = text.as_bytes().split_at(at);
        let done = scanner.push(left, &mut Keep, &mut out)
            .and_then(|()| scanner.push(right, &mut Keep, &mut out))
            .and_then(|()| scanner.finish(&mut Keep, &mut out));
        let reference = serde_json::from_str::<serde_json::Value>(&text);
        if done.is_ok() {
            prop_assert_eq!(&out, text.as_bytes());
            prop_assert!(reference.is_ok() || text.trim().is_empty() || text.contains("\\u"));
        } else {
            prop_assert!(reference.is_err());
        }
        if parse(text.as_bytes(), &Limits::default()).is_ok() {
            prop_assert_eq!(out, text.into_bytes());
        }
    }
}

/// Drops members named `gone` and items of arrays that are `"x"`, 7 or an object that begins with them.
struct Dropper {
    arrays: Vec<bool>,
}

impl Visitor for Dropper {
    fn token(&mut self, token: &Token<'_>) -> Verdict {
        let in_array = self.arrays.last() == Some(&true);
        match token.kind {
            Kind::Key if token.inner() == b"gone" => return Verdict::Drop,
            Kind::String if in_array && token.inner() == b"x" => return Verdict::Drop,
            Kind::Number if in_array && token.raw == b"7" => return Verdict::Drop,
            Kind::ArrayStart if self.arrays.len() == 2 && in_array => return Verdict::Drop,
            Kind::ObjectStart | Kind::ArrayStart => {
                self.arrays.push(token.kind == Kind::ArrayStart);
            }
            Kind::ObjectEnd | Kind::ArrayEnd => {
                self.arrays.pop();
            }
            Kind::Key | Kind::String | Kind::Number | Kind::Literal => {}
        }
        Verdict::Keep
    }
}

fn dropped(chunks: &[&[u8]]) -> Result<String, JsonErrorKind> {
    let limits = StreamLimits {
        drops: true,
        ..StreamLimits::default()
    };
    let mut scanner = Scanner::new(limits);
    let mut visitor = Dropper { arrays: Vec::new() };
    let mut out = Vec::new();
    for chunk in chunks {
        let pushed = scanner.push(chunk, &mut visitor, &mut out);
        pushed.map_err(|error| error.kind().clone())?;
    }
    let ended = scanner.finish(&mut visitor, &mut out);
    ended.map_err(|error| error.kind().clone())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_dropped_item_goes_with_one_comma_however_it_is_split() {
    for (document, expected) in [
        (r#"{"gone":1}"#, "{}"),
        (r#"{"gone":1,"gone":[1,{"a":2}]}"#, "{}"),
        (r#"{ "gone" : 1 , "a":2}"#, r#"{   "a":2}"#),
        (r#"{"a":1,"gone":"x"}"#, r#"{"a":1}"#),
        (r#"{"a":1 , "gone":null , "b":2}"#, r#"{"a":1  , "b":2}"#),
        (
            r#"{"gone":1,"a":1,"gone":{},"b":[],"gone":true}"#,
            r#"{"a":1,"b":[]}"#,
        ),
        (r#"{"a":{"gone":{"gone":1}},"b":1}"#, r#"{"a":{},"b":1}"#),
        (r#"["x"]"#, "[]"),
        (r#"["x","x",1, "x" ,2,7]"#, "[1 ,2]"),
        (r#"[7,8,7,9]"#, "[8,9]"),
        (r#"[{"a":["x",["x"],1]}]"#, r#"[{"a":[[],1]}]"#),
        (r#"{"a":[1,[2,[3]],4],"gone":[[]]}"#, r#"{"a":[1,4]}"#),
        (r#"{"a":[[2],[3]]}"#, r#"{"a":[]}"#),
        ("{\"a\":\n[\n 1,\n \"x\"\n]\n}", "{\"a\":\n[\n 1\n]\n}"),
    ] {
        let whole = dropped(&[document.as_bytes()]).unwrap();
        assert_eq!(whole, expected, "{document}");
        parse(whole.as_bytes(), &Limits::default()).unwrap();
        for at in 0..=document.len() {
            let (left, right) = document.as_bytes().split_at(at);
            assert_eq!(
                dropped(&[left, right]).unwrap(),
                whole,
                "{document} split at {at}"
            );
        }
        let bytes: Vec<&[u8]> = document.as_bytes().chunks(1).collect();
        assert_eq!(dropped(&bytes).unwrap(), whole, "{document} byte by byte");
    }
}

#[test]
fn what_is_dropped_is_still_checked_for_form() {
    for document in [
        r#"{"gone":}"#,
        r#"{"gone":1"#,
        r#"{"gone":[1,]}"#,
        r#"{"a":1,"gone"}"#,
        r#"{"gone":1,}"#,
        r#"["x",]"#,
        r#"["x""x"]"#,
    ] {
        assert!(dropped(&[document.as_bytes()]).is_err(), "{document}");
    }
}

#[test]
fn white_space_behind_a_comma_is_held_up_to_the_limit() {
    let mut long = b"[1,".to_vec();
    long.extend(std::iter::repeat_n(b' ', 70_000));
    long.extend_from_slice(b"2]");
    let (left, right) = long.split_at(69_000);
    assert!(matches!(
        dropped(&[left, right]),
        Err(JsonErrorKind::TokenTooLarge(_))
    ));
}
