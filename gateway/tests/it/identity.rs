//! Tokens of a certified identity provider that nobody here wrote, through discovery and rotation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callgate::clock::{Clock, ManualClock, SystemClock};
use callgate::egress::{Egress, Policy};
use callgate::identity::{Config, Context, Plane, Rejection, Revocations, Verifier};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::support::servers::OidcProvider;

struct Gate {
    runtime: Runtime,
    provider: OidcProvider,
    verifier: Verifier,
    clock: Arc<ManualClock>,
}

impl Gate {
    fn start() -> Self {
        let provider = OidcProvider::start();
        let config: Config = serde_json::from_value(json!({ "issuers": { "op": {
            "issuer": provider.issuer, "audience": OidcProvider::AUDIENCE, "groups": "groups",
            "kind": [{ "when": { "client_id": "ci" }, "kind": "workload" }],
        } } }))
        .expect("a config");
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let verifier = Verifier::new(
            &config,
            &Context {
                console_audience: None,
                base: Path::new("."),
                egress: Egress::new(&Policy::default()).expect("a client"),
                clock: Arc::<ManualClock>::clone(&clock),
                revocations: Revocations::new(),
            },
        )
        .expect("no faults");
        let runtime = Runtime::new().expect("a runtime");
        Self {
            runtime,
            provider,
            verifier,
            clock,
        }
    }

    /// Kind, subject and groups, or why not.
    fn verify(&self, token: &str) -> Result<String, Rejection> {
        let principal = self
            .runtime
            .block_on(self.verifier.verify(token, Plane::Data))?;
        let groups: Vec<_> = principal.groups().iter().cloned().collect();
        let kind = principal.kind().as_str();
        Ok(format!("{kind} {} {}", principal.key(), groups.join(",")))
    }

    fn mint(&self, wish: &Value) -> String {
        self.provider.mint(wish)
    }
}

#[test]
fn tokens_of_another_implementation_verify_and_follow_its_rotation() {
    let gate = Gate::start();
    let (first, legacy) = (gate.provider.token("ci"), gate.provider.token("legacy"));
    let builder = "workload op/ci op/builders";
    assert_eq!(gate.verify(&first).as_deref(), Ok(builder));
    let other = gate.verify(&legacy);
    assert_eq!(other.as_deref(), Ok("agent op/legacy op/builders"));
    assert_eq!(gate.provider.fetches(), 1);

    // A new key: refused within the floor, accepted at most 65 s later, the old ones still good.
    gate.provider.rotate();
    let second = gate.provider.token("ci");
    let mut waited = 0;
    while gate.verify(&second).is_err() {
        gate.clock.advance(Duration::from_secs(1));
        waited += 1;
        assert!(waited <= 65, "the new key was never accepted");
    }
    assert_eq!(gate.provider.fetches(), 2);
    assert_eq!(gate.verify(&first).as_deref(), Ok(builder));

    // Dropped keys: refused when the keys' time is over, remembered or not.
    gate.provider.drop_old_keys();
    gate.verify(&first).expect("within the cache time");
    gate.clock.advance(Duration::from_secs(301));
    let dropped = gate.verify(&first).expect_err("its key was dropped");
    let issuer = "op".into();
    assert_eq!(dropped, Rejection::UnknownKey { issuer });
    assert_eq!(gate.provider.fetches(), 3);
}

#[test]
fn tokens_that_the_other_implementation_would_never_make_are_refused() {
    let gate = Gate::start();
    let now = gate.clock.now().secs();
    assert!(gate.verify(&gate.mint(&json!({}))).is_ok());
    assert!(gate.verify(&gate.mint(&json!({ "alg": "RS256" }))).is_ok());
    for (wish, code) in [
        (json!({ "foreign": true }), "token_rejected"),
        (json!({ "alg": "RS256", "foreign": true }), "token_rejected"),
        (json!({ "claims": { "aud": "other" } }), "token_rejected"),
        (
            json!({ "claims": { "iss": "https://evil.example" } }),
            "token_rejected",
        ),
        (
            json!({ "claims": { "exp": now - 61, "iat": now - 300 } }),
            "token_expired",
        ),
        (json!({ "claims": { "nbf": now + 90 } }), "token_rejected"),
        (
            json!({ "claims": { "exp": now + 90_000 } }),
            "token_rejected",
        ),
        (json!({ "claims": { "sub": 5 } }), "token_rejected"),
        (json!({ "claims": { "nonce": "n" } }), "token_rejected"),
        (json!({ "header": { "typ": "dpop+jwt" } }), "token_rejected"),
        (json!({ "header": { "kid": "other" } }), "token_rejected"),
    ] {
        let rejection = gate.verify(&gate.mint(&wish));
        let rejection = rejection.expect_err("a forgery");
        assert_eq!(rejection.code(), code, "{wish}: {rejection}");
    }
    let hostile = gate.provider.fetches();
    assert!(hostile <= 2, "{hostile} fetches");
}

#[test]
fn an_outage_of_the_provider_is_bridged_by_the_keys_at_hand() {
    // R6
    let mut gate = Gate::start();
    let token = gate.mint(&json!({ "claims": { "exp": gate.clock.now().secs() + 7200 } }));
    gate.verify(&token).expect("verified");
    let Gate { provider, .. } = &mut gate;
    let url = provider.issuer.clone();
    provider.stop();
    gate.clock.advance(Duration::from_secs(1800));
    assert!(
        gate.verify(&token).is_ok(),
        "{url} is down for half an hour"
    );
    gate.clock.advance(Duration::from_secs(2200));
    let rejection = gate.verify(&token).expect_err("for more than an hour");
    assert_eq!(rejection.code(), "issuer_unavailable");
}
