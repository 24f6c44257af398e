# Every target sets up what it needs. The first run installs from the network; later ones need none,
# until setup.cfg or pyproject.toml change.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(call fit,$(name))))
fit = $(shell $(1) -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null && echo $(1))

BIN := .venv/bin
# Processes that run tests: they wait more than they compute.
TESTERS ?= 3
SECONDS ?= 60
# Keyed on the contents, not the times (git changes those), and on the folder, which the venv has inside.
KEY := $(shell (cat setup.cfg pyproject.toml; pwd) | cksum | cut -d' ' -f1)
FOR_DEV := .venv/.ready-dev-$(KEY)
FOR_RUN := $(or $(wildcard $(FOR_DEV)),.venv/.ready-run-$(KEY))
# What builds the image: the first of docker and podman that answers, unless it is named; its version is the program's.
ENGINE ?=
VERSION = $(shell sed -n 's/^version = //p' setup.cfg)
REVISION = $(shell git rev-parse HEAD 2>/dev/null)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup crawl url demo check format fix lint types shape test crash hostile fuzz coverage reference clean \
	bench bench-scale bench-workers bench-modes bench-freshness bench-requests \
	bench-tls bench-looking bench-polite bench-memory bench-guard bench-dashboard profile \
	image secrets test-deploy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' Makefile

setup: $(FOR_DEV) ## create .venv with everything to develop and test

crawl: url $(FOR_RUN) ## crawl from a URL: make crawl URL=https://example.com/ ARGS="--max-pages 100"
	@$(BIN)/crawl run "$$URL" $(ARGS)

demo: $(FOR_RUN) ## crawl a small hostile web on this machine: half a minute, no network
	@$(BIN)/crawl demo $(ARGS)

url:
	@test -n "$$URL" || { echo 'say what to crawl: make crawl URL=https://example.com/' >&2; exit 2; }

check: format lint types shape test ## all that CI runs

format: $(FOR_DEV) ## say what is not formatted
	$(BIN)/ruff format --check --diff .

fix: $(FOR_DEV) ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(FOR_DEV) ## ruff
	$(BIN)/ruff check .

types: $(FOR_DEV) ## mypy --strict
	$(BIN)/mypy

shape: $(FOR_DEV) ## which layer may import which
	$(BIN)/python -m pytest -q tests/test_architecture.py

test: $(FOR_DEV) ## all tests
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadgroup --no-loadscope-reorder

crash: $(FOR_DEV) ## kill a crawl at 200 random moments, and see that nothing is lost and nobody hurried
	CRAWL_TEST_KILLS=200 $(BIN)/python -m pytest -q tests/system/test_crash.py

hostile: $(FOR_DEV) ## crawl the hostile web of the tests, and show how each of its servers ended
	$(BIN)/python -m tests.system.test_hostile

fuzz: $(FOR_DEV) ## a minute of damaged input for each of the parsers: make fuzz SECONDS=600 for more
	CRAWL_TEST_FUZZ_SECONDS=$(SECONDS) CRAWL_TEST_FUZZ_SEED=$$(date +%s) $(BIN)/python -m pytest -q tests/fuzz

bench: $(FOR_DEV) ## Faircrawl side by side with Scrapy, crawlee and wget2; writes docs/benchmarks.md (half an hour)
	$(BIN)/python -m tests.bench.peers $(ARGS)

bench-scale: $(FOR_DEV) ## what a page costs with 10 thousand, 1 million and 10 million URLs known (15 GB of disk, half an hour)
	$(BIN)/python -m tests.bench.scale --amqp own $(ARGS)

bench-workers: $(FOR_DEV) ## 1, 2 and 4 workers: are twice the workers twice the pages? (a quarter of an hour)
	$(BIN)/python -m tests.bench.workers --amqp own $(ARGS)

bench-modes: $(FOR_DEV) ## what RabbitMQ costs a worker, compared with one machine
	$(BIN)/python -m tests.bench.modes $(ARGS)

bench-requests: $(FOR_DEV) ## how soon somebody who asks for a page gets it on a busy system (five minutes)
	$(BIN)/python -m tests.bench.requests $(ARGS)

bench-freshness: $(FOR_DEV) ## how fresh pages are kept, against a fixed interval with as many fetches (three minutes)
	$(BIN)/python -m tests.bench.freshness $(ARGS)

bench-tls: $(FOR_DEV) ## how much of bare aiohttp's speed is left over TLS, with 500 new connections (three minutes)
	$(BIN)/python -m tests.bench.tls $(ARGS)

bench-looking: $(FOR_DEV) ## what the dashboard asks, with 10 million URLs: each within 100 ms? (5 GB of disk, ten minutes)
	$(BIN)/python -m tests.bench.looking $(ARGS)

bench-polite: $(FOR_DEV) ## 2,000 domains at once, 10 s apart: how much of what politeness allows (a quarter of an hour)
	$(BIN)/python -m tests.bench.polite --amqp own $(ARGS)

bench-memory: $(FOR_DEV) ## the memory of a crawler after 100,000 pages, and whether it still grows (ten minutes)
	$(BIN)/python -m tests.bench.memory $(ARGS)

bench-guard: $(FOR_DEV) ## does a page cost more than it did? this tree against BASE, a commit (five minutes)
	$(BIN)/python -m tests.bench.guard $(if $(BASE),--base $(BASE)) $(ARGS)

bench-dashboard: $(FOR_DEV) ## what the dashboard costs with a page open, against the crawl it shows, for each page (six minutes)
	$(BIN)/python -m tests.bench.dashboard $(ARGS)

profile: $(FOR_DEV) ## where a page's time goes, as a picture: build/profile.html (two minutes)
	$(BIN)/python -m tests.bench.profile $(ARGS)

coverage: $(FOR_DEV) ## all tests, and which branches they miss
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

image: ## the container image faircrawl:VERSION, with docker or podman (ENGINE=podman)
	@$(choose); set -x; \
	$$engine build -f deploy/Dockerfile --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) -t faircrawl:$(VERSION) .

define choose
engine='$(ENGINE)'; silent=; \
if [ -n "$$engine" ]; then \
	command -v $(firstword $(ENGINE)) >/dev/null \
	|| { echo '$(firstword $(ENGINE)) is not installed: install it, or leave out ENGINE= to take docker or podman' >&2; exit 1; }; \
else \
	for name in docker podman; do \
		command -v $$name >/dev/null || continue; \
		if timeout 10 $$name info >/dev/null 2>&1; then engine=$$name; break; fi; \
		silent="$${silent:+$$silent and }$$name"; \
	done; \
fi; \
if [ -z "$$engine" ]; then \
	if [ -n "$$silent" ]; then echo "no answer from $$silent: start the daemon; $${silent%% *} info says what is wrong"; \
	else echo 'there is neither docker nor podman: install one of them, or name it with make image ENGINE=...'; \
	fi >&2; \
	exit 1; \
fi
endef

secrets: ## the passwords that docker-compose.yml reads, in secrets/: those that are missing
	@deploy/secrets.sh

test-deploy: $(FOR_DEV) ## the image and docker-compose.yml for real, on Debian as root: five minutes, the first time ten
	@$(BIN)/python -m tests.deploy.containers.run

reference: $(FOR_DEV) ## write docs/reference.md from the program
	$(BIN)/python docs/reference.py > docs/reference.new && mv docs/reference.new docs/reference.md

clean: ## remove what builds and tests leave behind (.venv stays)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find crawler scheduler tests -name __pycache__ -prune -exec rm -rf {} +

# Not compiled: half of it is never imported.
.venv/.ready-dev-%:
	@$(prepare)
	$(PIP) --no-compile --editable '.[dev]'
	@touch $@

.venv/.ready-run-%:
	@$(prepare)
	$(PIP) --editable .
	@touch $@

# A Python that can make a venv; as root on Debian it is installed if it is missing.
define prepare
python="$(PYTHON)"; \
if ! $${python:-false} -c 'import ensurepip, venv' 2>/dev/null \
   && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo 'installing python3-venv'; \
	(apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3 python3-venv) >/dev/null; \
	[ -n "$$python" ] || python=/usr/bin/python3; \
fi; \
$${python:-false} -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null \
	|| { echo 'faircrawl needs Python 3.11 or later: install it, or name it with make PYTHON=...' >&2; exit 1; }; \
$$python -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "$$python cannot make a venv: install python3-venv (apt-get install python3-venv)" >&2; exit 1; }; \
rm -f .venv/.ready-*; \
test -x $(BIN)/python || $$python -m venv .venv
endef
