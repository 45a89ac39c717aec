# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -o pipefail -c
SHELL := /bin/bash

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# uv trusts the authorities that this system trusts.
export UV_SYSTEM_CERTS ?= true

# scripts/run_tests.py reads which tests failed in $(REPORTS).
PYTEST = python -m pytest $(if $(REPORTS),--junit-xml=$(REPORTS)/$@.xml)

.PHONY: help install locks local demo down clean lint audit audit-deployed sbom unit integration newcomer other-node fresh-roots containerd-store molecule bench test

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## Make the control node's environment in .venv
	@scripts/install

locks: install ## Renew the locks of the Python packages, and say what changed
	@scripts/locks

local: install ## Start an AWS and an Encord on this machine
	@ansible-playbook playbooks/local.yml -i inventory/local

demo: ## From nothing to a label in S3, on this machine
	@python3 scripts/demo.py

down: ## End everything that was started here
	@if [ -x .venv/bin/ansible-playbook ]; then ansible-playbook playbooks/local_down.yml; fi
	@rm -rf .local/logs

clean: ## ... and remove everything that was downloaded or built
	@if [ -x .venv/bin/ansible-playbook ]; then \
		ansible-playbook playbooks/local_down.yml -e local_stack_keep_cache=false; fi
	@rm -rf .venv .local .ansible .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

lint: install ## Check style, types and good practice
	@scripts/lint

audit: install ## Have auditors of security look at everything
	@scripts/audit

audit-deployed: install ## Have Prowler look at what `make demo` has left running
	@scripts/audit-deployed

sbom: install ## Write bills of materials of control node and images to .local/sbom
	@scripts/sbom

# The files in this order, since those that take long come first: at the end no worker waits for another.
unit: install ## Test the parts: handler and its faults, modules, Encord stand-in
	@scripts/browser >/dev/null
	@$(PYTEST) -n auto --dist loadfile --no-loadscope-reorder tests/contract tests/faults tests/unit --cov --cov-report=term

integration: install ## Test what `make demo` has left running
	@python -m pytest tests/molecule/default/test_deployed.py tests/molecule/default/test_monitoring.py

newcomer: install ## Type the first commands of the README, as a newcomer would
	@$(PYTEST) tests/newcomer

other-node: install ## Test with the other kind of Python and Ansible
	@scripts/other_node

fresh-roots: install ## Type the README's AWS part in fresh Debian and Ubuntu, on the local stack (root, mmdebstrap)
	@python scripts/fresh_roots.py $(ROOTS)

containerd-store: install ## Test the image's build with an engine that keeps images in containerd
	@scripts/containerd_store

molecule: install ## Test whole deployments on a local AWS
	@$(PYTEST) tests/molecule

bench: install ## Measure the exporter beside a doc-style handler
	@PYTHONPATH=tests/support python tests/benchmarks/run.py --write docs/benchmarks.md
	@PYTHONPATH=tests/support python tests/benchmarks/catalog.py --write docs/benchmarks.md
	@PYTHONPATH=tests/support python tests/benchmarks/deployments.py --write docs/benchmarks.md
	@PYTHONPATH=tests/support python tests/benchmarks/snapshots.py --write docs/benchmarks.md
	@PYTHONPATH=tests/support python tests/benchmarks/index.py --write docs/benchmarks.md

test: install ## Everything that is tested: all steps, and what failed in them at the end
	@python scripts/run_tests.py

