# Working on angz. "make" shows what there is; using angz needs none of this.

GO ?= go
export GOTOOLCHAIN = local
# Tests start many processes; this is how long all of them together may take.
TEST_TIMEOUT ?= 40m

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/angz
	$(GO) build -trimpath -ldflags '-s -w' -o bin/angz ./cmd/angz

.PHONY: test
test: deps verify lint check-generated ## Run everything CI runs: checks and all tests with the race detector
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./... ./.ci/sbom

.PHONY: test-quick
test-quick: ## Run all tests without the race detector
	$(GO) test -timeout $(TEST_TIMEOUT) ./...

.PHONY: deps
deps: ## Install what the tests need beyond Go
	sh ./.ci/deps

.PHONY: lint
lint: ## Check format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w $$unformatted"; exit 1; fi
	$(GO) vet ./... ./.ci/sbom
	$(GO) tool staticcheck ./... ./.ci/sbom

.PHONY: generate
generate: ## Write the Go code for the .proto files
	$(GO) run ./proto/generate

.PHONY: check-generated
check-generated: ## Fail when that code is out of date
	$(GO) run ./proto/generate -check

.PHONY: bench
bench: ## Run the benchmarks, with CPU time beside each rate
	$(GO) test -run '^$$' -bench . -benchtime 2s ./...

.PHONY: soak
soak: deps ## Work on a project for two hours and see that the memory of angz does not grow (SOAK=10m for less)
	ANGZ_SOAK=$(or $(SOAK),2h) $(GO) test ./e2e -run TestMemoryDoesNotGrow -v -timeout 4h

.PHONY: fuzz
fuzz: ## Run every fuzz test for a short while
	sh ./.ci/fuzz

.PHONY: verify
verify: ## Check that every dependency is what go.sum says it was
	$(GO) mod verify
	$(GO) -C .ci/tools mod verify

.PHONY: sbom
sbom: build ## Write the bill of materials of bin/angz beside it (CycloneDX)
	$(GO) run ./.ci/sbom -o bin/angz.cdx.json bin/angz

# Known vulnerabilities change without any change here, and the database has to be
# reached: this is for a person or a nightly job, never for "make test".
VULNDB ?= https://vuln.go.dev
.PHONY: vuln
vuln: ## Look for known vulnerabilities that angz can reach (needs the network)
	$(GO) build -C .ci/tools -o ../../bin/govulncheck golang.org/x/vuln/cmd/govulncheck
	bin/govulncheck -db $(VULNDB) ./cmd/...

.PHONY: pictures
pictures: ## Take the pictures of the docs anew, from real runs (needs tmux)
	sh docs/pictures/make.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
