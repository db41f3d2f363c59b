//~ E0277
//! A call that nothing was refused of is admitted on the observing path only: the other does not take it.
use std::sync::Arc;

use callgate::call::{HttpCall, Seen};
use callgate::gate::{Gate, Terrain};
use callgate::identity::Principal;

pub async fn case(gate: &Gate, who: Arc<Principal>, call: Seen<HttpCall>, terrain: Terrain<'_>) {
    let _ = gate.admit(who, call, terrain).await;
}
