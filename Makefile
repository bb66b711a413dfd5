# What can be made here. `make` alone prints the targets; each says what it is for after two hashes.
# The two that matter: `make demo` shows the product at work, `make test` is what CI runs, all of it.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

# Tools are built once per version, outside the clone: golangci-lint takes two minutes on two cores.
ARAUTO_TOOLS ?= $(HOME)/.cache/arauto/tools
export ARAUTO_TOOLS
GOVERSION    := $(shell go env GOVERSION)
GOLANGCI     := $(ARAUTO_TOOLS)/golangci-lint-2.15.0-$(GOVERSION)/golangci-lint
GOFUMPT      := $(ARAUTO_TOOLS)/gofumpt-0.12.0-$(GOVERSION)/gofumpt
GOTESTSUM    := $(ARAUTO_TOOLS)/gotestsum-1.13.0-$(GOVERSION)/gotestsum
LITEWITNESS  := $(ARAUTO_TOOLS)/litewitness-0.6.1-$(GOVERSION)/litewitness
GOVULNCHECK  := golang.org/x/vuln/cmd/govulncheck@v1.9.0

VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
KEEP      ?=
PKG       ?= ./...
FUZZTIME  ?= 5s
BENCHTIME ?= 1s
SEED      ?= 1
SEEDS     ?= 1 2 3 4 5 6 7 8 9 10 11 4711
MINUTES   ?= 10
BARE      ?=

# What debuggers need of a test's program is a third of the time to link it.
TESTFLAGS := -shuffle=on -ldflags=-w

# At its end a process with the race detector waits a second for races of what still runs. Tests start and stop hundreds.
GORACE    ?= atexit_sleep_ms=0
export GORACE

# The race detector looks at everything but the arithmetic of Go's own cryptography, which owns its numbers and which it makes
# many times as long: handshakes and signatures were a third of the processor time of tests that speak TLS.
RACE      := -race -gcflags=crypto/internal/fips140/...=-race=false

# Packages that compute and start no goroutine, where there is nothing for the race detector to find: it makes their tests
# five times as long. internal/race_test.go holds the list to that.
UNRACED   := internal internal/audit internal/evidence internal/history internal/lab/flightmodel internal/ofb openapi
UNRACED_PATHS := $(patsubst %,-e github.com/arauto/arauto/%,$(UNRACED))

# Packages whose tests wait most of the time: for a broker to start, for a receiver to end what is idle, for a limit to be over. They run
# beside the others when those without the detector are through.
WAITING   := internal/watch/postgres internal/watch/rabbitmq internal/webhook internal/watch/kafka internal/watch/nats internal/lab/zoo internal/seal
WAITING_PATHS := $(patsubst %,-e github.com/arauto/arauto/%,$(WAITING))

# More packages at once than processors starve tests of real time. The slowest begin first: what begins last decides when all is
# done.
PARALLEL  ?= $(shell nproc 2>/dev/null || echo 2)
SLOWEST   := ./cmd/arauto ./internal/gateway ./internal/store ./internal/dispatch ./internal/lab/browser \
	./internal/api/status ./internal/api/bank

# Databases of tests lie in memory where it has room. Each is a thousand files that are gone within seconds, and Linux's
# ext4 looks at every file that was removed a moment ago before it makes a new one.
ARAUTO_TEST_POSTGRES_DIR ?= $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4 * 1024 * 1024 { print "/dev/shm" }')

# Packages whose tests start a server, or compute for longer than a minute: make quick leaves them out.
SLOW      := internal/lab/(bench|bustest|mockbank|nemesis|rabbit|sourcetest|stage|standin|storetest|temppostgres|zoo)

BUILD     := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)'

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/arauto: static, reproducible, stamped with the version
	@$(BUILD) -o bin/arauto ./cmd/arauto

# The product without readers of buses and without Parquet, which are a quarter of what a build compiles. Where these are
# asked for, it says that it lacks them.
.PHONY: build-lean
build-lean:
	@$(BUILD) -tags lean -o bin/arauto-lean ./cmd/arauto

.PHONY: release
release: ## dist/: binaries for Linux, one built twice and compared, checksums, SBOM, licences, deployment files
	@.ci/release $(VERSION)

.PHONY: demo
demo: ## play the product's stories within two minutes; KEEP=1 leaves it running
	@$(MAKE) -j2 postgres $(if $(KEEP),build,build-lean)
	@$(if $(KEEP),bin/arauto demo --keep,bin/arauto-lean demo)

# run-tests runs the tests of PKG: $(1) are flags of gotestsum, $(2) of go test. All parts run, two side by side, also when one fails.
run-tests = $(MAKE) -k -j2 raced beside SUMFLAGS='$(1)' MOREFLAGS='$(2)'

# tests-among runs the tests of those packages of PKG that grep with the arguments $(1) leaves, and gives go test the arguments $(2). What is
# recorded of each test goes to a file with the ending $(3).
tests-among = @all=$$(go list $(PKG)); tests=$$(grep -xF $(1) <<< "$$all" || true); \
	[ -z "$$tests" ] || GOTESTSUM_JSONFILE=$${GOTESTSUM_JSONFILE:+$$GOTESTSUM_JSONFILE$(3)} \
		$(GOTESTSUM) $(SUMFLAGS) -- $(TESTFLAGS) $(MOREFLAGS) $(2) $$tests

.PHONY: raced beside unraced waiting
raced:
	$(call tests-among,-v $(UNRACED_PATHS) $(WAITING_PATHS),$(RACE) $(if $(filter ./...,$(PKG)),$(SLOWEST)))

beside:
	@failed=0; $(MAKE) unraced || failed=1; $(MAKE) waiting || failed=1; exit $$failed

unraced:
	$(call tests-among,$(UNRACED_PATHS),-p 1,.unraced)

waiting:
	$(call tests-among,$(WAITING_PATHS),$(RACE) -p 1,.waiting)

.PHONY: test
test: export ARAUTO_TEST_POSTGRES_DIR := $(ARAUTO_TEST_POSTGRES_DIR)
test: lint postgres ## everything CI checks: vet, linters, format, race-enabled tests; changes nothing; PKG=./internal/x/...
	@$(MAKE) $(GOTESTSUM)
	@$(call run-tests,--format pkgname-and-test-fails --format-hide-empty-pkg,-vet=off -p $(PARALLEL) -timeout 20m)

.PHONY: quick
quick: ## for the inner loop: build, vet, and the tests that need no server, within a minute from a warm build cache
	@go build ./...
	@go vet ./...
	@go test $$(go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... \
		| grep -vE '$(SLOW)|^[^ ]*/internal/(dispatch|evidence) ' | cut -d' ' -f1)

.PHONY: test-long
test-long: postgres $(GOTESTSUM) ## the tests with ARAUTO_LONG=1, nothing from the cache, up to an hour
	@export ARAUTO_LONG=1; $(call run-tests,--format standard-verbose,-count=1 -timeout 60m)

.PHONY: lint
lint: $(GOLANGCI) $(GOFUMPT) ## vet, linters and the format check
	@go vet $(PKG)
	@$(GOLANGCI) run $(PKG)
	@unformatted=$$($(GOFUMPT) -l .); \
	if [ -n "$$unformatted" ]; then printf 'gofumpt would change these files (run: make format):\n%s\n' "$$unformatted"; exit 1; fi

.PHONY: format
format: $(GOFUMPT) ## rewrite the Go files as gofumpt wants them
	@$(GOFUMPT) -l -w .

.PHONY: settings-doc
settings-doc: ## write docs/settings.md from the descriptions in internal/config
	@page=$$(mktemp); go run ./cmd/arauto help settings > "$$page"; cat "$$page" > docs/settings.md; rm "$$page"

# A module of its own: the libraries of Kubernetes, Kustomize, Helm and Compose are larger than all of ours together.
.PHONY: deploy-check
deploy-check: postgres ## render Kustomize base, Helm chart and compose file and decode them strictly; follow the page "Running" and the systemd unit
	@cd internal/lab/deploy && GOFLAGS=-mod=readonly go vet ./... && go test $(TESTFLAGS) ./...
	@go test $(TESTFLAGS) -run 'TestDeploy' -timeout 10m ./cmd/arauto

# A module of its own: the driver of a security module is a C library, and no part of the product.
.PHONY: signer-check
signer-check: ## build the example signer and have it sign with SoftHSM
	@cd internal/lab/pkcs11signer && GOFLAGS=-mod=readonly go vet ./... && go test $(TESTFLAGS) ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (5s)
	@go test -list '^Fuzz' $(PKG) \
	| awk '/^Fuzz/ { target[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, target[i]; n = 0 }' \
	| while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
	done

.PHONY: bench
bench: postgres ## run every benchmark for BENCHTIME (1s)
	@go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PKG)

.PHONY: bench-search
bench-search: postgres ## search 10,000,000 entries by each key; fails above 500 ms at p95; about a quarter of an hour
	@ARAUTO_LONG=1 go test -run '^$$' -bench BenchmarkSearch -benchtime 1x -timeout 60m -v ./internal/store

.PHONY: bench-console
bench-console: postgres ## open each page of the console over 10,000,000 entries of 10,000 initiators; fails above 300 ms at p95; about half an hour
	@ARAUTO_LONG=1 go test -run '^$$' -bench BenchmarkPages -benchtime 1x -timeout 90m -v ./internal/lab/browser

.PHONY: bench-tiles
bench-tiles: postgres ## publish a log as tiles and mirror it: time and memory; fails above 10 min or 100 MiB, or when a tile is missing
	@go test -run '^$$' -bench BenchmarkTiles -benchtime 1x -timeout 60m -v ./internal/lab/bench

.PHONY: bench-mixed
bench-mixed: postgres ## ten minutes (MINUTES) of changes, queries, searches and hostile receivers at once: delays, memory, descriptors
	@ARAUTO_BENCH_MINUTES=$(MINUTES) go test -run '^$$' -bench BenchmarkMixedLoad -benchtime 1x -timeout 60m -v ./internal/lab/bench

.PHONY: bench-snapshot
bench-snapshot: postgres ## 300 changes a second while somebody holds a snapshot for MINUTES (10; 2 tells the direction): first attempts, claims, sealing, and a verdict
	@ARAUTO_BENCH_MINUTES=$(MINUTES) go test -run '^$$' -bench BenchmarkHeldSnapshot -benchtime 1x -timeout 60m -v ./internal/lab/bench

# BARE: POST/s of the bare loop on this machine when nothing else runs. A run far below it has no verdict.
.PHONY: bench-share
bench-share: postgres ## share of the bare mTLS loop, processor time, WAL, delays, memory, and a verdict unless the machine is noisy; two minutes
	@ARAUTO_BENCH_BARE=$(BARE) ARAUTO_BENCH_FORM=$(FORM) ARAUTO_BENCH_BUILD="-pgo=$(CURDIR)/.ci/arauto.pgo" go test -run '^$$' -bench 'BenchmarkShare$$' -benchtime 1x -timeout 10m -v ./internal/lab/bench

.PHONY: profile
profile: postgres ## .ci/arauto.pgo: what uses the gateway's processor time under load, for the compiler; a minute on a quiet machine
	@CGO_ENABLED=0 ARAUTO_CPU_PROFILE=$(CURDIR)/.ci/arauto.pgo ARAUTO_BENCH_BUILD="-trimpath -tags=profile" \
		go test -run '^$$' -bench 'BenchmarkProfile$$' -benchtime 1x -timeout 10m ./internal/lab/bench

.PHONY: simulate
simulate: ## the dispatcher in virtual time against model receivers; SIM=one SIM_RATE=… for one run, see docs/scaling.md
	@SIM=$(or $(SIM),all) go test -count=1 -timeout 30m -run TestTheModelOfABusyDay -v ./internal/dispatch

.PHONY: nemesis
nemesis: postgres build faketime ## break the product on purpose for MINUTES (10) and reconcile everything; SEED (1) draws the faults
	@go build -o bin/nemesis ./internal/lab/nemesis
	@bin/nemesis -seed $(SEED) -minutes $(MINUTES)

.PHONY: nemesis-seeds
nemesis-seeds: postgres build faketime ## the nemesis with twelve seeds (SEEDS) of two minutes of faults each; about an hour
	@go build -o bin/nemesis ./internal/lab/nemesis
	@failed=""; for seed in $(SEEDS); do \
		echo "nemesis-seeds: seed $$seed"; \
		bin/nemesis -seed $$seed -minutes 2 || failed="$$failed $$seed"; \
	done; \
	if [ -n "$$failed" ]; then echo "nemesis-seeds: FAILED seeds$$failed"; exit 1; fi; echo "nemesis-seeds: ok $(SEEDS)"

# The nemesis moves PostgreSQL's clock with it. Where it cannot be had, that fault is left out, and the nemesis says so.
.PHONY: faketime
faketime:
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || apt-get install -qq -y faketime >/dev/null 2>&1 || \
	{ apt-get -qq update && apt-get install -qq -y faketime; } >/dev/null 2>&1 || echo "libfaketime could not be installed" >&2

.PHONY: generators
generators: ## generate clients in Go and TypeScript from every OpenAPI document, and compile them; needs the network once
	@.ci/generators

.PHONY: audit-deps
audit-deps: ## look for known vulnerabilities in dependencies; needs the network
	@go run $(GOVULNCHECK) ./...

# Built with the flags of the product, whose packages it shares.
WHERE := CGO_ENABLED=0 go run -trimpath internal/lab/temppostgres/where.go

.PHONY: postgres
postgres: ## find PostgreSQL for tests and demo, or install it
	@$(WHERE) 2>/dev/null || { .ci/install-postgres && $(WHERE); }

.PHONY: postgres18
postgres18: ## find PostgreSQL 18, for tests of what is new in it, or install it beside others
	@$(WHERE) 18 2>/dev/null || { .ci/install-postgres 18 && $(WHERE) 18; }

.PHONY: tools
tools: $(GOLANGCI) $(GOFUMPT) $(GOTESTSUM) ## build the pinned linters and test runner

# Built outside any module, without the caller's flags: our settings must not change them, nor their modules ours.
define install-tool
	@echo "building $(@F) into $(@D)"
	@cd / && GOBIN=$(@D) GOFLAGS= GOWORK=off CGO_ENABLED=0 go install -trimpath $(1)
endef

$(GOLANGCI):
	$(call install-tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0)

$(GOFUMPT):
	$(call install-tool,mvdan.cc/gofumpt@v0.12.0)

$(GOTESTSUM):
	$(call install-tool,gotest.tools/gotestsum@v1.13.0)

.PHONY: litewitness
litewitness: $(LITEWITNESS) ## build the foreign witness that a test asks, and print its folder
	@echo $(dir $(LITEWITNESS))

$(LITEWITNESS):
	$(call install-tool,filippo.io/torchwood/cmd/litewitness@v0.6.1)

.PHONY: clean
clean: ## remove what was built here
	@rm -rf bin dist
