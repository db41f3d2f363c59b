//! A request is changed before it is decoded, so that policy judges, people are asked about, the record
//! commits to and the function receives one and the same request.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use wire::http::Target;

use super::snapshot::Connection;
use crate::call::{Found, FunctionId, RequestBody};
use crate::gate::Refusal;

/// Headers that describe the bytes of a body as it was sent.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// A request before it is decoded.
#[derive(Debug)]
pub(super) struct Undecoded {
    pub(super) method: http::Method,
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) body: RequestBody,
}

/// Changes the places of one request; `None` leaves a place as it is.
pub(super) trait Edit {
    fn target(&mut self, target: &str) -> Result<Option<String>, Refusal>;
    fn header(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;
    fn body(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;
    /// The refusal of a change that cannot be made.
    fn unfit(&self, why: &str) -> Refusal;
}

/// Change `request`; what it asks for must stay the same. `found` is that; it comes back as it is found with
/// the changes.
pub(super) fn edited(
    connection: &Connection,
    edit: &mut impl Edit,
    mut request: Undecoded,
    found: Found,
) -> Result<(Undecoded, Found), Refusal> {
    if !change(edit, &mut request)? {
        return Ok((request, found));
    }
    let again = connection
        .catalogue
        .find(&request.method, &request.target, &request.headers);
    let functions: Vec<&FunctionId> = found.functions().collect();
    if !again.functions().eq(functions) {
        return Err(edit.unfit("the request would be for another function"));
    }
    Ok((request, again))
}

/// Whether anything was changed.
fn change(edit: &mut impl Edit, request: &mut Undecoded) -> Result<bool, Refusal> {
    let mut changed = false;
    if let Some(target) = edit.target(request.target.as_str())? {
        let parsed = Target::parse(&target).map_err(|error| edit.unfit(&error.to_string()))?;
        let segments = |target: &Target| target.path().split('/').count();
        if segments(&parsed) != segments(&request.target) {
            return Err(edit.unfit("the path would have other parts"));
        }
        request.target = parsed;
        changed = true;
    }
    for (name, value) in &mut request.headers {
        if let Some(text) = edit.header(name.as_str(), value.as_bytes())? {
            *value = HeaderValue::from_bytes(&text)
                .map_err(|_| edit.unfit("what would be put there cannot stand in a header"))?;
            changed = true;
        }
    }
    if let RequestBody::Bytes(bytes) = &request.body
        && let Some(body) = edit.body(&request.headers, bytes)?
    {
        request.body = RequestBody::Bytes(body.into());
        for name in &DIGESTS {
            request.headers.remove(name);
        }
        changed = true;
    }
    Ok(changed)
}
