# Sourced by the other scripts: where we are, and one way to say what went wrong.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The folder that cargo builds into, whatever the caller has set.
target_dir() {
  if [ -n "${CARGO_TARGET_DIR:-}" ]; then printf '%s\n' "$CARGO_TARGET_DIR"; else printf '%s\n' "$ROOT/target"; fi
}
