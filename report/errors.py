"""Who is at fault: the user, the world outside, or (any other exception) the code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Failure", "UserError", "needs_extra", "reading"]


class UserError(ValueError):
    """What the user asked for is not possible: one line, with the value and what is legal.

    A command says it on standard error, and leaves with status 2.
    """


class Failure(RuntimeError):
    """Something outside this code did not do its part: a tool, a cluster, a core on trial.

    A command says it on standard error, and leaves with status 1.
    """


@contextmanager
def needs_extra(extra: str, option: str = "") -> Iterator[None]:
    """Turn the absence of an optional package into what to install.

    Parameters
    ----------
    extra : str
        The extra of this project that brings the package.
    option : str
        The option that needs it, if there is one.

    Raises
    ------
    UserError
        If an import in the block finds no package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        subject = f"{option} needs" if option else "needs"
        raise UserError(f"{subject} pip install -e '.[{extra}]' ({error})") from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file cannot be read.

    Raises
    ------
    UserError
        If something in the block cannot read it.
    """
    try:
        yield
    except OSError as error:
        name, why = error.filename or path, error.strerror or error
        raise UserError(f"cannot read {name}: {why}") from None
