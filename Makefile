# Every target makes the virtual environment and installs what it needs first.  Arguments for a script:
#   make davis ARGS="--guidance RS4 --rounds 3"

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SLOW ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install davis youtube app train studies bench sample test lint format

help:
	@echo "make davis     DAVIS interactive evaluation on the bundled sample with the shipped checkpoint"
	@echo "make youtube   the same for YouTube-iVOS"
	@echo "make app       the annotation app in the browser"
	@echo "make train     train the compact network on what is bundled"
	@echo "make studies   ablations, guidance and baselines on data of yours (ARGS=\"--davis-root FOLDER\"; results/studies)"
	@echo "make bench     measure speed and memory"
	@echo "make sample    render the bundled sample data again"
	@echo "make test      every test (SLOW=1: those that need the network or minutes, too)"
	@echo "make lint      ruff, rules and format;  make format: rewrite"
	@echo "Arguments for the script: ARGS=\"...\"; --help shows them all"

# Installs when something that decides what is installed has changed.  The stamp is written only after success, and a
# virtual environment that was left half made is made again.
install: $(STAMP)

$(STAMP): requirements.txt libs/davis_install/backend.py libs/davis_install/pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	    echo "No Python 3.10 or newer was found on the PATH (python3 is: $$(python3 --version 2>&1))." >&2; \
	    echo "Install one (python.org, your package manager, pyenv, conda), or name it: make PYTHON=/path/to/python3.12" >&2; \
	    exit 2; fi
	@if ! { $(RUN) -c 'import sys; sys.exit(sys.version_info < (3, 10))' && $(RUN) -m pip --version; } >/dev/null 2>&1; then \
	    $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	        echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.10 or newer is needed: make PYTHON=..." >&2; exit 2; }; \
	    $(PYTHON) -m venv --clear $(VENV) || { \
	        echo "$(PYTHON) could not make $(VENV). On Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }; fi
	@$(RUN) -m pip install --disable-pip-version-check -r requirements.txt || { \
	    echo "Installing failed, see above. Free here: $$(df -hP . | awk 'NR == 2 {print $$4}'). PyTorch's default build takes 6 to" >&2; \
	    echo "10 GB while it is installed; README.md (\"Two commands\") tells how to take a smaller one." >&2; exit 1; }
	$(RUN) -m pip check --disable-pip-version-check
	@touch $@

davis: install
	$(RUN) IVOS_main_DAVIS.py $(ARGS)

youtube: install
	$(RUN) IVOS_main_youtube.py $(ARGS)

app: install
	$(RUN) IVOS_app.py $(ARGS)

train: install
	$(RUN) train.py $(ARGS)

studies: install
	$(RUN) -m libs.studies $(or $(ARGS),--davis-root sample=dataset_torch/sample/DAVIS --max-frames 24)

bench: install
	$(RUN) -m tests.benchmarks $(ARGS)
	$(RUN) -m tests.benchmarks.app || echo "The app was not measured (it needs Chromium: apt install chromium)."

sample: install
	$(RUN) -m dataset_torch.sample.render $(ARGS)

test: install
	$(RUN) -m pytest $(if $(filter tests%,$(ARGS)),,tests) -ra --strict-markers $(if $(SLOW),,-m "not slow") $(ARGS)

lint: install
	$(RUN) -m ruff check --config .ci/ruff.toml .
	$(RUN) -m ruff format --check --config .ci/ruff.toml .

format: install
	$(RUN) -m ruff format --config .ci/ruff.toml .
	$(RUN) -m ruff check --fix --config .ci/ruff.toml .
