//! What to do with a request's body, decided from the head alone: before `100 Continue`, before a
//! byte of it is read.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use wire::http::{BodyLength, MediaType};

use super::catalogue::Found;
use super::definition::{Body, Form};
use super::fault::CallFault;

/// Largest body that is held in memory to be judged, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What to do with a request's body before `decode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyPlan {
    /// There is none; should bytes come after all, hand them to `decode`, which refuses them.
    None,
    /// Read it into memory; more than this many bytes are 413.
    Buffer {
        /// At most this many bytes.
        bytes_max: usize,
    },
    /// Hand it on as it arrives.
    Stream,
}

impl Found {
    /// The functions that the request may be for.
    pub fn functions(&self) -> impl Iterator<Item = &super::FunctionId> {
        self.bindings().map(|binding| &binding.function.id)
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = &super::Binding> {
        let bindings = match self {
            Self::One(binding) => std::slice::from_ref(binding),
            Self::ByBody(bindings) => bindings.as_slice(),
            Self::Unknown { .. } => &[],
        };
        bindings.iter().map(AsRef::as_ref)
    }

    /// What to do with the body, from the head alone: before `100 Continue`, before a byte is read.
    ///
    /// # Errors
    /// [`CallFault`] when the head shows already that the body is refused, or that there is no such
    /// function.
    pub fn body_plan(
        &self,
        headers: &HeaderMap,
        length: BodyLength,
    ) -> Result<BodyPlan, CallFault> {
        let binding = match self {
            Self::One(binding) => binding,
            Self::ByBody(bindings) => bindings.first().ok_or_else(unknown)?,
            Self::Unknown { .. } => return Err(unknown()),
        };
        // Bodies of unsaid length are those of HTTP/2: empty or not, that shows when they are read.
        let empty = length == BodyLength::Known(0);
        match &binding.body {
            Body::None if matches!(length, BodyLength::Known(1..) | BodyLength::Chunked) => {
                Err(no_body())
            }
            Body::None => Ok(BodyPlan::None),
            Body::Typed { .. } | Body::Bytes { .. } if empty => {
                Ok(BodyPlan::Buffer { bytes_max: 0 })
            }
            Body::Typed { forms, .. } => {
                if length != BodyLength::Unsaid || headers.contains_key(CONTENT_TYPE) {
                    codec(headers, forms)?;
                }
                buffer(length)
            }
            Body::Bytes { media_types, .. } => {
                if length != BodyLength::Unsaid {
                    accept(headers, media_types)?;
                }
                buffer(length)
            }
            Body::Stream { media_types } => {
                if length != BodyLength::Unsaid && !empty {
                    accept(headers, media_types)?;
                }
                Ok(BodyPlan::Stream)
            }
        }
    }
}

/// The form of a judged body, from its media type.
pub(super) fn codec<'f>(headers: &HeaderMap, forms: &'f [Form]) -> Result<&'f Form, CallFault> {
    let media = media_type(headers)?;
    let form = forms.iter().find(|form| form.media_type == media.essence());
    let form = form.ok_or_else(|| {
        let known: Vec<_> = forms.iter().map(|form| form.media_type.as_str()).collect();
        CallFault::media(format!("the function takes {}", known.join(" or ")))
    })?;
    let utf8 = media.charset().is_none_or(|charset| charset == "utf-8");
    if !utf8 || media.parameters().any(|(name, _)| name != "charset") {
        return Err(CallFault::media(
            "the media type may only have `charset=utf-8`",
        ));
    }
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        true => Ok(form),
        false => Err(CallFault::media(
            "the body is compressed: send it without `Content-Encoding`",
        )),
    }
}

pub(super) fn accept(headers: &HeaderMap, media_types: &[String]) -> Result<(), CallFault> {
    if media_types.is_empty() {
        return Ok(());
    }
    let media = media_type(headers)?;
    match media_types.iter().any(|known| known == media.essence()) {
        true => Ok(()),
        false => Err(CallFault::media(format!(
            "the function takes {}",
            media_types.join(" or ")
        ))),
    }
}

fn media_type(headers: &HeaderMap) -> Result<MediaType, CallFault> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(CallFault::media("the body needs one `Content-Type`"));
    };
    let text = value.to_str().unwrap_or_default();
    MediaType::parse(text).map_err(|error| CallFault::media(format!("`Content-Type`: {error}")))
}

fn buffer(length: BodyLength) -> Result<BodyPlan, CallFault> {
    match length {
        BodyLength::Known(bytes) if bytes > BODY_BYTES_MAX as u64 => Err(too_large()),
        BodyLength::Known(_) | BodyLength::Chunked | BodyLength::Unsaid => Ok(BodyPlan::Buffer {
            bytes_max: BODY_BYTES_MAX,
        }),
    }
}

pub(super) fn fits(bytes: &Bytes) -> Result<(), CallFault> {
    if bytes.len() > BODY_BYTES_MAX {
        Err(too_large())
    } else {
        Ok(())
    }
}

fn too_large() -> CallFault {
    CallFault::TooLarge("the body is larger than 1 MiB".to_owned())
}

pub(super) fn no_body() -> CallFault {
    CallFault::bad("the function takes no body")
}

pub(super) fn unknown() -> CallFault {
    CallFault::NotFound("there is no such function".to_owned())
}
