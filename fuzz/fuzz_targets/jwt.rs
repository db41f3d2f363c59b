//! Tokens before anything of them is believed: what is accepted has one spelling, and a second reader
//! understands the same.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

// The readers themselves, without the gateway around them: they need neither its other rooms nor the
// minutes that those take to build.
#[allow(dead_code, reason = "only the readers are called here")]
#[path = "."]
mod identity {
    #[path = "../../gateway/src/identity/algorithm.rs"]
    pub(super) mod algorithm;
    #[path = "../../gateway/src/identity/jws.rs"]
    pub(super) mod jws;
    #[path = "../../gateway/src/identity/key_set.rs"]
    pub(super) mod key_set;
    #[path = "../../gateway/src/identity/rejection.rs"]
    pub(super) mod rejection;

    /// What the text of one refusal names; no reader refuses for it.
    mod revocation {
        pub(super) const STALE_AFTER: std::time::Duration = std::time::Duration::from_secs(30);
    }

    pub(super) use rejection::Rejection;

    /// What was accepted, as others would have to understand it.
    pub(super) fn token(text: &str) -> Option<(String, serde_json::Value, [Vec<u8>; 2])> {
        let read = jws::parse(text).ok()?;
        let name = read.algorithm.name().to_owned();
        Some((name, read.claims.into(), [read.signed.to_vec(), read.signature]))
    }

    /// Whether a key set is accepted, and reading it again gives the same.
    pub(super) fn key_set(bytes: &[u8]) {
        if let Ok(read) = key_set::KeySet::parse(bytes, &algorithm::ALL) {
            assert!(read.len() > 0 && read.len() + read.ignored() <= 9 * key_set::KEYS_MAX);
            let again = key_set::KeySet::parse(bytes, &algorithm::ALL).expect("accepted before");
            assert_eq!(read.fingerprint(), again.fingerprint());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    identity::key_set(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((algorithm, claims, [signed, signature])) = identity::token(text) else { return };
    assert!(text.len() <= identity::jws::TOKEN_BYTES_MAX && !signature.is_empty());
    let spelled = [&signed[..], b".", URL_SAFE_NO_PAD.encode(&signature).as_bytes()].concat();
    assert_eq!(spelled, bytes, "a second spelling of the same token");
    let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut json = || serde_json::from_slice::<serde_json::Value>(&parts.next().expect("a part"));
    let header = json().expect("a JSON header");
    assert_eq!(header["alg"], algorithm);
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert_eq!(json().expect("a JSON payload"), claims);
});
