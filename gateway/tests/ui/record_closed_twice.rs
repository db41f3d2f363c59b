//~ E0382
//! A begin record has one end.
use callgate::gate::Ongoing;

pub async fn case(ongoing: Ongoing) {
    let _ = ongoing.close_unsent("once").await;
    let _ = ongoing.close_unsent("twice").await;
}
