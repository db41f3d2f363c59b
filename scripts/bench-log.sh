#!/usr/bin/env bash
# Measures what reading a log of a million calls costs and writes docs/performance.md. Arguments go to bench/log.py.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
need_wrk
cargo build --release --locked --package callgate
exec python3 bench/log.py --binary "$(target_dir)/release/callgate" "$@"
