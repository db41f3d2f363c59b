//! A target that is accepted is in its normal form, and nothing in it can be read as another path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::Target;

fuzz_target!(|raw: &str| {
    let Ok(target) = Target::parse(raw) else { return };
    let text = target.as_str();
    assert_eq!(Target::parse(text).as_ref(), Ok(&target), "normal form is not stable");
    let path = target.path();
    assert!(path.starts_with('/') && text.is_ascii());
    let lower = path.to_ascii_lowercase();
    for odd in ["//", "\\", "%2f", "%5c", "%00", "#", ";", "?", " "] {
        assert!(!lower.contains(odd) || (odd == "//" && path == "/"), "{odd} in {path}");
    }
    // A second decoding must find nothing to decode.
    for (at, _) in lower.match_indices("%25") {
        let next = lower.as_bytes().get(at + 3..at + 5).unwrap_or_default();
        assert!(next.len() < 2 || !next.iter().all(u8::is_ascii_hexdigit), "escaped twice: {path}");
    }
    for segment in target.segments() {
        assert!(segment != "." && segment != ".." && !segment.contains(['/', '\0']), "{path}");
    }
    if let Ok(pairs) = target.pairs() {
        assert!(target.query().is_some() || pairs.is_empty());
    }
    assert_eq!(target.strip_prefix("/").as_ref(), Some(&target));
});
