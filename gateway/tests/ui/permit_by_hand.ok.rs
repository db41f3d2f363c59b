//~ ok
//! A permit can be handed on.
use callgate::gate::Permitted;

pub fn case<C>(honest: Permitted<C>) -> Permitted<C> {
    honest
}
