# make gen          write the Verilog of a core (ROWS=, COLS=, GENFLAGS= override)
# make run          run a trained network that comes with the project on the Verilog (minutes, the
#                   first time)
# make data         fetch models and cell libraries that tests and area pages need, into data/
# make test         lint, type check, and prove the core right
# make check        a fast part of that (about a minute)
# make planted      plant bugs in the gateware, and see who notices (minutes)
# make coverage     what the suites cover (minutes)
# make soak         random cores, accelerators, networks, attacks (MINUTES=10)
# make mutate       the share of small faults in the netlist that the suite notices, for
#                   docs/mutation.md (half an hour)
# make formal       prove the rules of the core, with planted bugs, for docs/formal.md (minutes)
# make docs         the pages and an API reference as a web site, in build/site
# make pages        draw every picture again, and compute docs/performance.md (a minute)
# make performance  compute docs/performance.md again (seconds)
# make report       that, and measure area and timing again for docs/area.md
#                   (LIBERTY= cell libraries; an hour)
# All but make data set up .venv first. Needed: python3 (3.11 or newer), g++, make, perl.

ROWS ?= 32
COLS ?= 32
GENFLAGS ?= --st-os
PYTHON ?= python3
MINUTES ?= 10
BIN := .venv/bin

PDK := $(firstword $(wildcard $(STOS_DATA:=/pdk) data/pdk ../shared/pdk))
LIBERTY ?= $(wildcard $(PDK)/*.lib.gz)

# Every component by example, the golden model, command lines, a small core in simulation, the pages.
CORE := verif/test_core.py::test_group[--rows 3 --cols 5 --st-os
FAST := verif/unit verif/test_golden.py verif/test_docs.py verif/test_pages.py verif/test_fetch.py \
	verif/test_gen.py::test_files verif/test_gen.py::test_bad_input verif/test_gen.py::test_command \
	verif/test_commands.py::test_bad_numbers "$(CORE)-random_sequences]" "$(CORE)-stalled]"

.PHONY: gen run data test check formal mutate planted coverage soak docs pages performance report clean

gen: .venv/gen
	$(BIN)/python -m hw.gen --rows $(ROWS) --cols $(COLS) $(GENFLAGS)

run: .venv/sim
	$(BIN)/python -m sim.run examples/mobilenet_v2_46k.tflite --input examples/ship.png \
		--normalize 128 128 --labels examples/labels.txt --rows 16 --cols 16 --st-os --accelerator

data:
	$(PYTHON) -m verif.lib.fetch

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest verif/ -n 2 --dist worksteal

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 --dist worksteal -k "not counters_at_their_ends" $(FAST)

planted: .venv/test
	$(BIN)/python -m verif.planted

coverage: .venv/test
	$(BIN)/python -m verif.cover

soak: .venv/test
	STOS_LONG=1 $(BIN)/python -m pytest -q -n auto verif/unit
	$(BIN)/python -m verif.soak --minutes $(MINUTES)
	STOS_SOAK=1 $(BIN)/pytest -q verif/test_cocotb_accelerator.py verif/test_board.py \
		verif/test_accelerator.py::test_every_network

mutate: .venv/test
	$(BIN)/python -m verif.mutate

formal: .venv/test
	$(BIN)/python -m verif.formal.run --docs

docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pages: .venv/test
	$(BIN)/python -m pages
	$(BIN)/python -m sim.pages
	$(BIN)/python -m sim.accelerator.page
	$(BIN)/python -m train report

performance: .venv/test
	$(BIN)/python -m sim.pages

report: .venv/test
	$(BIN)/python -m sim.pages --areas
	$(BIN)/python -m synth.pages --liberty $(LIBERTY)

.venv/gen: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: python3 is missing" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e .
	@touch $@

.venv/sim: .venv/gen
	@for tool in g++ perl; do command -v $$tool >/dev/null || \
		{ echo "make: $$tool is missing" >&2; exit 1; }; done
	$(BIN)/pip install -q -e '.[sim]'
	@touch $@

.venv/test: .venv/gen
	@for tool in g++ perl; do command -v $$tool >/dev/null || \
		{ echo "make: $$tool is missing" >&2; exit 1; }; done
	$(BIN)/pip install -q -e '.[test]'
	@touch $@

clean:
	rm -rf build .venv
