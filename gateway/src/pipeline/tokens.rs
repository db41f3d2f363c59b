//! Tokens of a request become values before the request is decoded: policy judges, people are asked about,
//! the record commits to and the function receives one and the same request.

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use wire::http::Target;

use super::snapshot::{Connection, Snapshot};
use crate::call::{Facts, Found, FunctionId, RequestBody};
use crate::gate::{Code, Refusal};
use crate::identity::Principal;
use crate::mask::{DataClass, Owner, Restorer, TokenFault, Veil};
use crate::policy::Subject;

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

/// Put values in place of the tokens of `request`. `found` is what it asks for with them, and must still be
/// what it asks for without.
pub(super) fn restore(
    (snapshot, connection): (&Snapshot, &Connection),
    (who, facts): (&Principal, &Facts),
    mut request: Undecoded,
    found: Found,
) -> Result<(Undecoded, Found, Vec<Veil>), Refusal> {
    let functions: Vec<FunctionId> = found.functions().cloned().collect();
    let subject = Subject::from(who);
    let may = |class: &DataClass| {
        let may = |id| {
            let policies = &snapshot.policies;
            policies.may_detokenise(&subject, id, facts, class)
        };
        !functions.is_empty() && functions.iter().all(may)
    };
    let owner = Owner {
        issuer: &who.key().issuer,
        subject: &who.key().subject,
        connection: connection.name.as_str(),
    };
    let mut restorer = Restorer::new(snapshot.vault.as_deref(), owner, &may);
    let changed = put_back(&mut restorer, &mut request)?;
    let (_, veils) = restorer.finish();
    if !changed {
        return Ok((request, found, veils));
    }
    let again = connection
        .catalogue
        .find(&request.method, &request.target, &request.headers);
    let same = again.functions().eq(functions.iter());
    if !same {
        return Err(unfit("with its value the request is for another function"));
    }
    Ok((request, again, veils))
}

/// Whether anything was put back.
fn put_back(restorer: &mut Restorer<'_>, request: &mut Undecoded) -> Result<bool, Refusal> {
    let mut changed = false;
    if let Some(target) = restorer
        .target(request.target.as_str())
        .map_err(|fault| told(&fault))?
    {
        let parsed = Target::parse(&target).map_err(|error| unfit(&error.to_string()))?;
        let segments = |target: &Target| target.path().split('/').count();
        if segments(&parsed) != segments(&request.target) {
            return Err(unfit("with its value the path has other parts"));
        }
        request.target = parsed;
        changed = true;
    }
    for (name, value) in &mut request.headers {
        if let Some(text) = restorer
            .header(name.as_str(), value.as_bytes())
            .map_err(|fault| told(&fault))?
        {
            *value = HeaderValue::try_from(text)
                .map_err(|_| unfit("its value cannot stand in a header"))?;
            changed = true;
        }
    }
    if let RequestBody::Bytes(bytes) = &request.body {
        let content_type = request.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if let Some(body) = restorer
            .body(content_type, bytes)
            .map_err(|fault| told(&fault))?
        {
            request.body = RequestBody::Bytes(body.into());
            for name in &DIGESTS {
                request.headers.remove(name);
            }
            changed = true;
        }
    }
    Ok(changed)
}

fn told(fault: &TokenFault) -> Refusal {
    let code = match fault {
        TokenFault::NotPermitted { .. } => Code::Denied,
        TokenFault::Refused { .. }
        | TokenFault::Misplaced { .. }
        | TokenFault::Unfit { .. }
        | TokenFault::TooShort { .. }
        | TokenFault::TooMany => Code::MaskedValueInRequest,
    };
    Refusal::new(code, format!("NOT executed: {fault}"))
}

fn unfit(why: &str) -> Refusal {
    Refusal::new(
        Code::MaskedValueInRequest,
        format!("NOT executed: the request holds a token that cannot be taken back there: {why}"),
    )
}
