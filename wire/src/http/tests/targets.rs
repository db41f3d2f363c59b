use crate::http::{FormError, MediaType, MediaTypeError, QueryError, Target, TargetError, form};

fn refused(raw: &str) -> TargetError {
    match Target::parse(raw) {
        Err(error) => error,
        Ok(target) => panic!("`{raw}` was taken for `{target}`"),
    }
}

fn normal(raw: &str) -> String {
    Target::parse(raw).map(|target| target.to_string()).unwrap()
}

// X3, T3
#[test]
fn dot_segments_are_refused_in_every_spelling() {
    for raw in [
        "/a/../b",
        "/..",
        "/.",
        "/a/./b",
        "/a/.",
        "/%2e%2e/a",
        "/%2E%2e/a",
        "/.%2e/a",
        "/a/%2e",
        "/a/...",
        "/admin.",
        "/admin%2e",
        "/admin%20",
        "/%20admin",
        "/a/..%20",
    ] {
        assert_eq!(refused(raw), TargetError::DotSegment, "{raw}");
    }
}

// X3
#[test]
fn slashes_and_parameters_inside_a_segment_are_refused() {
    for raw in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/\\..\\",
        "/a;b",
        "/..;/a",
        "/a%3bb",
        "/x;jsessionid=1",
        "/a%3Fb",
        "/a%23b",
        "/a/%2e%2e%2fadmin",
        // look-alikes that fold to a delimiter
        "/a%EF%BC%8Fb",
        "/a%E2%88%95b",
        "/a%E2%81%84b",
        "/%EF%BC%8E%EF%BC%8E/b",
        "/a%EF%BC%BCb",
        "/a%E2%80%A5/b",
        "/a%EF%BC%9Bb",
        "/a%EF%BC%85b",
        "/a%CD%BEb",
    ] {
        assert_eq!(refused(raw), TargetError::Delimiter, "{raw}");
    }
}

// X3
#[test]
fn empty_segments_are_refused_but_a_trailing_slash_is_not() {
    for raw in ["//admin", "/a//b", "/a//", "//", "///"] {
        assert_eq!(refused(raw), TargetError::EmptySegment, "{raw}");
    }
    assert_eq!(normal("/a/"), "/a/");
    assert_eq!(normal("/"), "/");
}

// X3
#[test]
fn double_escapes_are_refused_however_they_are_built() {
    for raw in [
        "/%252e%252e/a",
        "/a%252fb",
        "/a%25%32%66",
        "/a?b=%252e",
        "/a?b=%25%34%31",
        "/a?%2541=1",
    ] {
        assert_eq!(refused(raw), TargetError::DoubleEscape, "{raw}");
    }
    assert_eq!(normal("/a?discount=5%25%20off"), "/a?discount=5%25%20off");
}

// X3
#[test]
fn what_is_not_utf8_is_refused() {
    for raw in [
        "/%c0%af",
        "/%c0%ae%c0%ae/a",
        "/%ff",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%ed%a0%80",
        "/a?b=%c0%af",
        "/a?b=%C3&%A9=1",
    ] {
        assert_eq!(refused(raw), TargetError::Utf8, "{raw}");
    }
}

// X3, X7
#[test]
fn controls_are_refused_escaped_or_not() {
    for raw in [
        "/a%00b",
        "/a%0d%0ab",
        "/a\u{7f}",
        "/a\tb",
        "/a?b=%0d%0aX:%201",
        "/a?b=%00",
        "/a\0",
        "/a%C2%85b",
        "/a%E2%80%AEb",
        "/a%E2%80%8Bb",
        "/a%EF%BB%BFb",
        "/a%C2%A0b",
    ] {
        assert_eq!(refused(raw), TargetError::Control, "{raw}");
    }
}

// X3
#[test]
fn fragments_and_other_forms_are_refused() {
    assert_eq!(refused("/a#b"), TargetError::Fragment);
    assert_eq!(refused("/a?b#c"), TargetError::Fragment);
    for raw in ["", "*", "a/b", "http://h/a", "?a=1", "%2Fa"] {
        assert_eq!(refused(raw), TargetError::Form, "{raw}");
    }
}

#[test]
fn bad_escapes_and_raw_characters_are_refused() {
    for raw in [
        "/%", "/%2", "/%g0", "/a?b=%", "/a?b=%zz", "/%u002f", "/a?b=%+1",
    ] {
        assert_eq!(refused(raw), TargetError::Escape, "{raw}");
    }
    for raw in [
        "/a b",
        "/ä",
        "/a\"b",
        "/<a>",
        "/{a}",
        "/a|b",
        "/a[b]",
        "/a?b=c d",
        "/a?b=\"c\"",
    ] {
        assert_eq!(refused(raw), TargetError::Character, "{raw}");
    }
    assert_eq!(refused("/a?b=1;c=2"), TargetError::Delimiter);
}

#[test]
fn limits_hold() {
    assert_eq!(
        refused(&format!("/{}", "a".repeat(8192))),
        TargetError::TooLong
    );
    assert!(Target::parse(&format!("/{}", "a".repeat(8191))).is_ok());
    assert_eq!(refused(&"/a".repeat(65)), TargetError::TooManySegments);
    assert!(Target::parse(&"/a".repeat(64)).is_ok());
    assert_eq!(
        refused(&format!("/?{}", "[".repeat(8000))),
        TargetError::TooLong
    );
}

#[test]
fn a_target_is_normalised_once() {
    assert_eq!(normal("/%61%2Db/%c3%a9?%71=%7e"), "/a-b/%C3%A9?q=~");
    assert_eq!(normal("/a?filter[x]={1}"), "/a?filter%5Bx%5D=%7B1%7D");
    assert_eq!(normal("/a?"), "/a");
    assert_eq!(normal("/a?b=/x?y"), "/a?b=/x?y");
    assert_eq!(normal("/v1/x:y%3Az"), "/v1/x:y%3Az");
    let target = Target::parse("/a%20b/%C3%A9?x=%26&y").unwrap();
    assert_eq!(target.segments().collect::<Vec<_>>(), ["a b", "é"]);
    let pairs = target.pairs().unwrap();
    assert_eq!((&*pairs[0].name, &*pairs[0].value), ("x", "&"));
    assert_eq!((&*pairs[1].name, &*pairs[1].value), ("y", ""));
}

#[test]
fn a_prefix_is_stripped_by_whole_segments() {
    let strip = |raw: &str, prefix: &str| {
        let stripped = Target::parse(raw).unwrap().strip_prefix(prefix);
        stripped.map(|target| (target.path().to_owned(), target.query().map(str::to_owned)))
    };
    let found = |path: &str, query: Option<&str>| Some((path.to_owned(), query.map(str::to_owned)));
    assert_eq!(strip("/pay/a?b=1", "/pay"), found("/a", Some("b=1")));
    assert_eq!(strip("/pay?b=1", "/pay"), found("/", Some("b=1")));
    assert_eq!(strip("/pay/", "/pay"), found("/", None));
    assert_eq!(strip("/payments/a", "/pay"), None);
    assert_eq!(strip("/Pay/a", "/pay"), None);
    assert_eq!(strip("/a/b", "/"), found("/a/b", None));
    let below = Target::parse("/a?b=1")
        .unwrap()
        .below(&Target::parse("/base/v1/").unwrap());
    assert_eq!(
        (below.as_str(), below.path()),
        ("/base/v1/a?b=1", "/base/v1/a")
    );
}

#[test]
fn ambiguous_queries_are_refused() {
    let pairs = |raw: &str| Target::parse(raw).unwrap().pairs().map(|_| ()).unwrap_err();
    assert_eq!(pairs("/?a=b+c"), QueryError::Plus);
    assert_eq!(pairs("/?=b"), QueryError::EmptyName);
    assert_eq!(pairs("/?="), QueryError::EmptyName);
    for raw in ["/?a=1&&b=2", "/?&a=1", "/?a=1&", "/?&"] {
        assert_eq!(pairs(raw), QueryError::EmptyPair, "{raw}");
    }
    assert_eq!(
        pairs(&format!("/?{}", vec!["a=1"; 257].join("&"))),
        QueryError::TooMany
    );
    let spaced = Target::parse("/?a=b+c%2B").unwrap().with_plus_as_space();
    assert_eq!(spaced.pairs().unwrap()[0].value, "b c+");
}

#[test]
fn media_types_are_read_to_the_letter() {
    let media = MediaType::parse("Application/JSON; Charset=\"UTF-8\" ; a=b").unwrap();
    assert_eq!(media.essence(), "application/json");
    assert_eq!(media.charset().as_deref(), Some("utf-8"));
    assert_eq!(
        media.parameters().collect::<Vec<_>>(),
        [("charset", "UTF-8"), ("a", "b")]
    );
    assert!(media.is_json());
    assert!(
        MediaType::parse("application/problem+json")
            .unwrap()
            .is_json()
    );
    let duplicate = MediaType::parse("a/b; charset=utf-8; CHARSET=utf-16").unwrap_err();
    assert_eq!(duplicate, MediaTypeError::Duplicate("charset".to_owned()));
    for raw in [
        "",
        "json",
        "a/",
        "/b",
        "*/*",
        "a/*",
        "a/b, c/d",
        "a/b;",
        "a/b; charset",
        "a/b; =x",
        "a/b; x=",
        "a/b; x=\"y",
        "a/b; x=\"y\"z",
        "a /b",
        "a/b c",
        "a/b; x=y z",
        "a/b; x =y",
        "a/b;; x=y",
        "a/b; x=\"\\",
        "application/json\u{e9}",
        "a/b/c",
        " a/b",
    ] {
        assert!(MediaType::parse(raw).is_err(), "{raw}");
    }
}

#[test]
fn forms_are_read_strictly() {
    let fields = form(b"a=b+c%2B&d=%0D%0A&e").unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        fields,
        [pair("a", "b c+"), pair("d", "\r\n"), pair("e", "")]
    );
    assert_eq!(form(b""), Ok(Vec::new()));
    let cases: [(&[u8], FormError); 9] = [
        (b"a=%", FormError::Escape),
        (b"a=%zz", FormError::Escape),
        (b"a=1;b=2", FormError::Character),
        (b"a=\n", FormError::Character),
        (b"a=\xc3\xa9", FormError::Character),
        (b"a=%c0%af", FormError::Text),
        (b"a=%00", FormError::Text),
        (b"=1", FormError::EmptyName),
        (b"a=1&&b=2", FormError::EmptyPair),
    ];
    for (raw, error) in cases {
        assert_eq!(form(raw), Err(error), "{raw:?}");
    }
    assert_eq!(
        form("a=1&".repeat(257).trim_end_matches('&').as_bytes()),
        Err(FormError::TooMany)
    );
}
