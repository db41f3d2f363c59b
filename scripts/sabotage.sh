#!/usr/bin/env bash
# Breaks the product on purpose and sees its tests turn red. Each tests/sabotage/NAME.patch begins with two lines:
#   Breaks: what the patch takes away
#   Test: arguments of `cargo test` that must fail then
# Patches are applied one at a time in a scratch worktree of the current commit. A patch that no longer applies or
# compiles is a fault as well. Arguments (ARGS="…" behind `make sabotage`): names of patches; none means all;
# `--from NAME` means that one and all after it, to go on with a run that was broken off.
source "$(dirname "$0")/lib.sh"

# Of its own: what is built from sabotaged sources must never meet anything else.
TARGET=${CALLGATE_SABOTAGE_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/callgate-sabotage-target}
SCRATCH=$(mktemp -d -t callgate-sabotage-XXXXXX)
cleanup() { git worktree remove --force "$SCRATCH/tree" >/dev/null 2>&1 || true; rm -rf "$SCRATCH"; }
trap cleanup EXIT

scripts/install-test-tools.sh
git worktree add --detach --quiet "$SCRATCH/tree" HEAD
for installed in node_modules .venv; do ln -s "$ROOT/tests/peers/$installed" "$SCRATCH/tree/tests/peers/$installed"; done
export CARGO_TARGET_DIR=$TARGET RUST_BACKTRACE=0

mapfile -t names < <(cd tests/sabotage && LC_ALL=C ls -- *.patch | sed 's/\.patch$//')
if [ "${1:-}" = --from ]; then
  [ $# = 2 ] && [ -f "tests/sabotage/$2.patch" ] || die "behind --from stands the name of one patch of tests/sabotage"
  while [ "${names[0]}" != "$2" ]; do names=("${names[@]:1}"); done
elif [ $# -gt 0 ]; then
  names=("$@")
fi

faults=0
for name in "${names[@]}"; do
  patch=$ROOT/tests/sabotage/$name.patch
  [ -f "$patch" ] || die "no such patch: $patch"
  read -r -a arguments < <(sed -n 's/^Test: //p' "$patch")
  [ "${#arguments[@]}" -gt 0 ] || die "$name: no line begins with 'Test: '"
  verdict=green begin=$SECONDS log=$SCRATCH/$name.log
  if ! git -C "$SCRATCH/tree" apply "$patch" 2>"$log"; then
    verdict='does not apply'
  elif ! (cd "$SCRATCH/tree" && cargo test --locked --no-run "${arguments[@]}") >"$log" 2>&1; then
    verdict='does not compile'
  else
    (cd "$SCRATCH/tree" && cargo test --locked "${arguments[@]}") >"$log" 2>&1 && status=0 || status=$?
    if [ "$status" != 0 ] && grep -q '^test result: FAILED' "$log"; then
      verdict=red
    elif ! grep -qE '^running [1-9]' "$log"; then
      verdict='matches no test'
    fi
  fi
  git -C "$SCRATCH/tree" checkout --quiet -- .
  git -C "$SCRATCH/tree" clean --quiet --force -d
  if [ "$verdict" = red ]; then
    printf 'ok      %-40s red, as it must be (%d s)\n' "$name" $((SECONDS - begin))
  else
    faults=$((faults + 1))
    printf 'FAULT   %-40s %s\n' "$name" "$verdict"
    tail -n 25 "$log" | sed 's/^/        /'
  fi
done
[ "$faults" = 0 ] || die "$faults of ${#names[@]} sabotages went unnoticed"
printf '%d sabotages, each noticed\n' "${#names[@]}"
