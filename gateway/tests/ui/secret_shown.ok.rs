//~ ok
//! A secret shows its redacted form only.
use callgate::secret::Secret;

pub fn case(secret: &Secret<String>) -> String {
    format!("{secret:?}")
}
