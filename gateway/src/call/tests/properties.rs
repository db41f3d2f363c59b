use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::{JSON, catalogue, facts, head, id, send};
use crate::call::{Call, Catalogue, RequestBody};

fn open() -> Catalogue {
    catalogue(
        r#"
        inline:
          f:
            method: POST
            path: "/a/{x}"
            query: { q: {}, n: { schema: { type: integer } } }
            body:
              schema:
                type: object
                properties:
                  a: { type: integer }
                  b: { type: number }
                  c: { type: object, properties: { d: { type: string } } }
                  e: { type: object }
        "#,
    )
}

/// JSON text, well-formed or nearly so.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        (-1000i32..1000, 0u8..6)
            .prop_map(|(whole, digits)| format!("{whole}.{}", "5".repeat(usize::from(digits)))),
        "\"[a-z\\\\é]{0,4}\"",
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let name = prop_oneof![
            Just("a"),
            Just("b"),
            Just("c"),
            Just("d"),
            Just("e"),
            Just("A"),
            Just("z")
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_decodes_thaws_to_the_same_bytes_and_input(
        segment in "[a-zA-Z0-9%é~-]{1,8}",
        query in "(q=[a-z0-9%.~]{0,6}|n=-?[0-9]{1,3}|)",
        body in json(),
        accept in "[a-z/;=]{0,10}",
    ) {
        let catalogue = open();
        let Ok(target) = wire::http::Target::parse(&format!("/a/{segment}?{query}")) else {
            return Ok(());
        };
        let headers = [JSON, ("accept", accept.as_str())];
        let Ok(call) = send(&catalogue, "POST", target.as_str(), &headers, body.as_bytes()) else {
            return Ok(());
        };
        // Not one byte of the body or the target is changed.
        prop_assert_eq!(call.content().body, Some(bytes::Bytes::from(body)));
        prop_assert_eq!(call.target(), &target);
        let frozen = call.freeze();
        prop_assert!(frozen.is_some());
        let thawed = catalogue.thaw(&frozen.clone().unwrap_or_default(), id(), facts("POST"));
        let thawed = thawed.map_err(|error| error.to_string());
        prop_assert!(thawed.is_ok(), "{:?}", thawed);
        if let Ok(thawed) = thawed {
            prop_assert_eq!(thawed.input(), call.input());
            prop_assert_eq!(thawed.freeze(), frozen);
        }
    }

    #[test]
    fn nothing_decodes_by_panicking(bytes in prop::collection::vec(any::<u8>(), 0..60), flip in any::<prop::sample::Index>()) {
        let catalogue = open();
        let head = head("POST", "/a/b", &[JSON]);
        let found = catalogue.find(&head.method, &head.target, &head.headers);
        let body = RequestBody::Bytes(bytes.clone().into());
        let _ = catalogue.decode(&found, head, body, id(), facts("POST"));
        let _ = catalogue.thaw(&bytes, id(), facts("POST"));
        let call = send(&catalogue, "POST", "/a/b", &[JSON], br#"{"a":1}"#);
        let mut frozen = call.ok().and_then(|call| call.freeze()).unwrap_or_default();
        let at = flip.index(frozen.len());
        frozen[at] ^= 0x20;
        if let Ok(call) = catalogue.thaw(&frozen, id(), facts("POST")) {
            prop_assert_eq!(call.freeze(), Some(frozen));
        }
    }
}
