//~ ok
//! A principal can be read and handed on.
use callgate::identity::{Principal, PrincipalKey};

pub fn case(honest: Principal) -> (PrincipalKey, Principal) {
    (honest.key().clone(), honest)
}
