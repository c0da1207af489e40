"""Standard output, and the end of a command that comes from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

__all__ = ["run", "write_out"]


class _Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _NoOutput(Exception):
    """Standard output cannot be written; the text says why."""


def run(main: Callable[[], int], prog: str) -> NoReturn:
    """Run a command, and leave with its exit status.

    What ends a command from outside is at most one line on standard error, and all clean up:
    Ctrl-C is status 130, other signals are 128 + their number, a reader of standard output that
    has gone is 141 and no word, any other trouble with standard output is 2.

    Parameters
    ----------
    main : callable
        Returns the exit status; `SystemExit` and other exceptions pass.
    prog : str
        Name of the command.
    """

    def interrupt(number: int, frame: object) -> None:
        raise _Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    status, word = 1, ""
    try:
        try:
            status = main()
        finally:
            write_out("")  # whatever else was printed
    except KeyboardInterrupt as error:
        name = signal.Signals(getattr(error, "number", signal.SIGINT)).name
        status, word = 128 + signal.Signals[name], f"ended by {name}"
        if name == "SIGINT":
            word = "interrupted"
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    except _NoOutput as error:
        status, word = 2, f"cannot write standard output: {error}"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends anyway
    if word:
        with contextlib.suppress(OSError):
            print(f"{prog}: {word}", file=sys.stderr)
    sys.exit(status)


def write_out(text: str) -> None:
    """Write a text to standard output, all of it now.

    Raises
    ------
    _NoOutput, BrokenPipeError
        If it cannot be written; `run` knows what to do.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.write(text)
            sys.stdout.flush()
        elif text:
            raise _NoOutput("it is closed")
    except OSError as error:
        # Whatever is still in its buffer would be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise
        raise _NoOutput(error.strerror) from None
