#!/usr/bin/env bash
# Measures Callgate beside plain proxies in one run and writes docs/performance.md. Arguments go to bench/bench.py.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
need_wrk
cargo build --release --locked --package callgate
# The recorder alone is measured by one of its tests, in a build like a release.
tests=$(cargo test --release --locked --package callgate --lib --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$tests" ] || die "the tests that measure the recorder were not built"
exec python3 bench/bench.py --binary "$(target_dir)/release/callgate" --writers "$tests" "$@"
