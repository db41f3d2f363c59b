//~ E0451
//! A reply to a caller is made by the release of a masked, recorded answer only.
use callgate::pipeline::{MaskedReply, Reply};

pub fn case(honest: MaskedReply) -> Reply {
    Reply::Masked(Box::new(MaskedReply { ..honest }))
}
