//! The framer's verdict does not depend on how the bytes were cut, and a refusal is final.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::Framer;

fuzz_target!(|bytes: &[u8]| {
    for make in [Framer::http1, Framer::http1_or_2] {
        let mut whole = make();
        let verdict = whole.push(bytes);
        let mut single = make();
        let one_by_one = bytes.iter().try_for_each(|byte| single.push(&[*byte]));
        assert_eq!(verdict, one_by_one, "the verdict depends on the cut");
        let cut = bytes.first().map_or(0, |first| usize::from(*first) % (bytes.len() + 1));
        let mut halves = make();
        let in_two = halves.push(&bytes[..cut]).and_then(|()| halves.push(&bytes[cut..]));
        assert_eq!(verdict, in_two, "the verdict depends on the cut");
        if verdict.is_ok() {
            assert_eq!(whole.phase(), single.phase());
        } else {
            assert!(whole.push(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").is_err(), "a refusal is not final");
        }
    }
});
