//! What a caller has left, before anything else is asked about its call: calls at once and a second, and values that
//! answers may hold.

use super::snapshot::Connection;
use crate::call::FunctionId;
use crate::gate::{Code, Place, Refusal};
use crate::identity::Principal;
use crate::mask::Spent;
use crate::telemetry::Metrics;

/// Take a place among the calls under way.
pub(super) fn admit(
    connection: &Connection,
    who: &Principal,
    function: &FunctionId,
    metrics: &Metrics,
) -> Result<Place, Refusal> {
    let settings = connection.upstream.mask(function);
    let key = who.key();
    if let Some(spent) = settings.and_then(|settings| settings.spent(&key.issuer, &key.subject)) {
        metrics.budget_refusal(connection.name.as_str());
        return Err(over(&spent));
    }
    connection.limits.admit(key, function)
}

fn over(spent: &Spent) -> Refusal {
    let text = format!("NOT executed: {spent}, and no more until `Retry-After` is over");
    Refusal::new(Code::RateLimited, text).retry_after(spent.wait())
}
