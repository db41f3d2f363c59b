//~ ok
//! A reply can be taken apart to render it.
use callgate::pipeline::MaskedReply;

pub fn case(honest: MaskedReply) -> u16 {
    honest.into_parts().2.as_u16()
}
