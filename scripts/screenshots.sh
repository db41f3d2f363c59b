#!/usr/bin/env bash
# Takes the guide's pictures of the console, in the run of the browser's story.
source "$(dirname "$0")/lib.sh"

scripts/install-test-tools.sh
scripts/console.sh
CALLGATE_SCREENSHOTS="$ROOT/docs/guide" cargo test --locked --package callgate --features demo --test it -- console_browser
git --no-pager diff --stat -- docs/guide
