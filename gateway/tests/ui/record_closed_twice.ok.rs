//~ ok
//! A begin record has one end.
use callgate::gate::Ongoing;

pub async fn case(ongoing: Ongoing) {
    let _ = ongoing.close_unsent("once").await;
}
