#!/usr/bin/env bash
# Two kinds of crash. Simulated power cuts: CALLGATE_CRASH_CUTS (default 100000) says how many, on a disk that loses,
# tears and reorders what was not synced, half of them among failing writes and syncs. And a real gateway, killed under
# load: CALLGATE_CRASH_KILLS (default 2000) says how often. CALLGATE_CRASH_SEED repeats a schedule. `make test` does
# about 1400 cuts and a few hundred kills.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
cuts="${CALLGATE_CRASH_CUTS:-100000}"
export CALLGATE_CRASH_KILLS="${CALLGATE_CRASH_KILLS:-2000}"
log=$(mktemp -t callgate-crash-XXXXXX)
trap 'rm -f "$log"' EXIT

say "cutting the power $cuts times"
CALLGATE_CRASH_CUTS=$(((cuts + 1) / 2)) cargo test --locked --package callgate --features demo --lib -- \
  --nocapture power_cut 2>&1 | tee "$log"
grep -qE '^running 2 tests' "$log" || die "the power was not cut"

say "killing the gateway $CALLGATE_CRASH_KILLS times"
cargo test --locked --package callgate --features demo --test it -- --nocapture crash:: 2>&1 | tee "$log"
grep -qE '^running [1-9]' "$log" || die "no crash test ran"
