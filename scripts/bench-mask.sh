#!/usr/bin/env bash
# Measures masking on one core beside Presidio on the same documents, and writes docs/performance.md. Arguments go
# to bench/mask.py.
source "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || die "bench-mask needs Python; install with: apt-get install -y python3 python3-venv"
wanted=$(sha256sum bench/requirements-mask.txt | cut -d' ' -f1)
if [ "$(cat bench/.venv/stamp 2>/dev/null)" != "$wanted" ]; then
  say "installing Presidio into bench/.venv"
  rm -rf bench/.venv
  python3 -m venv bench/.venv
  bench/.venv/bin/pip install --quiet --disable-pip-version-check --requirement bench/requirements-mask.txt ||
    die "could not install; the line was: bench/.venv/bin/pip install -r bench/requirements-mask.txt"
  printf '%s' "$wanted" >bench/.venv/stamp
fi
scratch=$(mktemp -d -t callgate-bench-mask-XXXXXX)
trap 'rm -rf "$scratch"' EXIT
cargo bench --locked --package callgate --bench mask -- --out "$scratch" --seconds "${BENCH_SECONDS:-0.5}" >"$scratch/callgate.jsonl"
bench/.venv/bin/python bench/mask.py "$scratch" "$@"
