#!/usr/bin/env bash
# Runs every fuzz target for a short while, from its kept corpus. FUZZ_SECONDS (default 20) is the time for each.
# Needs a C++ compiler, no nightly: the coverage counters are a stable code generation option. Arguments: names of
# targets; none means all. `config` links the whole gateway, which takes some minutes to build the first time.
source "$(dirname "$0")/lib.sh"

command -v c++ >/dev/null || die "fuzzing needs a C++ compiler; install with: apt-get install -y g++"
seconds=${FUZZ_SECONDS:-20}
export CARGO_TARGET_DIR="${CALLGATE_FUZZ_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/callgate-fuzz-target}"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are for the code under test only, not for build scripts.
counters="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"

# Builds one target of a workspace of targets, into a folder of its own where the flags differ.
build() {
  local manifest=$1 name=$2 flags=$counters
  # Whole programs are small enough to be one unit; the gateway is not.
  [ "$manifest" = fuzz/Cargo.toml ] && flags="$counters -Ccodegen-units=1"
  RUSTFLAGS=$flags cargo build --release --locked --manifest-path "$manifest" --target "$host" --bin "$name"
}

run() {
  local name=$1 folder=$CARGO_TARGET_DIR/$host/release scratch
  scratch=$(mktemp -d -t callgate-fuzz-XXXXXX)
  mkdir -p "fuzz/corpus/$name" fuzz/artifacts
  say "== $name: $seconds s from $(find "fuzz/corpus/$name" -type f | wc -l) kept inputs"
  # New inputs go to the scratch folder; the kept corpus is only read. One input may take ten seconds and 2 GiB.
  "$folder/$name" "$scratch" "fuzz/corpus/$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 -artifact_prefix="fuzz/artifacts/$name-" >"$scratch.log" 2>&1 ||
    { tail -n 40 "$scratch.log" >&2; die "$name found something: see fuzz/artifacts"; }
  grep -E 'number_of_executed_units|new_units_added' "$scratch.log" >&2
  rm -rf "$scratch" "$scratch.log"
}

wanted=("$@")
if [ $# = 0 ]; then
  mapfile -t wanted < <(cd fuzz && ls fuzz_targets/*.rs gateway/fuzz_targets/*.rs | sed 's,.*/,,; s,\.rs$,,')
fi
for name in "${wanted[@]}"; do
  if [ -f "fuzz/gateway/fuzz_targets/$name.rs" ]; then
    (CARGO_TARGET_DIR=$CARGO_TARGET_DIR-gateway && export CARGO_TARGET_DIR && build fuzz/gateway/Cargo.toml "$name" && run "$name")
  else
    [ -f "fuzz/fuzz_targets/$name.rs" ] || die "no such fuzz target: $name"
    build fuzz/Cargo.toml "$name"
    run "$name"
  fi
done
