# make test runs everything that CI runs. The Go toolchain is all it needs;
# Chromium, for one test of the example, is installed where that is possible.

MODULES := . bench cmd/scsguard examples internal/tools
STATICCHECK = $(shell go -C internal/tools tool -n staticcheck)

.PHONY: test check race mutants tour fuzz bench bench-smoke chromium

test: check chromium race bench-smoke mutants

# Formatting, vet and staticcheck, in every module.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted; exit 1; fi
	go vet work
	@staticcheck="$(STATICCHECK)"; for m in $(MODULES); do (cd $$m && $$staticcheck ./...) || exit 1; done

# Every test, with the race detector, in a new order each time.
race:
	go test -race -shuffle=on work

# Takes one protection out at a time and demands that its test fails.
mutants:
	go run ./internal/tools/mutants

# Every benchmark once, so that none rots.
bench-smoke:
	cd bench && go test -run '^$$' -bench . -benchtime 1x ./...

bench:
	cd bench && go test -run '^$$' -bench . -count 6 ./...

# Writes docs/tour.md anew; a test says when that is needed.
tour:
	TOUR=write go test -count=1 -run '^TestTheTourInTheDocs$$' ./examples/server

# Half a minute for each fuzz target.
fuzz:
	@for f in $$(grep -ho 'func Fuzz[A-Za-z]*' *_test.go | cut -d' ' -f2); do \
		go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 30s -fuzzminimizetime 10x . || exit 1; done

# A test of the example drives a real browser.
chromium:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get install -y -q --no-install-recommends chromium || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }; } >/dev/null; \
	else echo "Chromium is missing, so one test will be skipped. Debian and Ubuntu: sudo apt-get install chromium"; fi
