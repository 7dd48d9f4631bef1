# make test runs everything that CI runs. The Go toolchain is all it needs; what a
# few tests drive for real is installed where that is possible.

MODULES := . bench cmd/scsguard contract examples examples/adopt internal/tools redisregistry/standin
STATICCHECK = $(shell go -C internal/tools tool -n staticcheck)

.PHONY: test check race mutants some-mutants tour investigation rolling adopting controls histories demo-trail fuzz bench bench-smoke programs tamper

test: check programs race tamper bench-smoke some-mutants

# What users run has to build where they run it.
SYSTEMS := windows darwin
FOR_USERS := . cmd/scsguard examples

# Formatting, vet and staticcheck, in every module; and whether other systems can
# build what is for users.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted; exit 1; fi
	go vet work
	@for os in darwin windows freebsd; do GOOS=$$os go vet ./auditlog || exit 1; done # it calls the system
	@staticcheck="$(STATICCHECK)"; for m in $(MODULES); do (cd $$m && $$staticcheck ./...) || exit 1; done
	@for os in $(SYSTEMS); do for m in $(FOR_USERS); do \
		(cd $$m && GOOS=$$os CGO_ENABLED=0 go build -o /dev/null ./...) || { echo "$$m does not build for $$os"; exit 1; }; done; done

# Every test, with the race detector, in a new order each time.
race:
	go test -race -shuffle=on -timeout 14m work

# Every byte of a trail changed, every place cut: without the race detector, which
# has nothing to find there.
tamper:
	go test -run 'EveryChange|TornEnd|AProof' ./cmd/scsguard

# Takes one protection out at a time and demands that its test fails.
mutants:
	go run ./internal/tools/mutants

# As many of them as three minutes allow, others each time.
some-mutants:
	go run ./internal/tools/mutants -for 3m

# Every benchmark once, so that none rots.
bench-smoke:
	cd bench && go test -run '^$$' -bench . -benchtime 1x ./...

# The guard beside what it replaces: prints the tables of docs/performance.md and
# writes them there. SESSIONS is how many live at the most; SOAK is how long the
# endurance test takes, BENCHTIME each other one.
SESSIONS ?= 1000000
SOAK ?= 10m
BENCHTIME ?= 5s
REPORTED = ^Benchmark(Request|RedisRequest|Growth|HTTPGrowth|RedisGrowth|Login|Memory|RedisMemory|RedisEndAll|RedisSweep|RedisOutage|RedisCutOff|Strangers|HTTP|Flood|Soak)$$
bench:
	cd bench && SCSGUARD_BENCH_SESSIONS=$(SESSIONS) SCSGUARD_BENCH_SOAK=$(SOAK) go test -run '^$$' -bench '$(REPORTED)' -benchtime $(BENCHTIME) -timeout 3h . -performance "$(CURDIR)/docs"

# Writes docs/tour.md anew; a test says when that is needed.
tour:
	TOUR=write go test -count=1 -run '^TestTheTourInTheDocs$$' ./examples/server

# Writes docs/investigation.md anew; a test says when that is needed.
investigation:
	INVESTIGATION=write go test -count=1 -run '^TestTheInvestigationInTheDocs$$' ./examples/server

# Writes the tables of docs/rolling-deploy.md anew; a test says when that is needed.
rolling:
	ROLLING=write go test -count=1 -run '^TestARollingDeployAndARollbackAreSafe$$' .

# Writes the differences in docs/adopting.md anew; a test says when that is needed.
adopting:
	ADOPTING=write go test -count=1 -run '^TestTheDifferencesInTheDocs$$' ./examples/adopt

# Writes docs/controls.md anew; a test says when that is needed.
controls:
	CONTROLS=write go test -count=1 -run '^TestTheControlsInTheDocs$$' .

# So many random histories through the real guard, their trails damaged, and each
# question about each session at each moment compared with the truth. Other ones each
# time; 10,000 take half an hour. make test plays 200.
HISTORIES ?= 10000
histories:
	SCSGUARD_HISTORIES=$(HISTORIES) go test -count=1 -timeout 10h -v -run '^TestActiveIsTheTruthOrUnknown$$' ./investigate

# A trail to play with, of DEMO_DAYS days at two hosts, made by the real guard in
# simulated time: trail, anchor and verifier key in the new directory DEMO.
DEMO ?= demo
DEMO_DAYS ?= 7
demo-trail:
	SCSGUARD_DEMO=$(abspath $(DEMO)) SCSGUARD_DEMO_DAYS=$(DEMO_DAYS) go test -count=1 -v -run '^TestADemoIsATrailThatVerifies$$' ./internal/trailgen

# Half a minute for each fuzz target.
fuzz:
	@for p in . ./auditlog ./investigate; do for f in $$(grep -ho 'func Fuzz[A-Za-z]*' $$p/*_test.go | cut -d' ' -f2); do \
		go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 30s -fuzzminimizetime 10x $$p || exit 1; done; done

# Programs that some tests drive for real: a browser and a Redis server.
programs:
	@need=""; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || need="chromium"; \
	command -v redis-server >/dev/null || need="$$need redis-server"; \
	if [ -z "$$need" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get install -y -q --no-install-recommends $$need || { apt-get update -q && apt-get install -y -q --no-install-recommends $$need; }; } >/dev/null; \
	else echo "Missing, so the tests that need it will be skipped: $$need. Debian and Ubuntu: sudo apt-get install $$need"; fi
