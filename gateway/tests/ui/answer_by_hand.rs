//~ E0451
//! A masked answer is made by the release of a masked, recorded answer only.
use callgate::pipeline::MaskedReply;

pub fn case(honest: MaskedReply) -> MaskedReply {
    MaskedReply { ..honest }
}
