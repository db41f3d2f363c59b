//~ E0423
//! A secret is taken into custody by `new` only: its value is private.
use callgate::secret::Secret;

pub fn case() -> Secret<String> {
    Secret("canary".to_owned())
}
