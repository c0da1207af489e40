"""Build Verilog for cocotb with Verilator, and run a bench on it."""

from __future__ import annotations

import contextlib
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

from cocotb_tools.runner import get_runner

from verif.lib.bench import make_environment

__all__ = ["Built"]

ROOT = Path(__file__).parents[2]


class Built:
    """A module built for cocotb.

    Parameters
    ----------
    verilog : str
    top : str
        The module.
    bench : str
        The Python module with the tests.
    folder : Path
        Where all of it goes.
    optimize : bool
        Whether to optimise the C++: long runs, slower builds.
    """

    def __init__(
        self, verilog: str, top: str, bench: str, folder: Path, *, optimize: bool = False
    ) -> None:
        self.top, self.bench, self.folder = top, bench, folder
        source = folder / "top.v"
        source.write_text(verilog)
        self.environment = {**make_environment(), "PYTHONPATH": str(ROOT)}
        if optimize:
            flags = "OPT_GLOBAL=-O1 OPT_FAST=-O2"
            self.environment["MAKEFLAGS"] = f"CFG_CXXFLAGS_PCH_I=-include {flags}"
        self.runner = get_runner("verilator")
        with self._environment():
            self.runner.build(
                sources=[source],
                hdl_toplevel=top,
                build_dir=folder / "build",
                build_args=["-Wno-lint", "-Wno-fatal"],
                timescale=("1ns", "1ps"),
                log_file=folder / "build.log",
            )

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def run(
        self, variables: Mapping[str, str], chosen: str | None = None, name: str = ""
    ) -> dict[str, str]:
        """Run the bench, or one test of it; return the failure of each test, "" if it passed.

        Parameters
        ----------
        variables : dict of str to str
            Of the environment.
        chosen : str, optional
        name : str
            Of the files of this run.
        """
        log = self.folder / f"test{name}.log"
        results = self.folder / f"results{name}.xml"
        # SystemExit is the runner's way of saying that a test failed.
        with self._environment(), contextlib.suppress(SystemExit):
            self.runner.test(
                hdl_toplevel=self.top,
                test_module=self.bench,
                build_dir=self.folder / "build",
                test_filter=chosen and f"{chosen}$",
                results_xml=str(results),
                extra_env={**variables, "COCOTB_LOG_LEVEL": "WARNING"},
                log_file=log,
            )
        failures = {}
        for case in ElementTree.parse(results).iter("testcase"):
            bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            text = log.read_text()[-9000:] or "failed without a word"
            failures[str(case.get("name"))] = text if bad else ""
        return failures
