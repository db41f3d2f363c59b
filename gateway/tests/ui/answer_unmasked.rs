//~ E0616
//! Nobody reads a function's answer but through masking.
use callgate::upstream::Raw;

pub fn case(raw: Raw) -> String {
    format!("{:?}", raw.answer)
}
