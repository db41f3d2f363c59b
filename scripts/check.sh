#!/usr/bin/env bash
# Formatting and lints; warnings are errors.
source "$(dirname "$0")/lib.sh"

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked --features callgate/demo -- -D warnings
