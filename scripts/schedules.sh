#!/usr/bin/env bash
# The state machine of held calls under seeded schedules: crashes, cuts, skewed clocks, duplicates, races.
# CALLGATE_SIM_SEEDS (default 1000000) says how many, CALLGATE_SIM_FIRST where to begin (one seed again:
# CALLGATE_SIM_FIRST=4711 CALLGATE_SIM_SEEDS=1). `make test` plays 300.
source "$(dirname "$0")/lib.sh"

export CALLGATE_SIM_SEEDS="${CALLGATE_SIM_SEEDS:-1000000}"
log=$(mktemp -t callgate-schedules-XXXXXX)
trap 'rm -f "$log"' EXIT

cargo test --locked --release --package callgate --lib -- --nocapture approval::tests::simulation::no_schedule 2>&1 |
  tee "$log"
grep -qE '^running 1 test' "$log" || die "no schedule was played"
