#!/usr/bin/env bash
# Kills the gateway under load again and again, thousands of times: CALLGATE_CRASH_KILLS (default 2000) says how often,
# CALLGATE_CRASH_SEED repeats a schedule. `make test` does the same a few hundred times.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
export CALLGATE_CRASH_KILLS="${CALLGATE_CRASH_KILLS:-2000}"
log=$(mktemp -t callgate-crash-XXXXXX)
trap 'rm -f "$log"' EXIT
cargo test --locked --package callgate --features demo --test it -- --nocapture crash:: 2>&1 | tee "$log"
grep -qE '^running [1-9]' "$log" || die "no crash test ran"
