# `make` alone lists what there is. Everything runs in .venv, which is made when it is missing and brought up to
# date when the pinned requirements change.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test check lint types bench chaos clean

PY := .venv/bin/python
# Django's own commands need settings, but neither keys nor a database of anybody's.
BARE := TESTING=1 FAILOVER_DESK_DATA=.venv $(PY) manage.py
# A stamp is named after what it stands for: other requirements, another stamp.
PROD := .venv/.prod-$(shell cksum < requirements/prod.txt | tr ' ' '-')
DEV := .venv/.dev-$(shell cksum < requirements/dev.txt | tr ' ' '-')

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: $(PROD) ## simulated clusters, people to sign in as, and a tour (PORT=8000)
	@exec $(PY) manage.py demo --with-parent

up: $(PROD) ## the desk for your own clusters (HOST, PORT, FAILOVER_DESK_DATA: docs/settings.md)
	@exec $(PY) manage.py up --with-parent

# On both engines where the engine decides. The fault matrix chooses for each row; browsers want the machine to themselves.
test: $(DEV) ## all tests, on SQLite and then on PostgreSQL
	@$(PY) -m pytest -n 2 -m "not journey and not faults"
	@$(PY) -m pytest -n 2 -m faults tests/faults tests/running
	@$(PY) -m pytest -m journey
	@$(PY) -m pytest --db postgres -n 2 -m "not journey and not faults and not mutants"

check: lint types test ## all that must hold before a change is taken

lint: $(DEV) ## format, rules, import floors, migrations, settings
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@.venv/bin/lint-imports
	@$(BARE) makemigrations --check --dry-run
	@$(BARE) check --fail-level WARNING

types: $(DEV) ## mypy, strict
	@$(PY) -m mypy

bench: $(DEV) ## measure, and print a table
	@$(PY) -m tests.bench

chaos: $(DEV) ## anything at any moment, and an auditor (ROUNDS=20, SEED=a word, ENGINE=sqlite or postgres)
	@$(PY) -m tests.chaos --rounds $(or $(ROUNDS),20) --seed "$(SEED)" --engine $(or $(ENGINE),sqlite)

clean: ## forget the environment and everything that was built; data in var/ stays
	rm -rf .venv staticfiles .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PROD):
	@sh requirements/install requirements/prod.txt
	@rm -f .venv/.prod-* && touch $@

$(DEV):
	@sh requirements/install requirements/dev.txt
	@rm -f .venv/.dev-* && touch $@
