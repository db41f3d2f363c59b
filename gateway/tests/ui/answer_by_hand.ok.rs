//~ ok
//! A masked answer can be handed on.
use callgate::pipeline::MaskedReply;

pub fn case(honest: MaskedReply) -> MaskedReply {
    honest
}
