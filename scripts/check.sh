#!/usr/bin/env bash
# Formatting and lints; warnings are errors.
source "$(dirname "$0")/lib.sh"

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked --features callgate/demo -- -D warnings
# A fuzz target that does not compile finds nothing. Checking links nothing, so the fuzzer's C++ is not built.
for manifest in fuzz/Cargo.toml fuzz/gateway/Cargo.toml; do
  CUSTOM_LIBFUZZER_PATH=/dev/null cargo check --locked --manifest-path "$manifest"
done
