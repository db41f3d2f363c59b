//~ ok
//! A masked answer is one.
use callgate::pipeline::{MaskedReply, Reply};

pub fn case(masked: MaskedReply) -> Reply {
    Reply::Masked(Box::new(masked))
}
