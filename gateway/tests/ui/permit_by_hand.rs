//~ E0451
//! A permit is made by the gate only.
use callgate::gate::Permitted;

pub fn case<C>(honest: Permitted<C>) -> Permitted<C> {
    Permitted { ..honest }
}
