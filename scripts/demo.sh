#!/usr/bin/env bash
# Builds the program with the demo in it and starts the demo. Arguments go to `callgate demo` (`--scripted`).
source "$(dirname "$0")/lib.sh"

command -v curl >/dev/null || die "the demo needs curl; install with: apt-get install -y curl"
cargo build --locked --package callgate --features demo
exec "$(target_dir)/debug/callgate" demo "$@"
