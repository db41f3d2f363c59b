//! Tokens of a request become values before the request is decoded.

use http::header::HeaderMap;

use super::edit::{Edit, Undecoded, edited};
use super::snapshot::{Connection, Snapshot};
use crate::call::{Facts, Found, FunctionId};
use crate::gate::{Code, Refusal};
use crate::identity::Principal;
use crate::mask::{DataClass, Owner, Restorer, TokenFault, Veil};
use crate::policy::Subject;

/// Put values in place of the tokens of `request`. `found` is what it asks for with them, and must still be
/// what it asks for without.
pub(super) fn restore(
    (snapshot, connection): (&Snapshot, &Connection),
    (who, facts): (&Principal, &Facts),
    request: Undecoded,
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
    let (request, found) = edited(connection, &mut restorer, request, found)?;
    let (_, veils) = restorer.finish();
    Ok((request, found, veils))
}

impl Edit for Restorer<'_> {
    fn target(&mut self, target: &str) -> Result<Option<String>, Refusal> {
        Restorer::target(self, target).map_err(|fault| told(&fault))
    }

    fn header(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let text = Restorer::header(self, name, value).map_err(|fault| told(&fault))?;
        Ok(text.map(String::into_bytes))
    }

    fn body(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let content_type = headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Restorer::body(self, content_type, body).map_err(|fault| told(&fault))
    }

    fn unfit(&self, why: &str) -> Refusal {
        Refusal::new(
            Code::MaskedValueInRequest,
            format!(
                "NOT executed: the request holds a token that cannot be taken back there: {why}"
            ),
        )
    }
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
