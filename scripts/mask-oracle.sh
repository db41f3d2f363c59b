#!/usr/bin/env bash
# The long run of the leak oracle: MASK_DOCUMENTS generated documents (default ten million), on as many threads as there
# are processors, each with a range of its own. Says how many it made, and how long that took.
source "$(dirname "$0")/lib.sh"

count=${MASK_DOCUMENTS:-10000000}
threads=$(nproc)
test=mask::masker::tests::documents::generated_documents_come_out_exactly_as_they_were_made_to
cargo test --release --locked --package callgate --lib --no-run
share=$(((count + threads - 1) / threads))
pids=()
for ((thread = 0; thread < threads; thread++)); do
  MASK_DOCUMENTS=$share MASK_SEED=$((thread * share + 1)) \
    cargo test --release --locked --package callgate --lib -- --exact "$test" --nocapture 2>&1 | grep -v '^$' &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || die "the oracle found something: see above"; done
