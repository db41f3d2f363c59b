# Every recipe is one line; what is longer lives in scripts/.
.PHONY: test check bench sabotage

test: ; @scripts/test.sh $(ARGS)
check: ; @scripts/check.sh
bench: ; @scripts/bench.sh $(ARGS)
sabotage: ; @scripts/sabotage.sh $(ARGS)
