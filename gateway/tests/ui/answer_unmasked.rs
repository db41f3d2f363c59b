//~ E0308
//! What came from a function is no answer yet.
use callgate::pipeline::Reply;
use callgate::upstream::Raw;

pub fn case(raw: Raw) -> Reply {
    Reply::Masked(Box::new(raw))
}
