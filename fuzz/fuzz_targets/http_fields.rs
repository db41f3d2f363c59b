//! Heads, hosts and media types: what is accepted is unambiguous and stable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::{Authority, BodyLength, MediaType, RequestLine, Version, check};

fuzz_target!(|text: &str| {
    if let Ok(authority) = Authority::parse(text) {
        let host = authority.host();
        assert!(!host.is_empty() && host.is_ascii() && host == host.to_ascii_lowercase());
        assert!(!host.contains(['@', '/', '?', '#', '\\', ' ', '%', ',']), "{host}");
        assert!(authority.port_or(80) != 0);
    }
    if let Ok(media) = MediaType::parse(text) {
        assert_eq!(media.essence(), media.essence().to_ascii_lowercase());
        assert_eq!(media.essence().matches('/').count(), 1);
    }
    let lines: Vec<(&str, &[u8])> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim().as_bytes())).collect();
    for version in [Version::Http10, Version::Http11, Version::Http2] {
        let line = RequestLine { method: "POST", version, authority: None };
        let Ok(head) = check(&line, lines.iter().copied()) else { continue };
        let count = |name: &str| lines.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name)).count();
        let (length, encoding) = (count("content-length"), count("transfer-encoding"));
        assert!(count("host") <= 1 && length + encoding <= 1);
        match head.body {
            BodyLength::Known(_) => assert_eq!(length, 1),
            BodyLength::Chunked => assert_eq!((encoding, version), (1, Version::Http11)),
            BodyLength::Unsaid => assert_eq!(length + encoding, 0),
        }
    }
});
