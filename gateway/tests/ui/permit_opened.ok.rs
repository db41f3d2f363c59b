//~ ok
//! Whoever does not send gives the permit up, which closes the record.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub async fn case(permit: Permitted<HttpCall>) -> bool {
    permit.give_up("nobody wants it").await.is_ok()
}
