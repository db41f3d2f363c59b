# Sourced by the other scripts: where we are, and one way to say what went wrong.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

say() { printf '%s\n' "$*" >&2; }
# The load generator, which Debian has.
need_wrk() {
  command -v wrk >/dev/null && return
  [ "$(id -u)" = 0 ] || die "this needs wrk; install with: sudo apt-get install -y wrk"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk ||
    die "could not install; the line was: apt-get install -y wrk"
}

die() { say "error: $*"; exit 1; }

# The folder that cargo builds into, whatever was set where.
target_dir() { cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'; }
