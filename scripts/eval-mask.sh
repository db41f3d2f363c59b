#!/usr/bin/env bash
# Measures what masking finds beside Presidio, on corpora that others wrote, and writes docs/masking-accuracy.md.
# Arguments go to bench/eval_mask.py.
source "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || die "eval-mask needs Python; install with: apt-get install -y python3 python3-venv"
wanted=$(sha256sum bench/requirements-eval.txt | cut -d' ' -f1)
if [ "$(cat bench/.venv-eval/stamp 2>/dev/null)" != "$wanted" ]; then
  say "installing Presidio, its evaluator, Faker and detect-secrets into bench/.venv-eval"
  rm -rf bench/.venv-eval
  python3 -m venv bench/.venv-eval
  bench/.venv-eval/bin/pip install --quiet --disable-pip-version-check --requirement bench/requirements-eval.txt ||
    die "could not install; the line was: bench/.venv-eval/bin/pip install -r bench/requirements-eval.txt"
  printf '%s' "$wanted" >bench/.venv-eval/stamp
fi
cargo build --locked --package callgate
bench/.venv-eval/bin/python bench/eval_mask.py "${CARGO_TARGET_DIR:-target}/debug/callgate" "$@"
