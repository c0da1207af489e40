# make gen          write the Verilog of a core (ROWS=, COLS=, GENFLAGS= override)
# make test         lint, type check, and prove the core right
# make planted      plant bugs in the gateware, and see who notices (minutes)
# make coverage     what the core's suite covers (minutes)
# make soak         random cores and new seeds (MINUTES=10)
# make mutate       the share of small faults in the netlist that the suite notices, for docs/mutation.md (half an hour)
# make formal       prove the rules of the core, with planted bugs, for docs/formal.md (minutes)
# make performance  compute docs/performance.md again (seconds)
# make report       that, and measure area and timing again for docs/area.md (LIBERTY= cell libraries; an hour)
# All set up .venv first. Needed: python3 (3.11 or newer), g++, make, perl.

ROWS ?= 32
COLS ?= 32
GENFLAGS ?= --st-os
PYTHON ?= python3
MINUTES ?= 10
BIN := .venv/bin

LIBERTY ?= $(wildcard ../shared/pdk/*.lib.gz)

.PHONY: gen test formal mutate planted coverage soak performance report clean

gen: .venv/gen
	$(BIN)/python -m hw.gen --rows $(ROWS) --cols $(COLS) $(GENFLAGS)

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest verif/ -n 2 --dist worksteal

planted: .venv/test
	$(BIN)/python verif/planted.py

coverage: .venv/test
	$(BIN)/python verif/cover.py

soak: .venv/test
	$(BIN)/python verif/soak.py --minutes $(MINUTES)

mutate: .venv/test
	$(BIN)/python -m verif.mutate

formal: .venv/test
	$(BIN)/python -m verif.formal.run --docs

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

.venv/test: .venv/gen
	@for tool in g++ perl; do command -v $$tool >/dev/null || \
		{ echo "make: $$tool is missing" >&2; exit 1; }; done
	$(BIN)/pip install -q -e '.[test]'
	@touch $@

clean:
	rm -rf build .venv
