# Every target sets up in .venv what it needs, and again only when setup.py or constraints.txt has changed.
# The first of these that works is used, for a new .venv. For another, which makes .venv anew: make test PYTHON=python3.12
PYTHON := python3.11 python3.12 python3.13 python3.10 python3.14 python3

# dbt's own environment: dbt/requirements.in says why.
DBT := .venv-dbt/.installed

.DEFAULT_GOAL := help
.PHONY: help run stream live report gcp dbt test acceptance lint bench fuzz faults release template launch receiver-image receiver-deploy clean
.PHONY: installed installed-gcp installed-report installed-dev

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: installed ## Run the job on the example events into warehouse.duckdb
	.venv/bin/python -m pipeline --input=examples/events.jsonl --connections=examples/connections.yaml --warehouse=duckdb:///warehouse.duckdb

report: installed-report ## Draw what warehouse.duckdb holds as report.html; without one, of the example events
	@test -e warehouse.duckdb || $(MAKE) --no-print-directory run
	.venv/bin/python -m pipeline.report --warehouse=duckdb:///warehouse.duckdb --output=report.html

gcp: installed-gcp ## Install Google's clients in .venv, for BigQuery, Pub/Sub, gs:// files and Dataflow

dbt: installed-dev $(DBT) ## Build the dbt models on warehouse.duckdb (without one, on the example events), and test them on 30,000 calls
	@test -e warehouse.duckdb || $(MAKE) --no-print-directory run
	cd dbt && ../.venv-dbt/bin/dbt build
	.venv/bin/python -m pytest tests/dbt

stream: installed ## Show a job without end: files come into a directory, and the tables grow
	.venv/bin/python -m examples.stream

live: installed ## Show receiver and job, and a page on which each click becomes a row
	.venv/bin/python -m examples.live

# Two processes more than there are cores: many tests wait. TESTS is for pytest: make test TESTS='tests/pipeline -x'
# Modules are compiled once, and not by each of the hundreds of processes that tests start.
WORKERS = $(shell echo $$(($$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2)))
TESTS :=
PYTEST = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest -n $(WORKERS) --dist=loadscope --durations=20 --durations-min=5

test: installed-dev ## Run the tests, but for those of `make acceptance`; none needs a cloud
	$(PYTEST) $(or $(TESTS),-m "not acceptance")

acceptance: installed-dev $(DBT) ## Run the tests of whole programs: Segment's SDKs, dbt, the template, jobs that are killed
	$(PYTEST) -m acceptance

lint: installed-dev ## Check style, format and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: installed-dev ## Measure everything that has a goal (a quarter of an hour)
	.venv/bin/python -m benchmarks

fuzz: installed-dev ## Judge 10,000 random histories by the replay (a quarter of an hour)
	.venv/bin/python -m tests.fuzz
	.venv/bin/python -m tests.fuzz --histories=2000 --seed=1000000 --prism
	.venv/bin/python -m tests.fuzz --values=400000
	QUESTION_HISTORIES=100 HOSTILE_BLOCKS=20 REPLAY_BLOCKS=20 .venv/bin/python -m pytest tests/schemas/test_questions.py tests/transforms/core/test_any_bytes.py tests/transforms/core/test_against_replay.py

faults: installed-dev ## Ten times each: kills, lost connections, a warehouse that is away; a runner as strict as Dataflow (an hour)
	.venv/bin/python -m tests.faults
	.venv/bin/python -m tests.strict_runner --messages=200000 --seed=0 --threads=1
	.venv/bin/python -m tests.strict_runner --messages=20000 --seed=1 --latency=0.05 --threads=50 --goals
	for interruption in stop drain update; do .venv/bin/python -m tests.strict_runner --messages=2000 --interrupt=$$interruption || exit 1; done

release: installed-dev ## Make the sdist and the wheel in dist/, check them, and run the sample where the wheel alone is installed: URL=...
	.venv/bin/python .ci/release.py --url=$(URL)

# ---- Dataflow: docs/dataflow.md ----

# A template and its image have the name of the commit that they are of, so that a job can be rolled back to them.
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unversioned)
REPOSITORY := segment
IMAGE = $(REGION)-docker.pkg.dev/$(PROJECT)/$(REPOSITORY)/segment-bigquery:$(VERSION)
TEMPLATE = gs://$(BUCKET)/templates/segment-bigquery-$(VERSION).json
JOB := segment
WORKER = segment-worker@$(PROJECT).iam.gserviceaccount.com
BUILDER = segment-builder@$(PROJECT).iam.gserviceaccount.com
# Some projects may build in few regions only: https://cloud.google.com/build/docs/locations#restricted_regions_for_some_projects
BUILD_REGION ?= $(REGION)
# SUBNETWORK=regions/REGION/subnetworks/NAME, or NETWORK; without either, workers are in the network named default.
ON_NETWORK = $(if $(NETWORK),--network=$(NETWORK)) $(if $(SUBNETWORK),--subnetwork=$(SUBNETWORK))
COMMA := ,
NEEDED = $(if $(PROJECT),,$(error PROJECT=... is needed))$(if $(REGION),,$(error REGION=... is needed))$(if $(BUCKET),,$(error BUCKET=... is needed))

template: ## Build the Dataflow template: PROJECT=... REGION=... BUCKET=...
	$(NEEDED)gcloud builds submit . --project=$(PROJECT) --region=$(BUILD_REGION) --config=templates/cloudbuild.yaml --substitutions=_IMAGE=$(IMAGE) --service-account=projects/$(PROJECT)/serviceAccounts/$(BUILDER) --gcs-source-staging-dir=gs://$(BUCKET)/build
	gcloud dataflow flex-template build $(TEMPLATE) --project=$(PROJECT) --image=$(IMAGE) --sdk-language=PYTHON --metadata-file=templates/metadata.json

launch: ## Launch a job of it: PARAMETERS=name=value,... and the same names
	$(NEEDED)gcloud dataflow flex-template run $(JOB) --template-file-gcs-location=$(TEMPLATE) --project=$(PROJECT) --region=$(REGION) --service-account-email=$(WORKER) --staging-location=gs://$(BUCKET)/staging --temp-location=gs://$(BUCKET)/temp --worker-machine-type=n2-standard-2 --max-workers=8 --additional-user-labels=app=segment-bigquery --parameters='$(PARAMETERS)' $(ON_NETWORK) $(OPTIONS)

# ---- The receiver on Cloud Run: docs/receiver.md ----

RECEIVER_IMAGE = $(REGION)-docker.pkg.dev/$(PROJECT)/$(REPOSITORY)/segment-receiver:$(VERSION)
RECEIVER = segment-receiver@$(PROJECT).iam.gserviceaccount.com
SERVICE := segment-receiver
TOPIC := segment
# The secrets that are environment variables: SECRETS=SITE_API_KEY=site-api-key:1,SITE_WRITE_KEY=site-write-key:1
SECRETS :=
CONNECTIONS := segment-connections:latest
# Anybody may call it: the receiver looks at keys itself. ACCESS=--no-invoker-iam-check where allUsers is no member.
ACCESS := --allow-unauthenticated

receiver-image: ## Build the receiver's image: PROJECT=... REGION=... BUCKET=...
	$(NEEDED)gcloud builds submit . --project=$(PROJECT) --region=$(BUILD_REGION) --config=templates/cloudbuild.yaml --substitutions=_IMAGE=$(RECEIVER_IMAGE),_DOCKERFILE=templates/receiver/Dockerfile --service-account=projects/$(PROJECT)/serviceAccounts/$(BUILDER) --gcs-source-staging-dir=gs://$(BUCKET)/build

receiver-deploy: ## Run it on Cloud Run: SECRETS=VARIABLE=secret:version,... and the same names
	$(NEEDED)gcloud run deploy $(SERVICE) --image=$(RECEIVER_IMAGE) --project=$(PROJECT) --region=$(REGION) --service-account=$(RECEIVER) --args=--connections=/etc/segment/connections.yaml,--topic=projects/$(PROJECT)/topics/$(TOPIC),--host=0.0.0.0,--port=8080,--trusted_proxies=1 --port=8080 --set-secrets=/etc/segment/connections.yaml=$(CONNECTIONS)$(if $(SECRETS),$(COMMA)$(SECRETS)) --min-instances=1 --max-instances=10 --no-cpu-throttling --cpu=1 --memory=512Mi --concurrency=200 --timeout=30 --startup-probe=httpGet.path=/ready,httpGet.port=8080,periodSeconds=2,failureThreshold=30,timeoutSeconds=2 --liveness-probe=httpGet.path=/live,httpGet.port=8080,periodSeconds=10,failureThreshold=3,timeoutSeconds=2 --labels=app=segment-bigquery $(ACCESS) $(OPTIONS)

clean: ## Remove .venv, caches, build files, benchmark data and the examples' warehouses
	rm -rf .venv .venv-dbt .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info benchmarks/data
	rm -rf dbt/dbt_packages dbt/logs dbt/target
	rm -rf warehouse.duckdb* stream.duckdb* demo.duckdb* report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))
# A Python that is named here is meant, whatever .venv was made with.
CHOSEN = $(if $(filter command environment override,$(firstword $(origin PYTHON))),--this-python)

installed installed-gcp installed-report installed-dev:
	@python=; supported=; \
	for candidate in $(PYTHON) $(if $(CHOSEN),,.venv/bin/python); do \
		"$$candidate" -c '$(SUPPORTED)' 2>/dev/null || continue; \
		supported=$${supported:-$$candidate}; \
		if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$supported" ]; then \
		echo 'No Python 3.10 to 3.14 found (tried: $(PYTHON)). Install one, or name it: make PYTHON=/path/to/python' >&2; \
		exit 1; \
	elif [ -z "$$python" ]; then \
		echo "$$supported cannot make a virtual environment. Debian and Ubuntu: apt-get install $$supported-venv" >&2; \
		exit 1; \
	fi; \
	"$$python" .ci/environment.py $(addprefix --extra=,$(patsubst installed-%,%,$(filter installed-%,$@))) $(CHOSEN)

$(DBT): dbt/requirements.txt | installed-dev
	@echo 'Setting up .venv-dbt: a minute, once'
	@.venv/bin/python -m venv --clear .venv-dbt
	@.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check -r dbt/requirements.txt
	@touch $@
