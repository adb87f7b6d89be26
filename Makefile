# Everything a bare machine needs to run, test and measure NOVA Admin: Python 3.11 or newer with venv, and make.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/ready

TOOLS := .local/tools
LOWEST := .local/lowest
# A lock is whole: nothing is looked up beside it.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r

.PHONY: demo test lowest thorough soak check lock audit study screenshots messages commands house format clean

demo: $(READY)  ## embedded stores, seeded clients, a bulk migration, the site (ARGS="--once" ends after the summary)
	DEBUG=1 exec $(BIN)/python manage.py demo $(ARGS)

# Some tests wait for servers and workers: four at a time keep two cores busy.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist worksteal

# Tests of all drawers at once: of every act, problem, event, permission, sentence and document.
SWEEPS := $(addprefix tests/migration/, runs/acts core/problems management/test_act_commands.py site/audit/test_acts.py \
	site/test_menu.py site/test_permissions.py site/test_queries.py \
	people/test_offers_to_roles.py people/test_roles.py people/test_roles_with_bodies.py) \
	$(addprefix tests/, languages nova_admin/operating/test_metrics.py deploy/test_alerts.py test_command_document.py \
	test_document_facts.py test_documents.py test_house.py test_late_imports.py test_reprs.py test_truth_of_documents.py)
DRAWERS := $(filter-out management,$(patsubst tests/migration/%/__init__.py,%,$(wildcard tests/migration/*/__init__.py)))
ifneq (,$(filter-out $(DRAWERS),$(DRAWER)))
$(error There is no drawer $(DRAWER): $(DRAWERS))
endif
# No test twice.
OF_DRAWER := $(if $(DRAWER),tests/migration/$(DRAWER) $(filter-out tests/migration/$(DRAWER)/%,$(SWEEPS)))

test: $(READY)  ## the tests that take no more than seconds, against the embedded PostgreSQL (DRAWER=campaigns: what a change of it needs)
	$(PYTEST) -m "not long" $(OF_DRAWER) $(ARGS)

# Each process collects the files of these alone.
LONG_FILES = $(sort $(shell sed 's/^[0-9]* //; s/::.*//' tests/long_tests.txt))
thorough: $(READY)  ## the long ones: lives of the law, kills at each step, a demo, thousands of clients, most journeys in a browser
	$(PYTEST) -m "long and not nightly" $(or $(ARGS),$(LONG_FILES))

# Of a client, from each phase on: half an hour.
LIVES ?= 1000
soak: $(READY)  ## each night: all the long ones, with LIVES random lives of a client from each phase on
	NOVA_SOAK=$(LIVES) $(PYTEST) -m long $(ARGS)

# They lie before those of the environment; both are of one Python, 3.11.
lowest: $(READY) $(LOWEST)/ready  ## the reader's tests on the lowest versions that the package allows
	PYTHONPATH=$(CURDIR)/$(LOWEST) $(BIN)/python -c "import boto3, psycopg, psycopg2; print(boto3.__version__, psycopg.__version__, psycopg2.__version__)"
	PYTHONPATH=$(CURDIR)/$(LOWEST) $(PYTEST) -m "not long" tests/nova_credentials/reader tests/nova_credentials/secrets_manager $(ARGS)

check: $(READY)  ## the static side
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(STATIC) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(STATIC) $(BIN)/python manage.py makemigrations --check --dry-run
	$(STATIC) $(BIN)/python manage.py check --fail-level WARNING
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(READY)  ## format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(TOOLS)/ready  ## the locks of all dependencies, after a list was changed (ARGS="--upgrade": the newest versions that the lists allow)
	$(PYTHON) -m tests.dependencies.locking $(TOOLS)/bin/uv $(ARGS)

audit: $(TOOLS)/ready  ## advisories about the locked versions; fails too if they could not be asked for
	$(PYTHON) -m tests.dependencies.auditing $(TOOLS)/bin/pip-audit

study: $(READY)  ## what is measured and is no test: `make study` lists the studies, `make study NAME ARGS="…"` makes one
	$(BIN)/python -m tests.studies $(STUDY) $(ARGS)

screenshots: $(READY)  ## the pages as the docs show them (needs Chromium)
	$(BIN)/python -m tests.screenshots $(ARGS)

messages: $(READY)  ## what is marked, into locale/; says what lacks its Spanish, and compiles it
	$(STATIC) $(BIN)/python -m tests.messages

commands: $(READY)  ## docs/commands.md of what each command's --help says, docs/settings.md of .env.example
	DJANGO_SETTINGS_MODULE=nova_admin.settings $(STATIC) $(BIN)/python -m tests.command_document
	$(BIN)/python -m tests.settings_document

house: $(READY)  ## docs/house.svg, of the drawers, their modules and the first line of each
	$(BIN)/python -m tests.house

clean:  ## everything that can be made again; the embedded stores too
	rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache .hypothesis staticfiles

# Static checks need settings, but neither store. The keys are made for the moment.
KEY = $(shell $(PYTHON) -c "import secrets; print(secrets.token_urlsafe(64))")
STATIC = DEBUG=1 SECRET_KEY=$(KEY) DATABASE_URL=postgresql:///unused AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1
PRODUCTION = DEBUG= SECRET_KEY=$(KEY) NOVA_FINGERPRINT_KEY=$(KEY) NOVA_AUDIT_KEY=$(KEY) ALLOWED_HOSTS=example.invalid \
	DATABASE_URL=postgresql:///unused AWS_ACCESS_KEY_ID=check AWS_SECRET_ACCESS_KEY=check

# Nothing is installed whose hash is not in a lock. A lock that was not made of its list is refused before.
$(READY): requirements.txt requirements-redis.txt requirements-dev.txt requirements-dev.lock
	$(PYTHON) -m tests.dependencies.locking --check
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) requirements-dev.lock
	touch $@

# In an environment of their own: neither the site nor its tests need them.
$(TOOLS)/ready: requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(INSTALL) requirements-tools.lock
	touch $@

$(LOWEST)/ready: requirements-lowest.lock | $(READY)
	rm -rf $(LOWEST)
	$(BIN)/python $(INSTALL) requirements-lowest.lock --target $(LOWEST)
	touch $@

# The word after `study` is a study's name and nothing to make, even where something is called so.
ifeq (study,$(firstword $(MAKECMDGOALS)))
STUDY := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.PHONY: $(STUDY)
$(STUDY): ; @:
endif
