//! Which bodies can be read.

use super::{brotli, deflate, gzip, json, text, typed, zstd};

// M4, M5
#[test]
fn a_compressed_answer_is_decoded_and_masked() {
    let body = r#"{"a":"bob@example.com"}"#;
    let packed = gzip(body.as_bytes());
    let case = json().coding("gzip");
    assert!(case.masker().unwrap().decoded());
    for at in 0..packed.len() {
        let (left, right) = packed.split_at(at);
        let (out, _) = case.chunks(&[left, right]).unwrap();
        assert_eq!(out, br#"{"a":"[masked:email]"}"#);
    }
    let (out, _) = json()
        .coding("identity, X-GZIP")
        .chunks(&[&packed])
        .unwrap();
    assert_eq!(out, br#"{"a":"[masked:email]"}"#);
}

// M4
#[test]
fn a_truncated_or_damaged_gzip_stream_is_withheld() {
    let packed = gzip(br#"{"a":"bob@example.com"}"#);
    let case = json().coding("gzip");
    for length in 1..packed.len() {
        assert_eq!(
            case.withheld(&packed[..length]),
            "broken-coding",
            "{length}"
        );
    }
    let mut damaged = packed.clone();
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    assert_eq!(case.withheld(&damaged), "broken-coding");
    let mut trailing = packed;
    trailing.extend_from_slice(b"garbage");
    assert_eq!(case.withheld(&trailing), "broken-coding");
}

// M4
#[test]
fn a_zstd_answer_of_any_length_is_whole_at_its_end_and_not_before() {
    // What is decoded is handed on in blocks of 32 KiB: a frame may end just where a block is full, and
    // without a checksum nothing follows that would say so.
    for length in [32 * 1024, 64 * 1024, 96 * 1024] {
        for length in length - 1..=length + 1 {
            let body = format!("\"{}\"", "lorem ".repeat(length)[..length - 2].to_owned());
            let packed = zstd(body.as_bytes());
            for chunk in [packed.len(), 1, 7] {
                let chunks: Vec<_> = packed.chunks(chunk).collect();
                let (out, _) = json().coding("zstd").chunks(&chunks).unwrap();
                assert!(out == body.as_bytes(), "{length} bytes by {chunk}");
            }
            let cut = &packed[..packed.len() - 1];
            assert_eq!(json().coding("zstd").withheld(cut), "broken-coding");
        }
    }
}

// M4
#[test]
fn deflate_zstd_and_brotli_are_decoded_from_any_chunks_and_only_whole() {
    let filler = "lorem ipsum dolor sit amet ".repeat(4000);
    let body = format!("{{\"a\":\"bob@example.com\",\"b\":\"{filler}\"}}");
    let masked = body.replace("bob@example.com", "[masked:email]");
    for (coding, packed) in [
        ("deflate", deflate(body.as_bytes(), true)),
        ("deflate", deflate(body.as_bytes(), false)),
        ("zstd", zstd(body.as_bytes())),
        ("br", brotli(body.as_bytes())),
        (
            "zstd",
            [zstd(&body.as_bytes()[..500]), zstd(&body.as_bytes()[500..])].concat(),
        ),
    ] {
        let case = json().coding(coding);
        for at in 0..packed.len() {
            let (left, right) = packed.split_at(at);
            let (out, _) = case.chunks(&[left, right]).unwrap();
            assert!(out == masked.as_bytes(), "{coding} split at {at}");
            if at > 0 {
                assert!(case.chunks(&[left]).is_err(), "{coding} cut at {at}");
            }
        }
        let trailing = [packed, b"garbage".to_vec()].concat();
        assert_eq!(case.withheld(&trailing), "broken-coding");
    }
    let zeros = format!("[0{}]", ",0".repeat(4 << 20));
    assert_eq!(
        json().coding("zstd").withheld(&zstd(zeros.as_bytes())),
        "inflated"
    );
    assert_eq!(
        json().coding("br").withheld(&brotli(zeros.as_bytes())),
        "inflated"
    );
    assert_eq!(
        json()
            .coding("deflate")
            .withheld(&deflate(zeros.as_bytes(), true)),
        "inflated"
    );
}

// M4
#[test]
fn concatenated_gzip_members_are_all_masked() {
    let mut packed = gzip(br#"{"a":"bob@exa"#);
    packed.extend(gzip(br#"mple.com"}"#));
    let (out, _) = json().coding("gzip").chunks(&[&packed]).unwrap();
    assert_eq!(out, br#"{"a":"[masked:email]"}"#);
}

// M4
#[test]
fn a_bomb_is_withheld() {
    let zeros = format!("[0{}]", ",0".repeat(4 << 20));
    assert_eq!(
        json().coding("gzip").withheld(&gzip(zeros.as_bytes())),
        "inflated"
    );
}

// M4
#[test]
fn codings_that_cannot_be_undone_are_withheld() {
    for coding in [
        "br, gzip",
        "compress",
        "gzip, gzip",
        "deflate, gzip",
        "aes128gcm",
        "gzip;q=1",
    ] {
        let withheld = json().coding(coding).masker().unwrap_err();
        assert_eq!(withheld.code(), "content-coding", "{coding}");
    }
}

// M4: gzip bytes under the label identity, and the other way round
#[test]
fn a_wrong_label_is_withheld() {
    let packed = gzip(br#"{"a":"bob@example.com"}"#);
    assert_eq!(json().withheld(&packed), "json");
    assert_eq!(text().withheld(&packed), "text");
    let plain = br#"{"a":"bob@example.com"}"#;
    assert_eq!(json().coding("gzip").withheld(plain), "broken-coding");
    // Without its header, deflate takes some garbage for data: what comes out is no JSON.
    assert!(json().coding("deflate").chunks(&[plain]).is_err());
    assert_eq!(json().coding("zstd").withheld(plain), "broken-coding");
    assert!(json().coding("br").chunks(&[plain]).is_err());
}

// M6, M18
#[test]
fn media_types_without_a_reader_are_withheld() {
    for media in [
        "multipart/byteranges; boundary=x",
        "image/png",
        "application/grpc",
        "application/pdf",
        "application/zip",
        "application/vnd.ms-excel",
    ] {
        assert_eq!(
            typed(media).masker().unwrap_err().code(),
            "media-type",
            "{media}"
        );
    }
}

// M6
#[test]
fn other_character_sets_are_withheld() {
    for media in [
        "application/json; charset=utf-16",
        "text/plain; charset=utf-7",
        "text/plain;charset=\"Shift_JIS\"",
        "application/json; charset=iso-8859-1",
    ] {
        assert_eq!(
            typed(media).masker().unwrap_err().code(),
            "charset",
            "{media}"
        );
    }
    let utf16: Vec<u8> = "{\"a\":1}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(json().withheld(&utf16), "json");
    assert_eq!(text().withheld(&utf16), "text");
    assert_eq!(text().withheld(b"bob\xC1\x80example.com\n"), "text");
}

// M6
#[test]
fn json_under_another_label_is_still_masked() {
    let body = r#"{"a":"bob\u0040example.com","ssn":1}"#;
    for media in [
        "text/plain",
        "text/html",
        "",
        "application/octet-stream",
        "application/x+json",
    ] {
        let masked = typed(media).masked(body);
        assert_eq!(masked, r#"{"a":"[masked:email]","ssn":1}"#, "{media}");
        let masked = typed(media).field("$.ssn", "us-ssn").masked(body);
        assert_eq!(
            masked, r#"{"a":"[masked:email]","ssn":"[masked:us-ssn]"}"#,
            "{media}"
        );
    }
    assert_eq!(typed("").withheld(b"\x89PNG"), "media-type");
}

// M6
#[test]
fn a_byte_order_mark_does_not_hide_json() {
    let body = "\u{feff}{\"a\":\"bob@example.com\"}";
    let masked = "\u{feff}{\"a\":\"[masked:email]\"}";
    for at in 0..body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        assert_eq!(json().chunks(&[left, right]).unwrap().0, masked.as_bytes());
    }
}

// M6
#[test]
fn json_behind_a_guard_prefix_or_a_callback_is_withheld() {
    assert_eq!(json().withheld(b")]}'\n{\"a\":1}"), "json");
    assert_eq!(
        text().field("$.a", "x").withheld(b")]}'\n{\"a\":1}"),
        "text"
    );
    assert_eq!(
        text().field("$.a", "x").withheld(b"/**/cb({\"a\":1})"),
        "text"
    );
    let script = typed("application/javascript").field("$.a", "x");
    assert_eq!(script.masker().unwrap_err().code(), "media-type");
}

// M6
#[test]
fn line_delimited_json_is_masked_document_by_document() {
    let body = "{\"a\":\"bob@example.com\",\"x\":1}\n{\"x\":2}\n\u{1e}{\"x\":3}\n";
    let case = typed("application/x-ndjson").field("$.x", "x");
    let masked = "{\"a\":\"[masked:email]\",\"x\":\"[masked:x]\"}\n{\"x\":\"[masked:x]\"}\n\
        \u{1e}{\"x\":\"[masked:x]\"}\n";
    assert_eq!(case.masked(body), masked);
}

// M12
#[test]
fn error_bodies_are_masked_like_any_other() {
    let case = typed("text/html").status(502).field("$.a", "x");
    let page = "<h1>502</h1> upstream said: key AKIAIOSFODNN7EXAMPLE, user bob@example.com";
    assert_eq!(
        case.masked(page),
        "<h1>502</h1> upstream said: key [masked:secret.aws-key], user [masked:email]"
    );
    let trace = "panic at x.rs:1\n  token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl\n";
    assert_eq!(
        text().status(500).masked(trace),
        "panic at x.rs:1\n  token [masked:secret.jwt]\n"
    );
}

// M13
#[test]
fn parts_of_an_answer_are_withheld() {
    assert_eq!(json().status(206).masker().unwrap_err().code(), "partial");
}

#[test]
fn an_answer_without_a_body_may_not_come_with_one() {
    let case = typed("image/png").status(304);
    assert_eq!(case.chunks(&[]).unwrap().0, b"");
    assert_eq!(case.withheld(b"x"), "unexpected-body");
    assert!(!case.masker().unwrap().changes_length());
}

#[test]
fn an_empty_body_is_fine_in_any_coding() {
    assert_eq!(json().coding("gzip").masked(""), "");
    assert_eq!(json().masked(" \n"), " \n");
}

#[test]
fn brotli_with_a_large_window_is_withheld() {
    // The header of a window of 1 GiB, and a last, empty block: not in RFC 7932.
    let fault = text().coding("br").chunks(&[&[0x11, 0xDE]]).unwrap_err();
    assert_eq!(fault.code(), "broken-coding");
    // The largest window of the RFC.
    assert!(text().coding("br").chunks(&[&[0x3F]]).is_ok());
}
