//~ ok
//! A masked answer can be read.
use callgate::upstream::Raw;

pub fn case(raw: Raw) -> Option<u16> {
    raw.mask().ok().map(|masked| masked.head().status.as_u16())
}
