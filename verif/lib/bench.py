"""Run tiles on the RTL and compare: what every test of the core is made of."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from golden import Tile
from hw.config import ArrayConfig
from sim.rtl import Result, Simulator, Stalls
from sim.rtl.toolchain import find_verilator
from verif.lib.suite import Run, check


@functools.cache
def simulator(config: ArrayConfig) -> Simulator:
    """Return the built core of a configuration."""
    return Simulator(config)


def prove(
    config: ArrayConfig, tiles: Iterable[Tile], stalls: Stalls | None = None, seed: int = 1
) -> Result:
    """Run tiles on the RTL; compare every output beat, and without stalls the cycles."""
    run = Run(tiles=list(tiles), stalls=stalls, seed=seed)
    result = check(simulator(config), run)
    assert result.outputs, "nothing was compared"
    return result


def make_environment() -> dict[str, str]:
    """Return the variables under which `verilator` is found and its makefiles work."""
    verilator = find_verilator()
    environment = dict(verilator.environment)
    environment["PATH"] = f"{Path(verilator.command).parent}{os.pathsep}{environment['PATH']}"
    # The packaged makefile leaves the flag for precompiled headers empty. Verilator's runtime is
    # not worth optimising for a bench in Python.
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include OPT_GLOBAL=-O0 OPT_FAST=-O0"
    return environment
