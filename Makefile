# Every recipe is one line; what is longer lives in scripts/.
.PHONY: test check

test: ; @scripts/test.sh $(ARGS)
check: ; @scripts/check.sh
