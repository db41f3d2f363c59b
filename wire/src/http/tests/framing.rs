use crate::http::{FrameError, Framer, HeadError};

/// Feed the bytes whole, byte by byte, and split in every two; all must agree.
fn follow(raw: &str) -> Result<(), FrameError> {
    let whole = Framer::http1().push(raw.as_bytes());
    let mut single = Framer::http1();
    let bytewise = raw
        .as_bytes()
        .iter()
        .try_for_each(|byte| single.push(&[*byte]));
    assert_eq!(whole, bytewise, "{raw:?}");
    for at in 0..raw.len() {
        let mut framer = Framer::http1();
        let (head, tail) = raw.as_bytes().split_at(at);
        let split = framer.push(head).and_then(|()| framer.push(tail));
        assert_eq!(whole, split, "{raw:?} split at {at}");
    }
    whole
}

fn get(extra: &str) -> Result<(), FrameError> {
    follow(&format!("GET / HTTP/1.1\r\nHost: a\r\n{extra}\r\n"))
}

fn chunked(body: &str) -> Result<(), FrameError> {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    follow(&format!("{head}{body}"))
}

#[test]
fn good_requests_follow_one_another() {
    let two = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(follow(&format!("{two}{post}{two}{chunks}{two}")), Ok(()));
    assert_eq!(follow("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(()));
    assert_eq!(follow("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), Ok(()));
}

// T1, X1
#[test]
fn bare_line_ends_are_refused_at_once() {
    for raw in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(follow(raw), Err(FrameError::LineEnd), "{raw:?}");
    }
    assert_eq!(
        Framer::http1().push(b"GET / HTTP/1.1\n"),
        Err(FrameError::LineEnd)
    );
}

// X1
#[test]
fn both_lengths_are_refused_in_either_order() {
    for extra in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        assert_eq!(get(extra), Err(HeadError::TwoLengths.into()), "{extra}");
    }
}

// X1
#[test]
fn hidden_transfer_encodings_are_refused() {
    for extra in [
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\tchunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        "Transfer\u{2010}Encoding: chunked\r\n",
    ] {
        assert!(get(extra).is_err(), "{extra:?}");
    }
}

#[test]
fn malformed_lines_are_refused() {
    for raw in [
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
    ] {
        assert_eq!(follow(raw), Err(FrameError::RequestLine), "{raw:?}");
    }
    for target in ["/a#b", "*", "a", "ftp://a/", "/\u{e9}", "/\x01"] {
        let raw = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(follow(&raw), Err(FrameError::Target), "{target:?}");
    }
    assert_eq!(get("NoColon\r\n"), Err(FrameError::HeaderLine));
    assert_eq!(get(": x\r\n"), Err(FrameError::HeaderLine));
    let evil = "GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(follow(evil), Err(HeadError::HostMismatch.into()));
}

// X1, M3
#[test]
fn chunks_are_sizes_and_data_and_nothing_else() {
    assert_eq!(chunked("3\r\nabc\r\n0\r\n\r\n"), Ok(()));
    assert_eq!(chunked("00000003\r\nabc\r\n000\r\n\r\n"), Ok(()));
    assert_eq!(
        chunked("3;a=b\r\nabc\r\n0\r\n\r\n"),
        Err(FrameError::ChunkExtension)
    );
    assert_eq!(chunked("3;\n\r\nabc"), Err(FrameError::ChunkExtension));
    for size in [
        "0x3",
        "3 ",
        " 3",
        "+3",
        "-3",
        "",
        "g",
        "123456789",
        "ffffffffffffffff1",
        "3\n",
    ] {
        assert_eq!(
            chunked(&format!("{size}\r\nabc\r\n")),
            Err(FrameError::ChunkSize),
            "{size:?}"
        );
    }
    assert_eq!(chunked("3\r\nabcd\r\n"), Err(FrameError::ChunkEnd));
    assert_eq!(chunked("3\r\nabc\n"), Err(FrameError::ChunkEnd));
    assert_eq!(chunked("0\r\nX: y\r\n\r\n"), Err(FrameError::Trailers));
    assert_eq!(
        chunked("0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Ok(())
    );
}

// X1: what is smuggled behind a body is a request of its own and judged as one.
#[test]
fn bytes_after_a_body_are_the_next_request() {
    let raw = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabTRACE / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(follow(raw), Err(HeadError::Method.into()));
}

#[test]
fn a_refused_connection_stays_refused() {
    let mut framer = Framer::http1();
    assert!(framer.push(b"\n").is_err());
    assert_eq!(
        framer.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Err(FrameError::Refused)
    );
}

#[test]
fn an_endless_head_is_refused() {
    let mut framer = Framer::http1();
    framer.push(b"GET / HTTP/1.1\r\n").unwrap();
    let line = format!("X: {}\r\n", "a".repeat(1000));
    let found = (0..40).find_map(|_| framer.push(line.as_bytes()).err());
    assert_eq!(found, Some(HeadError::TooLarge.into()));
}

#[test]
fn the_http2_preface_passes_only_at_the_start() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(Framer::http1_or_2().push(preface), Ok(()));
    let mut late = Framer::http1_or_2();
    late.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(late.push(preface), Err(FrameError::RequestLine));
}
