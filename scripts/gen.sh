#!/usr/bin/env bash
# Writes what is generated from the sources: the config's schema and reference, the console API's description.
# `make test` compares and never writes.
source "$(dirname "$0")/lib.sh"

CALLGATE_GEN=1 cargo test --locked --package callgate --features demo --test it generated
git --no-pager diff --stat -- schema docs
