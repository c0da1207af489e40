"""A simulator as a program that stays alive: requests go in, answers come out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from report.files import write_atomically

from .toolchain import build, cache_folder, identity

__all__ = ["Ended", "Process", "cached"]


class Ended(Exception):
    """The program ended before its answer was whole; the text says how."""


def cached(
    kind: str,
    sources: Mapping[str, str],
    *,
    top: str,
    harness: str,
    defines: Mapping[str, int],
    shared: Sequence[str] = (),
    cache: Path | None = None,
    coverage: bool = False,
) -> Path:
    """Return a program as `sim.rtl.toolchain.build` makes it, built unless the cache has it, whole.

    Parameters
    ----------
    kind : str
        First part of the file's name.
    sources, top, harness, defines, shared, coverage
        As of `build`.
    cache : Path, optional
        Where programs are kept; by default `cache_folder`.

    Raises
    ------
    Failure
        If Verilator or the compiler fails, or no cache can be written.
    """
    harness = Path(__file__).with_name("common.h").read_text() + harness
    parts = (*sources.values(), harness, identity(), str((dict(defines), shared, coverage)))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = cache or cache_folder()
    binary = folder.absolute() / f"{kind}-{key}"
    digest = binary.with_name(f"{binary.name}.sha256")
    if not _whole(binary, digest):
        program = build(
            folder, sources, top=top, harness=harness, defines=defines, shared=shared,
            coverage=coverage,
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically({binary: program, digest: hashlib.sha256(program).hexdigest()})
        binary.chmod(binary.stat().st_mode | 0o111)
    return binary


def _whole(binary: Path, digest: Path) -> bool:
    """Return whether a cached program is what was written."""
    try:
        same = hashlib.sha256(binary.read_bytes()).hexdigest() == digest.read_text()
    except OSError:
        return False
    return same and os.access(binary, os.X_OK)


class Process:
    """A program that answers requests on its standard output, started with the first one.

    Parameters
    ----------
    binary : Path
    coverage : Path, optional
        It was built with coverage, and writes it to a new file in this folder at its end.
    """

    def __init__(self, binary: Path, coverage: Path | None = None) -> None:
        self._binary, self._coverage = binary, coverage
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _command(self) -> list[str | Path]:
        """Return the command that starts the program."""
        if not self._coverage:
            return [self._binary]
        self._coverage.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=self._coverage, prefix=f"{self._binary.name}-", suffix=".dat"
        )
        os.close(handle)
        return [self._binary, name]

    def ask(self, request: bytes, read: Callable[[Callable[[int], bytes]], bool]) -> None:
        """Send a request, and let `read` take the answer.

        Parameters
        ----------
        request : bytes
        read : function
            Takes a function that reads so many bytes, less at the end of the program, and returns
            whether the answer is whole. It may raise `struct.error` if it is not.

        Raises
        ------
        Ended
            If it is not.
        """
        if not self.alive:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._log,
            )  # fmt: skip
        process = self._process
        assert process and process.stdin and process.stdout
        try:
            process.stdin.write(request)
            process.stdin.flush()
            if read(process.stdout.read):
                return
        except BrokenPipeError:
            pass  # it ended; say how
        except BaseException:  # what follows in the pipe belongs to nobody
            process.kill()
            process.communicate()
            raise
        process.kill()
        self._process = None
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").split("\n")
        last = next((f": {line.strip()}" for line in reversed(words) if line.strip()), "")
        raise Ended(f"the simulator ended with status {process.wait()}{last}")

    def close(self) -> None:
        """End the program, if it runs."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __del__(self) -> None:
        """End the program with the last reference to it."""
        self.close()
