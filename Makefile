# Every recipe is one line; what is longer lives in scripts/.
.PHONY: test check bench fuzz-smoke sabotage

test: ; @scripts/test.sh $(ARGS)
check: ; @scripts/check.sh
bench: ; @scripts/bench.sh $(ARGS)
fuzz-smoke: ; @scripts/fuzz-smoke.sh
sabotage: ; @scripts/sabotage.sh $(ARGS)
