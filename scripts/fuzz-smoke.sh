#!/usr/bin/env bash
# Runs every fuzz target for a short while, from its kept corpus. FUZZ_SECONDS (default 20) is the time for each.
# Needs a C++ compiler, no nightly: the coverage counters are a stable code generation option.
source "$(dirname "$0")/lib.sh"

command -v c++ >/dev/null || die "fuzzing needs a C++ compiler; install with: apt-get install -y g++"
seconds=${FUZZ_SECONDS:-20}
export CARGO_TARGET_DIR="${CALLGATE_FUZZ_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/callgate-fuzz-target}"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are for the code under test only, not for build scripts.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$host"
mkdir -p fuzz/artifacts
for source in fuzz/fuzz_targets/*.rs; do
  name=$(basename "$source" .rs)
  scratch=$(mktemp -d -t callgate-fuzz-XXXXXX)
  mkdir -p "fuzz/corpus/$name"
  say "== $name: $seconds s from $(find "fuzz/corpus/$name" -type f | wc -l) kept inputs"
  # New inputs go to the scratch folder; the kept corpus is only read.
  "$CARGO_TARGET_DIR/$host/release/$name" "$scratch" "fuzz/corpus/$name" -max_total_time="$seconds" \
    -max_len=4096 -print_final_stats=1 -verbosity=0 -artifact_prefix="fuzz/artifacts/$name-" >"$scratch.log" 2>&1 ||
    { tail -n 40 "$scratch.log" >&2; die "$name found something: see fuzz/artifacts"; }
  grep -E 'number_of_executed_units|new_units_added' "$scratch.log" >&2
  rm -rf "$scratch" "$scratch.log"
done
