//~ ok
//! A secret is taken into custody by `new`.
use callgate::secret::Secret;

pub fn case() -> Secret<String> {
    Secret::new("canary".to_owned())
}
