"""Start the cocotb bench on the emitted Verilog of several configurations."""

from __future__ import annotations

import contextlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from cocotb_tools.runner import get_runner

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from verif.lib.bench import make_environment
from verif.lib.faulty import FAULTS, faulty_core

HERE = Path(__file__).parent
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


class Built:
    """A core built for cocotb."""

    def __init__(self, config: ArrayConfig, verilog: str, folder: Path) -> None:
        self.config, self.folder = config, folder
        source = folder / "core.v"
        source.write_text(verilog)
        self.runner = get_runner("verilator")
        self.runner.build(
            sources=[source],
            hdl_toplevel="stos_core",
            build_dir=folder / "build",
            build_args=["-Wno-lint", "-Wno-fatal"],
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )

    def run(self, chosen: str | None = None, mutant: int = 0) -> dict[str, str]:
        """Run the bench, or one test of it; return the failure of each test, "" if it passed."""
        log = self.folder / f"test{mutant}.log"
        results = self.folder / f"results{mutant}.xml"
        with contextlib.suppress(SystemExit):  # the runner's way of saying that a test failed
            self.runner.test(
                hdl_toplevel="stos_core",
                test_module="verif.cocotb_core",
                build_dir=self.folder / "build",
                test_filter=chosen and f"{chosen}$",
                results_xml=str(results),
                extra_env={
                    "STOS_CONFIG": self.config.to_json(),
                    "STOS_MUTANT": str(mutant),
                    "COCOTB_LOG_LEVEL": "WARNING",
                },
                log_file=log,
            )
        failures = {}
        for case in ElementTree.parse(results).iter("testcase"):
            bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            text = log.read_text()[-9000:] or "failed without a word"
            failures[str(case.get("name"))] = text if bad else ""
        return failures


@pytest.fixture(autouse=True, scope="module")
def _environment():
    with pytest.MonkeyPatch.context() as patch:
        for name, text in make_environment().items():
            patch.setenv(name, text)
        patch.setenv("PYTHONPATH", str(HERE.parent))
        yield


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_bench(config, tmp_path):
    """Every test of the bench must have run and passed."""
    failures = Built(config, emit_verilog(config), tmp_path).run()
    assert set(failures) == TESTS
    assert not any(failures.values()), "".join(failures.values())[-3000:]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return a core in the wrapper of planted faults."""
    return Built(FAULTY, faulty_core(FAULTY), tmp_path_factory.mktemp("faulty"))


@pytest.mark.parametrize("fault", COMPLAINTS, ids=FAULTS.get)
def test_check_fires(faulty, fault):
    """Each planted fault fails the test that is there for it, with its own complaint."""
    chosen, complaint = COMPLAINTS[fault]
    failures = faulty.run(chosen, fault)
    assert list(failures) == [chosen]
    assert re.search(complaint, failures[chosen]), failures[chosen] or "nobody noticed"
