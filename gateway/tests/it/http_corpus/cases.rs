//! The HTTP/1 corpus: raw requests that two readers may read differently, made from families of variants
//! (`variants.txt`): desynchronisation (X1), identity headers (I6), paths (X3), hosts (X4), bytes that split (X7).

use Expect::{Either, Refuse, Serve};

/// What must come of a case. Whatever it says, nothing may reach the function twice or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expect {
    /// A refusal, and nothing reaches the function.
    Refuse,
    /// Exactly this many requests reach the function.
    Serve(usize),
    /// A refusal, or one request that equals the one judged.
    Either,
}

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Family and variant, printable.
    pub(super) name: String,
    /// What is sent; `{auth}` stands for the lines that authenticate.
    pub(super) bytes: Vec<u8>,
    pub(super) expect: Expect,
}

/// Where the function lives at the gateway; behind it, the prefix is gone.
pub(super) const PREFIX: &str = "/t";

/// Longer than any limit of a head, in bytes.
const TOO_LONG: usize = 70_000;

const CHUNKED: &str = "5\r\nhello\r\n0\r\n\r\n";

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let families = [
        sane(),
        framings(),
        chunks(),
        request_lines(),
        headers(),
        targets(),
        connections(),
        pipelines(),
    ];
    families.concat()
}

fn case(family: &str, variant: &str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case {
        name: format!("{family}: {}", variant.escape_debug()),
        bytes: bytes.into(),
        expect,
    }
}

/// A request with a complete head; `head` has its own line ends, but for the last two.
fn post(head: &str, body: &str) -> Vec<u8> {
    format!("POST /t/things HTTP/1.1\r\nHost: h\r\n{{auth}}{head}\r\n\r\n{body}").into_bytes()
}

fn get(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{{auth}}{more}\r\n").into_bytes()
}

/// The variants of a section, and each made into a case.
fn family(section: &str, make: impl Fn(&str) -> Vec<u8>, expect: Expect) -> Vec<Case> {
    let named = section.split(' ').next().unwrap_or(section);
    variants(section)
        .iter()
        .map(|text| case(named, text, make(text), expect))
        .collect()
}

fn variants(section: &str) -> Vec<String> {
    let text = include_str!("variants.txt");
    let header = format!("[{section}]");
    let found: Vec<String> = text
        .lines()
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(unescape)
        .collect();
    assert!(!found.is_empty(), "no section {header}");
    found
}

fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text.chars());
    while let Some(next) = rest.next() {
        if next != '\\' {
            out.push(next);
            continue;
        }
        match rest.next() {
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                out.push(char::from(
                    u8::from_str_radix(&digits, 16).expect("two digits"),
                ));
            }
            Some('u') => {
                let digits: String = rest
                    .by_ref()
                    .skip(1)
                    .take_while(|digit| *digit != '}')
                    .collect();
                let code = u32::from_str_radix(&digits, 16).expect("digits");
                out.push(char::from_u32(code).expect("a character"));
            }
            Some(other) => out.push(other),
            None => panic!("a backslash ends {text:?}"),
        }
    }
    out
}

fn sane() -> Vec<Case> {
    let chunked = "Transfer-Encoding: chunked";
    let head = b"HEAD /t/things/1 HTTP/1.1\r\nHost: h\r\n{auth}\r\n".to_vec();
    let two = [get("/t/things/1", ""), get("/t/things/2", "")].concat();
    vec![
        case("sane", "get", get("/t/things/1", ""), Serve(1)),
        case("sane", "head", head, Serve(1)),
        case(
            "sane",
            "length",
            post("Content-Length: 5", "hello"),
            Serve(1),
        ),
        case("sane", "length 0", post("Content-Length: 0", ""), Serve(1)),
        case("sane", "chunked", post(chunked, CHUNKED), Serve(1)),
        case(
            "sane",
            "in two",
            post(chunked, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
            Serve(1),
        ),
        case(
            "sane",
            "chunked, empty",
            post(chunked, "0\r\n\r\n"),
            Serve(1),
        ),
        case("sane", "two in a row", two, Serve(2)),
    ]
}

/// Header lines that some reader may take for a body's framing, and another one not.
fn framings() -> Vec<Case> {
    let mut cases = family("te alone", |line| post(line, CHUNKED), Refuse);
    for line in variants("te alone") {
        for length in ["5", "15", "0"] {
            let head = format!("Content-Length: {length}\r\n{line}");
            cases.push(case(
                "cl+te",
                &format!("{length} {line}"),
                post(&head, CHUNKED),
                Refuse,
            ));
        }
    }
    for line in [
        "Transfer-Encoding: Chunked",
        "TRANSFER-ENCODING: CHUNKED",
        "transfer-encoding:chunked",
    ] {
        cases.push(case("te", line, post(line, CHUNKED), Either));
        for both in [
            format!("Content-Length: 5\r\n{line}"),
            format!("{line}\r\nContent-Length: 5"),
        ] {
            cases.push(case("cl+te", &both, post(&both, CHUNKED), Refuse));
        }
    }
    for line in [
        "Transfer_Encoding: chunked",
        "X-Transfer-Encoding: chunked",
        "Content-Encoding: chunked",
    ] {
        let head = format!("Content-Length: 5\r\n{line}");
        cases.push(case("te", line, post(&head, "hello"), Either));
    }
    let old = "POST /t/things HTTP/1.0\r\nHost: h\r\n{auth}Transfer-Encoding: chunked\r\n\r\n";
    cases.push(case("te", "on HTTP/1.0", format!("{old}{CHUNKED}"), Refuse));
    let length = |value: &str| post(&format!("Content-Length: {value}"), "hello");
    cases.extend(family("cl wrong", length, Refuse));
    cases.extend(family("cl odd", length, Either));
    for name in [
        "Content-Length ",
        "Content-Length\t",
        " Content-Length",
        "Content Length",
        "Content-Length\0",
    ] {
        cases.push(case(
            "cl name",
            name,
            post(&format!("{name}: 5"), "hello"),
            Refuse,
        ));
    }
    for head in ["Content_Length: 5", "X: y"] {
        cases.push(case(
            "no length, but bytes",
            head,
            post(head, "hello"),
            Either,
        ));
    }
    cases
}

fn chunks() -> Vec<Case> {
    let body = |body: &str| post("Transfer-Encoding: chunked", body);
    [
        family("chunk wrong", body, Refuse),
        family("chunk odd", body, Either),
    ]
    .concat()
}

fn request_lines() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: h\r\n{{auth}}\r\n").into_bytes();
    let mut cases = [
        family("line wrong", line, Refuse),
        family("line odd", line, Either),
    ]
    .concat();
    for (name, start, expect) in [
        ("bare LF", "GET /t/things/1 HTTP/1.1\n", Refuse),
        ("bare CR", "GET /t/things/1 HTTP/1.1\r", Refuse),
        ("CR CR LF", "GET /t/things/1 HTTP/1.1\r\r\n", Refuse),
        (
            "empty line first",
            "\r\nGET /t/things/1 HTTP/1.1\r\n",
            Either,
        ),
        (
            "bare empty line first",
            "\nGET /t/things/1 HTTP/1.1\r\n",
            Refuse,
        ),
        ("NUL first", "\0GET /t/things/1 HTTP/1.1\r\n", Refuse),
        (
            "a continuation at once",
            "GET /t/things/1 HTTP/1.1\r\n X: y\r\n",
            Refuse,
        ),
    ] {
        cases.push(case(
            "line",
            name,
            format!("{start}Host: h\r\n{{auth}}\r\n"),
            expect,
        ));
    }
    cases
}

fn headers() -> Vec<Case> {
    let with = |line: &str| get("/t/things/1", line);
    let whole = |line: &str| get("/t/things/1", &format!("{line}\r\n"));
    let host = |line: &str| format!("GET /t/things/1 HTTP/1.1\r\n{line}{{auth}}\r\n").into_bytes();
    let many: String = (0..120).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = "y".repeat(TOO_LONG);
    let mut cases = [
        family("header wrong", with, Refuse),
        family("header stripped", whole, Serve(1)),
        family("header tempting", whole, Either),
        family("host wrong", host, Refuse),
        family("host odd", host, Either),
    ]
    .concat();
    cases.push(case("header", "120 of them", with(&many), Refuse));
    cases.push(case(
        "header",
        "a long value",
        with(&format!("X: {long}\r\n")),
        Refuse,
    ));
    cases.push(case(
        "header",
        "a long name",
        with(&format!("{long}: y\r\n")),
        Refuse,
    ));
    cases.push(case(
        "header",
        "high bytes",
        with("X: \u{e4}\u{20ac}\r\n"),
        Either,
    ));
    cases.push(case("header", "empty value", with("X:\r\n"), Serve(1)));
    cases
}

fn targets() -> Vec<Case> {
    let path = |path: &str| get(path, "");
    let query = |query: &str| get(&format!("/t/things/1{query}"), "");
    let mut cases = [
        family("path wrong", path, Refuse),
        family("path odd", path, Either),
        family("query odd", query, Either),
    ]
    .concat();
    let long = format!("/t/things/{}", "a".repeat(TOO_LONG));
    cases.push(case("path", "a long one", get(&long, ""), Refuse));
    cases
}

fn connections() -> Vec<Case> {
    let with = |line: &str| get("/t/things/1", &format!("{line}\r\n"));
    // Bytes behind an upgrade that was not granted are the next request, or nothing at all.
    let upgrade = |line: &str| [with(line), b"\x81\x05hello".to_vec()].concat();
    [
        family("connection odd", with, Either),
        family("upgrade odd", upgrade, Either),
    ]
    .concat()
}

fn pipelines() -> Vec<Case> {
    let hidden = "GET /t/things/9 HTTP/1.1\r\nHost: h\r\n{auth}\r\n";
    let length = format!("Content-Length: {}", hidden.len());
    let one = |name: &str, bytes: Vec<u8>, expect| case("pipeline", name, bytes, expect);
    let behind = |first: Vec<u8>| [first, hidden.into()].concat();
    let chunked = "Transfer-Encoding: chunked";
    let te_cl = format!("{chunked}\r\nContent-Length: 4");
    let cl_te = format!("Content-Length: 6\r\n{chunked}");
    let expecting = "Expect: 100-continue\r\nContent-Length: 0";
    vec![
        one(
            "a request behind a body",
            behind(post("Content-Length: 5", "hello")),
            Serve(2),
        ),
        one("0.CL", behind(post("Content-Length: 500", "hello")), Either),
        one("CL.0", post(&length, hidden), Either),
        one(
            "a body on GET",
            behind(get("/t/things/1", &format!("{length}\r\n"))),
            Either,
        ),
        one(
            "TE.CL",
            post(&te_cl, "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n"),
            Refuse,
        ),
        one("CL.TE", post(&cl_te, "0\r\n\r\nG"), Refuse),
        one(
            "bytes behind the last chunk",
            post(chunked, "0\r\n\r\nG"),
            Either,
        ),
        one("behind an expectation", post(expecting, hidden), Either),
        one(
            "behind a refusal",
            behind(get("/t/%2e%2e/admin", "")),
            Either,
        ),
        one(
            "behind a close",
            behind(get("/t/things/1", "Connection: close\r\n")),
            Either,
        ),
    ]
}
