#!/usr/bin/env bash
# All tests. The arguments go to the test programs (`make test ARGS=tidy`).
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
# The browser's story needs the pages in the program.
scripts/console.sh
# The tests start servers and child processes: more threads than this only make them slow together.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}"
# Snapshots and generated files are compared here, never rewritten.
export INSTA_UPDATE="${INSTA_UPDATE:-no}"
exec cargo test --workspace --locked --features callgate/demo -- "$@"
