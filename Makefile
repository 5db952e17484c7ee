# Short names for the usual commands. What CI runs is in .ci/run, one function for each step.
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./outline-cli-ws
	CGO_ENABLED=0 go build -trimpath -o outline-cli-ws ./cmd/outline-cli-ws

test: ## unit tests: offline, without root
	go test ./... -tags unit

race: ## unit tests under the race detector
	go test -race -shuffle=on ./... -tags unit

lint: ## golangci-lint and go mod tidy
	.ci/run tidy tools lint

demo: ## a local server, the client and a few requests
	go run ./examples/demo

interop: ## the client against real peers (installs them with apt, as root)
	.ci/run interop

page: ## the status page in Chromium (installs it with apt, as root)
	.ci/run page

deploy: ## what is in deploy/, under a systemd of its own (as root)
	.ci/run deploy

e2e: ## the whole machine in the tunnel (network namespaces, as root)
	.ci/run e2e

chaos: ## 200 flows for two minutes while one server after another breaks
	go run ./test/chaos

memory: ## 2,000 flows and more than fits in 64 MiB (a control group, as root)
	.ci/run memory

fuzz: ## every fuzz target for a few seconds
	.ci/run fuzz

bench: ## every benchmark, a few rounds
	.ci/run bench

bench-tun: ## the full tunnel beside a kernel redirect (as root, with ip and nft)
	go run ./test/tunbench

ci: ## everything that has to pass before a merge
	.ci/run

.PHONY: help build test race lint demo interop page deploy e2e chaos memory fuzz bench bench-tun ci
