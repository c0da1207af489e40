"""The emitted core in a four-state simulator: nothing that has no value reaches a used output."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil

import pytest

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from verif.fourstate.icarus import Failure, bench_runs, compile_bench, pessimistic, simulate
from verif.fourstate.mutants import MUTANTS

pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="iverilog (Icarus Verilog) is not installed"
)

# Every size with both modes, one and two accumulators and MAC stages, and widths with pad bits.
CONFIGS = [
    ArrayConfig(rows=1, cols=1),
    ArrayConfig(
        rows=1, cols=1, st_os=True, act_width=2, weight_width=2, acc_width=4, accumulators=1,
        mac_stages=2,
    ),
    ArrayConfig(rows=1, cols=6, st_os=True, act_width=4, weight_width=9, acc_width=19),
    ArrayConfig(rows=1, cols=6, accumulators=1, mac_stages=2),
    ArrayConfig(rows=5, cols=1, st_os=True, act_width=16, weight_width=2, accumulators=1),
    ArrayConfig(rows=5, cols=1, act_width=2, weight_width=16, acc_width=18, mac_stages=2),
    ArrayConfig(rows=3, cols=5, st_os=True, act_width=9, weight_width=4, acc_width=19),
    ArrayConfig(rows=3, cols=5, st_os=True, accumulators=1, mac_stages=2),
    ArrayConfig(rows=3, cols=5, act_width=9, acc_width=17, accumulators=1),
    ArrayConfig(rows=5, cols=3, st_os=True, weight_width=9, acc_width=21, mac_stages=2),
    ArrayConfig(rows=5, cols=3, st_os=True, act_width=4, weight_width=4, accumulators=1),
    ArrayConfig(rows=5, cols=3, weight_width=4, acc_width=12),
    ArrayConfig(rows=8, cols=8, st_os=True, act_width=4, weight_width=4, acc_width=12),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_four_states(config, tmp_path):
    """Full speed with exact cycles, stalls, and a reset in every cycle of mixed tiles.

    The resets run on the pessimistic form of the text, which is never better than the emitted one.
    """
    verilog = emit_verilog(config)
    assert not re.search(r"\binitial\b|\breg\b[^;]*=", verilog), "a register is initialised"
    step = 5 if config.rows == 8 else 1
    for text, every in ((verilog, 4 * step), (pessimistic(verilog), step)):
        job = bench_runs(config, seed=1, every=every)
        simulate(job, compile_bench(job, text, tmp_path))


# Pad bits on both sides, and weight lanes that GEMM does not use.
PLANTED = ArrayConfig(rows=5, cols=3, st_os=True, act_width=9, acc_width=21)


@functools.cache
def planted_core() -> str:
    return emit_verilog(PLANTED)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_planted_bugs(mutant, tmp_path):
    """The bench goes red, with the check that the bug belongs to."""
    job = bench_runs(PLANTED, seed=1, every=4)
    verilog = mutant.plant(planted_core())
    if mutant.hidden:
        simulate(job, compile_bench(job, verilog, tmp_path))
        verilog = pessimistic(verilog)
    with pytest.raises(Failure) as caught:
        simulate(job, compile_bench(job, verilog, tmp_path))
    assert caught.value.check == mutant.check, str(caught.value)


@pytest.mark.parametrize(("check", "beats", "changes"), [
    ("extra", -1, {"cycles": 0}),
    ("hang", 1, {"cycles": 0}),
    ("cycles", 0, {"cycles": 1}),
    ("cycles", 0, {"stalls": (95, 0, 0, 0)}),
    ("cycles", 0, {"stalls": (0, 50, 0, 0)}),
    ("cycles", 0, {"stalls": (0, 0, 50, 0)}),
    ("cycles", 0, {"stalls": (0, 0, 0, 50)}),
])  # fmt: skip
def test_wrong_expectations(check, beats, changes, tmp_path):
    """Too many results, too few, and late ones are seen; every kind of stall makes them late."""
    job = bench_runs(PLANTED, seed=1, every=1000)
    ranges = job.runs[0].ranges
    ranges = (*ranges[:-1], ranges[-1] + beats)
    job.runs[0] = dataclasses.replace(job.runs[0], ranges=ranges, **changes)
    with pytest.raises(Failure) as caught:
        simulate(job, compile_bench(job, planted_core(), tmp_path))
    assert caught.value.check == check, str(caught.value)
