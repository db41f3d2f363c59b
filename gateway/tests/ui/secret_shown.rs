//~ E0277
//! A secret has no text form.
use callgate::secret::Secret;

pub fn case(secret: &Secret<String>) -> String {
    format!("{secret}")
}
