#!/usr/bin/env bash
# Measures what reading a log of a million calls costs and writes docs/performance.md. Arguments go to bench/log.py.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
if ! command -v wrk >/dev/null; then
  [ "$(id -u)" = 0 ] || die "bench-log needs wrk; install with: sudo apt-get install -y wrk"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk ||
    die "could not install; the line was: apt-get install -y wrk"
fi
cargo build --release --locked --package callgate
exec python3 bench/log.py --binary "$(target_dir)/release/callgate" "$@"
