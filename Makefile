# `make demo` and `make test` do all of their own set-up; PY=... uses another Python that has the project's dependencies.
PY ?= .venv/bin/python
SHELL := /bin/bash
# Two processes of one thread each; the tests of a file stay together, since they share runs.
PARALLEL ?= -n 2 --dist loadfile
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test quick check slow gpu bench bench-graders format clean setup

ifeq ($(PY),.venv/bin/python)
setup: .venv/installed
# ninja and accelerate are looked up on PATH.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
else
setup:
endif

# torch goes first and alone: the constraint keeps pip from trying another build of it. kronfluence (the
# extra `influence`) asks for torchvision, which it never imports.
.venv/installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,eval,wandb,openai,diversity,dedup,plots,ray,dev]'
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps kronfluence einconv einops opt_einsum
	touch $@

demo: setup
	$(PY) -m circuitseer_trl.scripts.demo

test: setup
	$(PY) -m pytest $(PARALLEL) -m "not slow and not gpu"

quick: setup
	$(PY) -m pytest $(PARALLEL) -m "not slow and not gpu and not engine and not thorough" -x

slow: setup
	$(PY) -m pytest -m slow --timeout 3600

gpu: setup
	$(PY) -m pytest -m gpu --timeout 3600

# Against naive peers; TransformerLens and nnsight take part where they can be installed. BENCH_ARGS='--model DIR'.
bench: setup
	@$(PY) -m pip install --quiet --constraint constraints.txt transformer-lens nnsight || echo "Some peers could not be installed."
	$(PY) -m bench.run $(BENCH_ARGS)

# Ours beside every peer that can be installed. BENCH_ARGS='--suites DIR' adds the suites that `python -m bench.grader_suites DIR` fetches.
bench-graders: setup
	@$(PY) -m pip install --quiet --constraint constraints.txt inspect-ai lm-eval mathruler pylatexenc || echo "Some peers could not be installed."
	$(PY) -m bench.graders $(BENCH_ARGS)

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

format: setup
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:
	rm -rf runs build dist .mypy_cache .ruff_cache .import_linter_cache
