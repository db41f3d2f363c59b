#!/usr/bin/env bash
# Builds the program with the demo in it and starts the demo. Arguments go to `callgate demo` (`--scripted`).
source "$(dirname "$0")/lib.sh"

command -v curl >/dev/null || die "the demo needs curl; install with: apt-get install -y curl"
# With Node the demo has the console's pages; without it they say how to make them.
if command -v npm >/dev/null; then
  scripts/console.sh || say "the console's pages could not be built; the demo goes on without them"
fi
cargo build --locked --package callgate --features demo
exec "$(target_dir)/debug/callgate" demo "$@"
