"""What Arm's compiler says of its Ethos-U of the same size, for comparison."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from report.errors import Failure, UserError

__all__ = ["ACCELERATORS", "ethos_cycles", "vela_version"]

#: Configurations of 256 multipliers, as those of a 16 x 16 array.
ACCELERATORS = ("ethos-u65-256", "ethos-u55-256")
#: All tensors and weights in on-chip SRAM, none in DRAM or flash: the fastest there is.
MEMORY_MODE = "Sram_Only"


def vela_version() -> str:
    """Return the version of Vela, or what `vela` on the path says.

    Raises
    ------
    UserError
        If there is none.
    """
    try:
        return version("ethos-u-vela")
    except PackageNotFoundError:
        return _run("--version").strip()


def ethos_cycles(model: Path) -> dict[str, int]:
    """Return the cycles of an inference by Vela's model, for each of `ACCELERATORS`.

    Also, under "host", the operators that Vela leaves to the host; their time is not in it.

    Parameters
    ----------
    model : Path
        A .tflite file.

    Raises
    ------
    UserError
        If Vela is not there.
    Failure
        If it fails.
    """
    found: dict[str, int] = {}
    for accelerator in ACCELERATORS:
        with tempfile.TemporaryDirectory() as folder:
            said = _run(
                str(model), "--accelerator-config", accelerator, "--memory-mode", MEMORY_MODE,
                "--system-config", "internal-default", "--output-dir", folder,
            )  # fmt: skip
            (summary,) = Path(folder).glob("*_summary_*.csv")
            with summary.open() as file:
                (row,) = csv.DictReader(file)
        found[accelerator] = int(row["cycles_total"])
        host = re.search(r"CPU operators = (\d+)", said)
        if not host:
            raise Failure(f"vela did not say what it leaves to the host of {model.name}")
        found["host"] = max(found.get("host", 0), int(host[1]))
    return found


def _run(*arguments: str) -> str:
    vela = shutil.which("vela")
    if not vela:
        raise UserError("vela is not there; pip install -e '.[vela]' brings it")
    done = subprocess.run([vela, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Failure(f"vela failed: {lines[-1]}")
    return done.stdout
