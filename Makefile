# Everything a person does with Ark from a clone. `make` alone lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# the first Python that is new enough, the system's before others: workspaces must be able to see it
PYTHON ?= $(shell for p in /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/local/bin/python3 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BOOTSTRAP = ARK_BEGAN=$$(date +%s.%N) $(or $(PYTHON),python3) -m hub_config.bootstrap
# the environment for checks and tests: built on demand, its name asked for only then
DEV = $$($(or $(PYTHON),python3) -c 'from ark_extensions.environments import environments; print(environments().dev)')/bin
DIR_OPTION = $(if $(DIR),--dir '$(DIR)')

.PHONY: help up down restore vscode cluster cluster-down images test soak doubt check format bench lock i18n-extract test-env

help: ## list what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name what; do \
		printf '  make %-14s %s\n' "$$name" "$$what"; done

up: ## set everything up and start [PORT=8000 DIR=.ark BACKGROUND=1 NO_SANDBOX=1 NO_VSCODE=1 PYTORCH=1]
	@$(BOOTSTRAP) up $(DIR_OPTION) $(if $(PORT),--port '$(PORT)') $(if $(HOST),--host '$(HOST)') \
		$(if $(filter-out 0,$(BACKGROUND)),--background) $(if $(filter-out 0,$(NO_SANDBOX)),--no-sandbox) \
		$(if $(filter-out 0,$(NO_VSCODE)),--no-vscode) $(if $(filter-out 0,$(PYTORCH)),--pytorch)

down: ## stop what `make up` started, workspaces first [DIR=.ark]
	@$(BOOTSTRAP) down $(DIR_OPTION)

restore: ## put a backup back where nothing is yet [FROM=BACKUP DIR=.ark]
	@test -n '$(FROM)' || { echo 'Name the backup: make restore FROM=…'; exit 2; }
	@$(BOOTSTRAP) restore $(DIR_OPTION) '$(FROM)'

vscode: ## try again to build VS Code
	@$(BOOTSTRAP) vscode

CLUSTER = $(or $(PYTHON),python3) -m tests.kubernetes
cluster: ## a real single-node Kubernetes for tests, as root [DIR=.cluster]
	@$(CLUSTER) up $(DIR_OPTION)

cluster-down: ## take it down: nothing of it is left [DIR=.cluster]
	@$(CLUSTER) down $(DIR_OPTION)

images: ## build the images of workspaces and Hub, and bring them into that cluster [DIR=.cluster PYTORCH=1]
	@$(CLUSTER) images $(DIR_OPTION) $(if $(filter-out 0,$(PYTORCH)),--pytorch)

test-env:
	@$(BOOTSTRAP) test-env $(if $(filter-out 0,$(NO_VSCODE)),--no-vscode)

test: test-env ## run all tests [TIERS="unit contract integration browser cluster" ARGS=…]
	@$(DEV)/python -m tests.tiers $(TIERS) $(if $(ARGS),-- $(ARGS))

soak: test-env ## for hours: money, 1,000,000 simulated steps and 100,000 kills; pods, 1,000 kills and 1,000 failed starts
	@ARK_SOAK_STEPS=1000000 ARK_KILLS=100000 ARK_POD_KILLS=1000 ARK_FAILED_STARTS=1000 PYTHONPATH=. \
		$(DEV)/python -m pytest -q tests/integration/test_money_simulation.py \
		tests/integration/test_money_kills.py tests/integration/test_kube_kills.py tests/integration/test_kube_failures.py

doubt: test-env ## break a copy of the product on purpose, and see that the tests notice [BREAKS="words of their names"]
	@$(DEV)/python -m tests.mutations $(BREAKS)

check: ## style, types, layers, documents, translations
	@$(BOOTSTRAP) test-env --only-dev
	@$(DEV)/python tests/checks.py

format: ## put the code into the house style
	@$(DEV)/ruff check -q --fix . ; $(DEV)/ruff format -q .

i18n-extract: ## bring the Chinese translations' list of sentences up to date
	@$(BOOTSTRAP) test-env --only-dev
	@$(DEV)/python -m ark_extensions.console.locale.extract

bench: test-env ## measure against baselines in the same run [BENCH=name]
	@$(DEV)/python -m bench $(BENCH)

COMPILE = uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command 'make lock'
lock: ## resolve all locks anew
	$(COMPILE) pyproject.toml -o locks/hub.txt
	$(COMPILE) pyproject.toml --group dev -o locks/dev.txt
	for group in workspace pytorch node uv; do $(COMPILE) --group $$group -o locks/$$group.txt || exit 1; done
	npm install --package-lock-only --no-audit --no-fund --omit-lockfile-registry-resolved
	cd locks/pages && npm install --package-lock-only --no-audit --no-fund --omit-lockfile-registry-resolved
	cd images/code-server && npm install --package-lock-only --no-audit --no-fund --omit-lockfile-registry-resolved
