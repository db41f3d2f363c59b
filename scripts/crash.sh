#!/usr/bin/env bash
# Two kinds of crash; arguments choose (`cuts`, `kills`; none means both).
#   cuts    simulated power cuts: CALLGATE_CRASH_CUTS (default 100000), on a disk that loses, tears and reorders what was
#           not synced, half of them among failing writes and syncs. Two runs of seeds side by side.
#   kills   a real gateway, killed under load: CALLGATE_CRASH_KILLS (default 2000). Two gateways side by side.
# CALLGATE_CRASH_SEED repeats a schedule; seeds and distinct states are printed, and on the way how far it is. On two
# processors that have nothing else to do the defaults take about ten minutes and about half an hour. `make test` does about
# 1400 cuts and a few hundred kills.
source "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || set -- cuts kills
for part in "$@"; do
  [ "$part" = cuts ] || [ "$part" = kills ] || die "\`$part\` is neither \`cuts\` nor \`kills\`"
done
cuts="${CALLGATE_CRASH_CUTS:-100000}"
export CALLGATE_CRASH_KILLS="${CALLGATE_CRASH_KILLS:-2000}"
log=$(mktemp -t callgate-crash-XXXXXX)
trap 'rm -f "$log"' EXIT

scripts/install-test-tools.sh
for part in "$@"; do
  begin=$SECONDS
  case $part in
    cuts)
      say "cutting the power $cuts times"
      CALLGATE_CRASH_CUTS=$(((cuts + 1) / 2)) cargo test --locked --package callgate --features demo --lib -- \
        --nocapture power_cut 2>&1 | tee "$log"
      grep -qE '^running 2 tests' "$log" || die "the power was not cut"
      ;;
    kills)
      say "killing the gateway $CALLGATE_CRASH_KILLS times"
      cargo test --locked --package callgate --features demo --test it -- --nocapture crash:: 2>&1 | tee "$log"
      grep -qE '^running [1-9]' "$log" || die "no crash test ran"
      ;;
  esac
  say "$part: $((SECONDS - begin)) s"
done
