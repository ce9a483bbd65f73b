# Everything a developer does here. `make help` explains each target.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
STAMP := .venv/.synced
BASE := .venv/.base-synced
BIN := .venv/bin
FLINK := .venv-flink
LLM := .venv-llm

.PHONY: help setup setup-flink demo test test-flink chaos-flink check format bench bench-live bench-serve bench-flink bench-gpu chaos fuzz soak clean screenshots setup-llm test-llm

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --upgrade uv

$(STAMP): pyproject.toml uv.lock $(if $(findstring .uv,$(UV)),.uv/bin/uv)
	$(UV) sync --frozen --all-extras --no-extra flink --no-extra llm --compile-bytecode
	@touch $@

$(FLINK)/.synced: pyproject.toml uv.lock $(if $(findstring .uv,$(UV)),.uv/bin/uv)
	UV_PROJECT_ENVIRONMENT=$(FLINK) $(UV) sync --frozen --extra flink --no-default-groups --group test --compile-bytecode
	@touch $@

$(BASE): pyproject.toml uv.lock $(if $(findstring .uv,$(UV)),.uv/bin/uv)
	$(UV) sync --frozen --inexact --no-default-groups --compile-bytecode
	@touch $@

setup: $(STAMP) ## Install everything into .venv from the lock (quick when there is nothing to do)

$(LLM)/.synced: pyproject.toml uv.lock $(if $(findstring .uv,$(UV)),.uv/bin/uv)
	UV_PROJECT_ENVIRONMENT=$(LLM) $(UV) sync --frozen --extra llm --no-default-groups --group test --compile-bytecode
	@touch $@

setup-llm: $(LLM)/.synced ## Install what language models need (transformers, peft) into .venv-llm, an environment of its own in the same lock

test-llm: setup-llm ## Relevance and Novelty as a real language model, SmolLM2-135M: some CPU-minutes, 93 MB to fetch
	OMP_NUM_THREADS=1 $(LLM)/bin/pytest tests/learners/coevolution/test_language.py -s

setup-flink: $(FLINK)/.synced ## Install Apache Flink's workers into .venv-flink, an environment of its own in the same lock (350 MB to fetch)

demo: $(BASE) ## Replay two real logs (purchases, films), learn from every event, ask for recommendations; 0.7 GB, no torch
	$(BIN)/ebbtide replay completejourney --limit 40000 --out runs/demo
	$(BIN)/ebbtide query recommend 1639 --from runs/demo -k 3
	$(BIN)/ebbtide replay movielens-100k --limit 20000 --out runs/demo-films
	$(BIN)/ebbtide query similar 50 --from runs/demo-films -k 5
	@printf '\nThe same live, on a page of its own: make setup (once), then\n  $(BIN)/ebbtide up\n'

PROCESSES ?= 3
test: setup setup-flink ## Run all tests, in PROCESSES processes, each with a broker and a store of its own, and those on Flink
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-flink: setup setup-flink ## Of these the ones on Flink: what it makes of a log is what replay makes
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/ebbtide/flink

chaos-flink: setup setup-flink ## What takes minutes on Flink: what every engine must do, moving state, a cluster that is killed in mid-stream
	OMP_NUM_THREADS=1 $(BIN)/pytest -m flink tests/contracts tests/streams tests/ebbtide

check: setup ## Format, lint and types, as CI does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Run every benchmark beside its peers (Vowpal Wabbit, river, bytewax, DIN in torch); an hour or two; FOURSQUARE and GLOBO name folders of more logs
	$(BIN)/python -m benchmarks $(if $(FOURSQUARE),--foursquare $(FOURSQUARE)) $(if $(GLOBO),--globo $(GLOBO))

SEEDS ?= 20
chaos: setup ## Kill workers, trainer, broker and store at random moments, SEEDS times over
	$(BIN)/python -m tests.chaos --seeds $(SEEDS)

SECONDS ?= 600
SEED ?= 0
fuzz: setup ## Spoil logs, messages, side tables and times at random for SECONDS; SEED draws them
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

screenshots: setup ## Pictures of the page for the README, into docs/images; needs Chromium
	$(BIN)/python -m tests.serving.screenshots

soak: setup ## An hour of steady load on the live path, with a fault every five minutes
	$(BIN)/python -m tests.chaos --seeds 1 --seconds 3600 --rate 200 --schedule tests/schedules/soak.jsonl

bench-live: setup ## Live workers beside a plain Faust agent on a broker of their own: events/s on JSON and Arrow
	$(BIN)/python -m benchmarks live

bench-serve: setup ## `ebbtide serve` on loopback: CPU and latency of a request, overload, freshness; FEAST names a Python that has feast[redis], read beside us
	$(BIN)/python -m benchmarks serve $(if $(FEAST),--feast $(FEAST))

bench-flink: setup setup-flink ## A Flink job beside the Faust worker and the engine alone: events/s and CPU, JSON and Arrow
	$(BIN)/python -m benchmarks flink

bench-gpu: setup ## DIN, MIRRN, SINE and the two-tower on the CPU, and on a GPU where there is one: events/s by batch
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks gpu

clean: ## Remove what was built and run here
	rm -rf .venv .venv-flink .venv-llm .uv runs dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
