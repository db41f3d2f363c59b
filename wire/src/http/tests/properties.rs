use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use crate::http::{Authority, Framer, MediaType, Target};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn normalising_twice_is_normalising_once(raw in "/[a-zA-Z0-9%./?&=+\\[\\]{}~:@é-]{0,40}") {
        if let Ok(once) = Target::parse(&raw) {
            let twice = Target::parse(once.as_str());
            prop_assert_eq!(Ok(once), twice);
        }
    }

    #[test]
    fn escaped_text_is_one_segment_or_refused(text in any::<String>()) {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        if let Ok(target) = Target::parse(&format!("/x/{escaped}")) {
            let segments: Vec<_> = target.segments().collect();
            prop_assert_eq!(segments.len(), 2);
            prop_assert_eq!(&*segments[1], text.as_str());
            prop_assert!(!target.path().contains("/../"));
        }
    }

    #[test]
    fn query_values_survive(text in "[ -~é€]{0,30}") {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        if let Ok(target) = Target::parse(&format!("/?q={escaped}")) {
            let pairs = target.pairs().map_err(|error| error.to_string());
            prop_assert_eq!(pairs.map(|pairs| pairs[0].value.to_string()), Ok(text));
        }
    }

    #[test]
    fn readers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Framer::http1_or_2().push(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = Target::parse(&text).map(|target| target.pairs().is_ok());
        let _ = MediaType::parse(&text);
        if let Ok(authority) = Authority::parse(&text) {
            prop_assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
        }
    }

    #[test]
    fn how_bytes_arrive_does_not_matter(
        lines in prop::collection::vec("[a-zA-Z:; \t\r\n0-9-]{0,12}", 0..6),
        at in any::<prop::sample::Index>(),
    ) {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n0\r\n\r\n", lines.join("\r\n"));
        let whole = Framer::http1().push(raw.as_bytes());
        let mut split = Framer::http1();
        let (head, tail) = raw.as_bytes().split_at(at.index(raw.len()));
        prop_assert_eq!(whole, split.push(head).and_then(|()| split.push(tail)));
    }
}
