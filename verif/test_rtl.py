"""The runner of the RTL: every check can fire, arguments are checked, and any folder will do."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sim.rtl
import sim.rtl.process
import sim.rtl.toolchain
from golden import execute, gemm_tile
from hw.config import ArrayConfig
from sim.rtl import RtlError, Simulator, Stalls
from verif.lib.bench import simulator
from verif.lib.faulty import FAULTS, faulty_core
from verif.lib.suite import Run, check, runs
from verif.lib.tiles import gemm, random_tiles

ROOT = Path(__file__).parents[1]
SMALL = ArrayConfig(rows=2, cols=2)
FAULTY = ArrayConfig(rows=4, cols=3, st_os=True, act_width=5)

#: The complaint that each planted fault has to raise.
COMPLAINTS = {
    1: "payload changed while it waited",
    2: "was withdrawn",
    3: "did not finish in",
    4: "depends on m_axis_out_tready",
    5: "depends on m_axis_out_tready",
    6: "before any command",
    7: "before any command",
    8: "cmd_error fell",
    9: "cmd_error is False",
    10: "no tlast",
    11: "ends in seed",
    12: "sent too much",
    13: "command 0 that emits",
    14: "cycles, not",
    15: "that emits",
    16: "that emits",
    17: "that emits",
    18: "did not finish in",
    19: "payload changed while it waited",
}


@pytest.fixture(scope="module")
def faulty():
    """Return a core in the wrapper of planted faults."""
    return Simulator(FAULTY, verilog=faulty_core(FAULTY), mutants=True)


def few(seed: int) -> list[Run]:
    """Return runs that show each planted fault: at full speed, stalled, and with illegal words."""
    rng = np.random.default_rng(seed)
    stalls = Stalls(cmd=0.3, act=0.3, wgt=0.3, out=0.5)
    return [
        *(Run(tiles=random_tiles(rng, FAULTY, 6), seed=i, stalls=s)
          for i in range(4) for s in (None, stalls)),
        *[run for run in runs(FAULTY, "near_legal_words") if run.words and len(run.words) > 3][:60],
    ]  # fmt: skip


def test_no_fault(faulty):
    """Without a fault the wrapper passes everything that shows them."""
    for run in few(1):
        check(faulty, run)


def test_every_fault_has_a_complaint():
    assert FAULTS.keys() == COMPLAINTS.keys()


@pytest.mark.parametrize("fault", FAULTS, ids=FAULTS.get)
def test_check_fires(faulty, fault):
    """Each fault is noticed, by the check that is there for it."""
    complaints = []
    for run in few(1):
        try:
            check(faulty, run, fault)
        except (AssertionError, RtlError) as error:
            complaints.append(str(error))
    assert complaints, "nobody noticed"
    wanted = COMPLAINTS[fault]
    assert any(wanted in one for one in complaints), complaints[0]


def test_operands():
    """What a machine cannot hold is refused in the models and on the RTL, by tile and by array."""
    with pytest.raises(ValueError, match=r"a must be below 2\*\*63, not 18446744073709551615"):
        gemm_tile(np.array([[2**64 - 1]], np.uint64), np.array([[3]]), SMALL)
    assert (
        next(execute([gemm_tile(np.array([[5]], np.uint64), np.array([[3]]), SMALL)], SMALL))[0, 0]
        == 15
    )
    wide = gemm_tile(np.full((2, 1), 300), np.ones((1, 2), int), SMALL.replace(act_width=16))
    weights = gemm_tile(np.ones((2, 1), int), np.full((1, 2), -129), SMALL.replace(weight_width=16))
    for tile, text in ((wide, "act beats .*, not 300"), (weights, "wgt beats .*, not -129")):
        text = text.replace(".*", r"must be from -128 to 127 \(8 bits\)")
        with pytest.raises(ValueError, match=text):
            next(execute([tile], SMALL))
        with pytest.raises(ValueError, match=text):
            simulator(SMALL).run([tile])
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="accumulate must follow"):
        simulator(SMALL).run([gemm(rng, SMALL, 1, 1, 1, accumulate=True)])
    with pytest.raises(ValueError, match="act beats must have shape"):
        simulator(SMALL).run([gemm(rng, SMALL.replace(rows=3), 1, 1, 1)])


def test_arguments():
    """Seeds and stalls at and beyond their ends; a run that sends nothing takes no cycles."""
    rng = np.random.default_rng(0)
    tile, core = gemm(rng, SMALL, 2, 3, 2), simulator(SMALL)
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match=f"seed must be an integer from 0 to .*, not {seed}"):
            core.run([tile], seed=seed)
    with pytest.raises(TypeError, match="seed must be an integer from 0 to .*, not 1.5"):
        core.run([tile], seed=1.5)
    for seed in (0, 2**63 - 1, np.int64(7)):
        check(core, Run(tiles=[tile], seed=seed))
    for stall in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="out must be from 0 to below 1, not"):
            Stalls(out=stall)
    check(core, Run(tiles=[tile], stalls=Stalls(out=0.99999)))
    check(core, Run(tiles=[tile], stalls=Stalls(cmd=0.9999, act=0.999, wgt=0.999, out=0.99)))
    kept = core.run([gemm(rng, SMALL, 2, 3, 2, keep=True)])
    assert kept.cycles == 0 and kept.outputs == [] and kept.taken == (1, 3, 3)
    assert core.run([]).taken == (0, 0, 0)


def test_ended_program():
    """A program that dies is reported, and the next run starts another."""
    core = Simulator(SMALL)
    run = Run(tiles=[gemm(np.random.default_rng(0), SMALL, 2, 3, 2)])
    check(core, run)
    process = core._process._process
    process.kill()
    process.wait()
    check(core, run)
    too_much = struct.pack("<13Q", 1 << 60, *[0] * 12)  # commands: no memory holds them
    with pytest.raises(RtlError, match="the simulator ended with status"):
        core._ask(too_much)
    check(core, run)


def test_damaged_cache(tmp_path, monkeypatch):
    """A cached program that is not whole is built again; one that is, is not."""
    program = simulator(SMALL).binary.read_bytes()
    built = []
    monkeypatch.setattr(sim.rtl.process, "build", lambda *_, **__: built.append(1) or program)
    for damage in (None, lambda path: path.write_bytes(program[:-1]), Path.unlink,
                   lambda path: path.with_name(f"{path.name}.sha256").write_text("")):  # fmt: skip
        core = Simulator(SMALL, cache=tmp_path)
        built.clear()
        Simulator(SMALL, cache=tmp_path)
        assert not built
        if damage:
            damage(core.binary)
            Simulator(SMALL, cache=tmp_path)
            assert built
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        core.binary.name, f"{core.binary.name}.sha256"
    ]  # fmt: skip


def test_interrupted_build(tmp_path, monkeypatch):
    """Whatever stops a build, no folder and no file is left."""

    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / "cache").mkdir()
    shutil.copy(next(simulator(SMALL).binary.parent.glob("runtime-*.o")), tmp_path / "cache")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(sim.rtl.toolchain.tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(sim.rtl.toolchain, "_compile", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Simulator(SMALL, cache=tmp_path / "cache")
    assert not list((tmp_path / "temporary").iterdir())
    assert all(path.suffix == ".o" for path in (tmp_path / "cache").iterdir())


def test_any_folder(tmp_path):
    """A read-only checkout in a long path with spaces, and build variables of the user's."""
    checkout = tmp_path / "with space" / "größe 阵列" / ("long " * 30) / "checkout"
    for package in ("hw", "golden", "sim"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__*__"))
    (tmp_path / "my cache").mkdir()
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    code = (
        "from golden import gemm_tile; from hw.config import ArrayConfig\n"
        "from sim.rtl import Simulator\n"
        "c = ArrayConfig(rows=1, cols=1)\n"
        "print(Simulator(c).run([gemm_tile([[3]], [[5]], c)]).outputs[0][0, 0])"
    )
    command = [sys.executable, "-c", code]
    if os.getuid() == 0:  # root may write anywhere unless it gives that up
        drop = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    environment = os.environ | {
        "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(tmp_path / "my cache"),
        "CXXFLAGS": "--nonsense", "CFLAGS": "--nonsense", "OBJCACHE": "/nowhere/ccache",
        "MAKEFLAGS": "-n", "VERILATOR_ROOT": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    ran = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    assert ran.stdout == "15\n", ran.stderr
    assert list((tmp_path / "my cache" / "stos" / "rtl").glob("core-*.sha256"))
