# Every recipe is one line; what is longer lives in scripts/.
.PHONY: demo test check bench bench-log bench-mask eval-mask mask-oracle crash schedules gen console screenshots fuzz-smoke sabotage

demo: ; @scripts/demo.sh $(ARGS)
test: ; @scripts/test.sh $(ARGS)
check: ; @scripts/check.sh
bench: ; @scripts/bench.sh $(ARGS)
bench-log: ; @scripts/bench-log.sh $(ARGS)
bench-mask: ; @scripts/bench-mask.sh $(ARGS)
eval-mask: ; @scripts/eval-mask.sh $(ARGS)
mask-oracle: ; @scripts/mask-oracle.sh
crash: ; @scripts/crash.sh $(ARGS)
schedules: ; @scripts/schedules.sh
gen: ; @scripts/gen.sh
console: ; @scripts/console.sh
screenshots: ; @scripts/screenshots.sh
fuzz-smoke: ; @scripts/fuzz-smoke.sh $(ARGS)
sabotage: ; @scripts/sabotage.sh $(ARGS)
