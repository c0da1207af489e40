"""Ctrl-C while Python still imports a command, before `report.output.run`: one line, too."""

from __future__ import annotations

import os
import re
import signal
import sys

__all__ = ["expect_interrupts"]


def expect_interrupts() -> None:
    """End the process in one line on Ctrl-C, if it is just being started as a command.

    For the ``__init__`` of packages with commands: what is imported while the first argument is
    still ``-m`` is the package of the module that ``python -m`` was asked for.
    """
    if sys.argv[:1] != ["-m"] or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        return
    for index, word in enumerate(sys.orig_argv[1:], 1):
        found = re.fullmatch(r"-[bBdEiIOPqsSuvx]*m(.*)", word)  # -m, -um, -mNAME
        if found:
            name = found[1] or sys.orig_argv[index + 1]
            break
    else:
        return

    def end(number: int, frame: object) -> None:
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(128 + number)

    signal.signal(signal.SIGINT, end)
