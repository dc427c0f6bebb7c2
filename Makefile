# Everything here works on a machine with Go, Node with npm, and make. `make help` lists it.

# Extra arguments for up and demo: make up ARGS="--addr 127.0.0.1:9090"
ARGS ?=

# Extra arguments for soak: make soak SOAK="-duration 20m -json"
SOAK ?=

# Arguments for bench: make bench BENCH="--json --only a,b"
BENCH ?=

# Folders that hold Go code.
GODIRS = $(wildcard cmd internal schemas)

# Revision stamps need a git that trusts this folder; without one the build goes on unstamped.
ifneq ($(shell git rev-parse HEAD >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)
endif

.DEFAULT_GOAL := help
.PHONY: help setup tools engine binaries clients up demo bench test chaos pictures soak lint vuln fmt clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: tools ## install what is missing and build the binaries into bin/
	@$(MAKE) --no-print-directory -j2 engine binaries

tools:
	@tools/need.sh certificates go node npm

engine:
	@tools/engine.sh

binaries:
	@mkdir -p bin
	@CGO_ENABLED=0 go build -o bin/ ./cmd/...

up: setup ## start everything on this machine; Ctrl-C drains and stops
	@exec bin/huoma up $(ARGS)

demo: setup ## up, and a few minutes of simulated traffic
	@exec bin/huoma demo $(ARGS)

bench: setup ## measure it against the bare parts it is made of; status 1 below a bound
	@CGO_ENABLED=0 go build -o bin/bench ./internal/bench
	@exec bin/bench $(BENCH)

clients:
	@tools/clients.sh

test: setup clients ## the linters and all tests
	@tools/need.sh cc curl zbarimg poppler chromium clickhouse_client fuse
	@$(MAKE) --no-print-directory lint
	@go run ./internal/chaos --needs >&2
	CGO_ENABLED=1 go test -race -p 2 -timeout 30m ./...

# What happens: make chaos SEED=4. More flags go into CHAOS: make chaos CHAOS="--short --shape cluster"
SEED ?= 1
CHAOS ?=

chaos: setup ## pull the plugs under load, and check that nothing is lost or doubled
	@go run ./internal/chaos --seed $(SEED) $(CHAOS)

# Without cgo, as the binaries are built: what one has compiled the other uses, and no C compiler is needed.
lint: export CGO_ENABLED = 0
lint: ## gofmt, vet, staticcheck and the rules of the house
	@unformatted=$$(gofmt -l $(GODIRS)); [ -z "$$unformatted" ] || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; } >&2
	go vet ./...
	go tool staticcheck ./...
	go run ./internal/lint

pictures: ## draw thousands of pictures, have two foreign decoders read them, and write the rates into docs/pictures.md
	@tools/need.sh go zbarimg
	@CGO_ENABLED=0 go run ./internal/qr/corpus --update docs/pictures.md

soak: setup ## a day of traffic in ten minutes against the production processes: what grows that should not
	@go run ./internal/soak $(SOAK)

vuln: ## look the dependencies up among the known vulnerabilities (needs a network)
	go tool govulncheck ./...

fmt: ## format the Go code
	gofmt -w $(GODIRS)

clean: ## remove what was built and installed here; data is kept
	rm -rf bin tools/chdb/node_modules tools/clients/node_modules
