"""Start the cocotb bench on the emitted Verilog of several configurations."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from bench import make_environment
from cocotb_tools.runner import get_runner

from hw.config import ArrayConfig
from hw.verilog import emit_verilog

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


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_bench(config, tmp_path, monkeypatch):
    """Every test of the bench must have run and passed."""
    for name, text in make_environment().items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))
    source = tmp_path / "core.v"
    source.write_text(emit_verilog(config))
    runner = get_runner("verilator")
    runner.build(
        sources=[source],
        hdl_toplevel="stos_core",
        build_dir=tmp_path / "build",
        build_args=["-Wno-lint", "-Wno-fatal"],
        timescale=("1ns", "1ps"),
        log_file=tmp_path / "build.log",
    )
    results = runner.test(
        hdl_toplevel="stos_core",
        test_module="cocotb_core",
        build_dir=tmp_path / "build",
        extra_env={"STOS_CONFIG": config.to_json(), "COCOTB_LOG_LEVEL": "WARNING"},
        log_file=tmp_path / "test.log",
    )
    cases = ElementTree.parse(results).iter("testcase")
    status = {case.get("name"): case.find("failure") is None for case in cases}
    assert set(status) == TESTS, (tmp_path / "test.log").read_text()[-3000:]
    assert all(status.values()), (tmp_path / "test.log").read_text()[-3000:]
