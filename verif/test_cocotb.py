"""Start the cocotb bench on the emitted Verilog of several configurations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from verif.lib.cocotb_build import Built
from verif.lib.faulty import FAULTS, faulty_core

CONFIGS = [
    ArrayConfig(rows=1, cols=1, st_os=True),
    ArrayConfig(rows=3, cols=5, st_os=True),
    ArrayConfig(rows=5, cols=3, st_os=True, accumulators=1),
    ArrayConfig(rows=3, cols=4, act_width=4, weight_width=16, acc_width=21),
    ArrayConfig(rows=8, cols=8, st_os=True),
    ArrayConfig(rows=4, cols=3, st_os=True, mac_stages=2),
]
TESTS = {
    "full_speed",
    "stalled",
    "operators",
    "reset_in_mid_tile",
    "results_need_no_later_input",
}


FAULTY = ArrayConfig(rows=3, cols=2, st_os=True, act_width=5)
#: Planted faults of `faulty`: the test that has to fail, and what it has to say.
COMPLAINTS = {
    1: ("stalled", "a waiting beat changed or was withdrawn"),
    2: ("stalled", "a waiting beat changed or was withdrawn"),
    3: ("full_speed", "SimTimeoutError"),
    6: ("full_speed", "a beat before any command"),
    7: ("full_speed", "cmd_error"),
    11: ("full_speed", "Arrays are not equal|not equal"),
    12: ("full_speed", "the core sent more than it should"),
    13: ("full_speed", "Arrays are not equal"),
    14: ("full_speed", "cycles instead of"),
    19: ("stalled", "a waiting beat changed or was withdrawn"),
}


def built(verilog: str, folder: Path) -> Built:
    return Built(verilog, "stos_core", "verif.cocotb_core", folder)


def ran(core: Built, config: ArrayConfig, chosen: str | None = None, mutant: int = 0):
    """Run the bench, or one test of it; return the failure of each test, "" if it passed."""
    variables = {"STOS_CONFIG": config.to_json(), "STOS_MUTANT": str(mutant)}
    return core.run(variables, chosen, str(mutant))


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_bench(config, tmp_path):
    """Every test of the bench must have run and passed."""
    failures = ran(built(emit_verilog(config), tmp_path), config)
    assert set(failures) == TESTS
    assert not any(failures.values()), "".join(failures.values())[-3000:]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return a core in the wrapper of planted faults."""
    return built(faulty_core(FAULTY), tmp_path_factory.mktemp("faulty"))


@pytest.mark.parametrize("fault", COMPLAINTS, ids=FAULTS.get)
def test_check_fires(faulty, fault):
    """Each planted fault fails the test that is there for it, with its own complaint."""
    chosen, complaint = COMPLAINTS[fault]
    failures = ran(faulty, FAULTY, chosen, fault)
    assert list(failures) == [chosen]
    assert re.search(complaint, failures[chosen]), failures[chosen] or "nobody noticed"
