#!/usr/bin/env bash
# Measures Callgate beside plain proxies in one run and writes docs/performance.md. Arguments go to bench/bench.py.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
if ! command -v wrk >/dev/null; then
  [ "$(id -u)" = 0 ] || die "bench needs wrk; install with: sudo apt-get install -y wrk"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk ||
    die "could not install; the line was: apt-get install -y wrk"
fi
cargo build --release --locked --package callgate
# The recorder alone is measured by one of its tests, in a build like a release.
tests=$(cargo test --release --locked --package callgate --lib --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$tests" ] || die "the tests that measure the recorder were not built"
exec python3 bench/bench.py --binary "$(target_dir)/release/callgate" --writers "$tests" "$@"
