//~ E0451
//! A principal is made by `identity` only, from evidence that it checked.
use callgate::identity::Principal;

pub fn case(honest: Principal) -> Principal {
    Principal { ..honest }
}
