//~ ok
//! A judged call is admitted.
use std::sync::Arc;

use callgate::call::HttpCall;
use callgate::gate::{Gate, Terrain};
use callgate::identity::Principal;

pub async fn case(gate: &Gate, who: Arc<Principal>, call: HttpCall, terrain: Terrain<'_>) {
    let _ = gate.admit(who, call, terrain).await;
}
