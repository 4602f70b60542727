# Everything below works on a bare Debian or Ubuntu with Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SLOW := netns or lab or e2e or browser or fuzz

.DEFAULT_GOAL := help
.PHONY: help demo test test-netns test-e2e test-fuzz test-lab coverage coverage-test coverage-netns coverage-report \
	newcomer lab-up lab-down bench soak pictures apt check format dist lock

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## Run the exporter on an embedded cloud (N=10000 for a larger one)
	@$(BIN)/python -m fping_exporter demo $(if $(N),--instances $(N))

test: $(VENV)/.dev ## Run the tests that need neither root nor a server (another Python: PYTHON=... VENV=...)
	$(BIN)/pytest -q -n auto -m 'not ($(SLOW))'

test-netns: $(VENV)/.dev ## Run the tests that make network namespaces (root; make apt first)
	$(BIN)/pytest -q -m 'netns and not lab'

test-e2e: $(VENV)/.dev ## Run the tests with a real Prometheus, Alertmanager and Chromium (make apt first)
	$(BIN)/pytest -q -m '(e2e or browser) and not lab'

test-fuzz: $(VENV)/.dev ## Run the fuzz tests: ten thousand random requests
	$(BIN)/pytest -q -m fuzz

test-lab: $(VENV)/.dev ## Run the tests against a real OpenStack on loopback (root, Debian 12; make apt first)
	tests/lab/ci.sh

coverage: ## Measure branch coverage over make test and make test-netns (root; make apt first)
	@$(MAKE) --no-print-directory coverage-test
	@$(MAKE) --no-print-directory coverage-netns
	@$(MAKE) --no-print-directory coverage-report

# Anybody may write there: some tests start the exporter as another user.
COVERAGE := $(CURDIR)/.coverage
coverage-test coverage-netns coverage-report: export COVERAGE_FILE := $(COVERAGE)/data

coverage-test: $(VENV)/.dev
	rm -rf $(COVERAGE) && install -d -m 1777 $(COVERAGE)
	$(BIN)/coverage run -m pytest -q -n auto -m 'not ($(SLOW))'

coverage-netns: $(VENV)/.dev
	$(BIN)/coverage run -m pytest -q -m 'netns and not lab'

coverage-report: $(VENV)/.dev
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

newcomer: ## Run the README's steps on a bare Debian, and build the container (root; see the scripts)
	tests/newcomer/bare.sh
	tests/newcomer/newest.sh
	tests/newcomer/container.sh

lab-up: ## Start that OpenStack, with 60 servers and guests that answer or not (root, Debian 12)
	tests/lab/up.sh
	tests/lab/seed.py 60 --ipv6 --floating 2
	tests/lab/vms.py up

lab-down: ## Stop that OpenStack
	tests/lab/down.sh

bench: $(VENV)/.dev ## Measure against fping, icmplib, openstacksdk and prometheus_client (root; make apt first)
	@$(BIN)/python -m tests.benchmarks

soak: $(VENV)/.dev ## Break things for a quarter of an hour and judge each answer (root; MINUTES=..., SEED=...)
	@$(BIN)/python -m tests.soak $(or $(MINUTES),15) $(SEED)

pictures: $(VENV)/.dev ## Take the README's pictures again (root; make apt first; needs npm)
	$(BIN)/python -m tests.browser.screenshots docs
	cd grafana/picture && npm ci --ignore-scripts --no-audit --no-fund && npm run check && npm run build
	$(BIN)/python -m tests.browser.dashboards fping-cloud=docs/dashboard-dark.png

# policy-rc.d keeps Debian's packages from starting their daemons; the tests start their own.
apt: ## Install what the slower tests need from Debian (root)
	@apt-get update -q=2
	@printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
	@DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --no-install-recommends $(PACKAGES) >/dev/null; \
		status=$$?; rm -f /usr/sbin/policy-rc.d; exit $$status
PACKAGES := $(if $(shell command -v kubectl),,kubernetes-client) chromium chromium-driver debootstrap etcd-server fping iproute2 mandoc nftables nginx-light prometheus prometheus-alertmanager \
	podman python3-venv redis-server runc systemd tcsh victoria-metrics zsh

check: $(VENV)/.dev ## Lint, check the types and the formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev ## Apply the fixes and the formatting of ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

dist: $(VENV)/.dev ## Build the sdist and the wheel into dist/, and check them
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(PIP) install --no-deps --target dist/installed dist/*.whl
	cd dist && export PYTHONPATH=installed && \
		../$(BIN)/python -m fping_exporter print config | cmp - ../deploy/fping-exporter.yml && \
		../$(BIN)/python -m fping_exporter print rules | cmp - ../deploy/prometheus/fping-exporter.rules.yml && \
		mkdir dashboards && ../$(BIN)/python -m fping_exporter print dashboards dashboards && \
		diff -r dashboards ../grafana/dashboards
	rm -r dist/installed dist/dashboards

lock: ## Resolve the dependencies again, to their newest versions (needs uv)
	uv pip compile $(UV_FLAGS) pyproject.toml -o requirements.lock
	uv pip compile $(UV_FLAGS) --group dev --extra openstack --extra share pyproject.toml -o requirements-dev.lock
	uv pip compile $(UV_FLAGS) tests/newcomer/ansible.in -o tests/newcomer/ansible.lock
UV_FLAGS := --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	--python-version 3.11 --custom-compile-command 'make lock'

# A stamp file records the installation, so that make repeats it after a change of the lock.
$(VENV)/.runtime: requirements.lock | $(BIN)/python
	$(PIP) install --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r $<
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is too old or absent: Python 3.11 or newer is needed (make PYTHON=python3.12 ...)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ test "$$(id -u)" = 0 && echo 'installing python3-venv' && apt-get update -q=2 && \
			apt-get install -q=2 python3-venv >/dev/null; } || \
		{ echo 'this Python cannot make virtual environments yet: sudo apt-get update && sudo apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
