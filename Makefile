# The two main commands are `make demo` and `make test`. `make help` lists the others.
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -o pipefail -c
SHELL := /bin/bash

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# uv trusts the system's certificate authorities.
export UV_SYSTEM_CERTS ?= true

# scripts/run_tests.py reads which tests failed in $(REPORTS).
PYTEST = python -m pytest $(if $(REPORTS),--junit-xml=$(REPORTS)/$@.xml)

.PHONY: help install locks local demo down clean lint audit audit-deployed sbom unit integration newcomer other-node fresh-roots containerd-store molecule bench test

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## Create the control node's environment in .venv
	@scripts/install

locks: install ## Update the locks of the Python packages, and list the changes
	@scripts/locks

local: install ## Start an AWS and an Encord on this machine
	@ansible-playbook playbooks/local.yml -i inventory/local

demo: ## Deploy everything on this machine, and save a label in S3
	@python3 scripts/demo.py

down: ## Stop everything that was started here
	@if [ -x .venv/bin/ansible-playbook ]; then ansible-playbook playbooks/local_down.yml; fi
	@rm -rf .local/logs

clean: ## ... and remove everything that was downloaded or built
	@if [ -x .venv/bin/ansible-playbook ]; then \
		ansible-playbook playbooks/local_down.yml -e local_stack_keep_cache=false; fi
	@rm -rf .venv .local .ansible .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

lint: install ## Check style, types and good practice
	@scripts/lint

audit: install ## Run the security auditors on the repository
	@scripts/audit

audit-deployed: install ## Run Prowler on what `make demo` leaves running
	@scripts/audit-deployed

sbom: install ## Write bills of materials of control node and images to .local/sbom
	@scripts/sbom

# One process more than processors, since many tests wait for a server. In this order, slow files come first, so that none is idle
# at the end.
unit: install ## Test the parts: functions, faults, modules, Encord stand-in
	@scripts/browser >/dev/null
	@$(PYTEST) -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder tests/contract tests/faults tests/unit --cov --cov-report=term

integration: install ## Test what `make demo` leaves running
	@python -m pytest tests/molecule/default/test_deployed.py tests/molecule/default/test_monitoring.py

newcomer: install ## Run the README's first commands, as a new user does
	@$(PYTEST) --exitfirst tests/newcomer

other-node: install ## Test with the other Python and Ansible versions
	@scripts/other_node

fresh-roots: install ## Run the README's AWS part in fresh Debian and Ubuntu systems, on the local stack (root, mmdebstrap)
	@python scripts/fresh_roots.py $(ROOTS)

containerd-store: install ## Test the image's build with an engine that keeps images in containerd
	@scripts/containerd_store

molecule: install ## Test whole deployments on a local AWS
	@$(PYTEST) tests/molecule

bench: install ## Measure everything of docs/benchmarks.md, and write its tables (BENCH="--quick", "--full", or names)
	@PYTHONPATH=tests/support python tests/benchmarks/all.py $(BENCH)

test: install ## Run all test steps, and list at the end what failed
	@python scripts/run_tests.py

