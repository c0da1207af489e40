"""Files: never half-written, never over what is read."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["is_regular", "write_atomically"]


def write_atomically(files: Mapping[Path, str | bytes]) -> None:
    """Write files, text as UTF-8, so that none is ever half-written.

    A link stays one, its target is written; devices and pipes are written as they are, and what
    is open already, like /dev/stdout, goes on where it is.

    Raises
    ------
    OSError
        If a file cannot be written, with its name; no target has been touched then, except where
        a device or a pipe or the very last renaming fails.
    """
    staged: list[tuple[Path, Path]] = []
    direct: list[tuple[Path | int, Path, bytes]] = []
    path = Path()
    try:
        for path, text in files.items():
            content = text.encode(errors="backslashreplace") if isinstance(text, str) else text
            number = _descriptor(path)
            if number is not None or _is_special(path):
                direct.append((path if number is None else number, path, content))
                continue
            target = path
            if path.is_symlink():
                target = Path(os.path.realpath(path))
                if target.is_symlink():
                    raise OSError(40, "Too many levels of symbolic links")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise NotADirectoryError(20, "Not a directory") from None
            if target.is_dir():
                raise IsADirectoryError(21, "is a directory")
            temporary = target.parent / f".unfinished-{secrets.token_hex(8)}"
            staged.append((temporary, target))  # before it is there: Ctrl-C may come any time
            with open(temporary, "xb") as file:
                file.write(content)
        for where, path, content in direct:  # noqa: B007 the error names it
            if isinstance(where, int) and sys.stdout is not None:
                sys.stdout.flush()
            with open(where, "wb", closefd=not isinstance(where, int)) as file:
                file.write(content)
        for temporary, path in staged:
            os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file that a name like /dev/stdout stands for."""
    found = re.fullmatch(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(\d{1,9})", str(path))
    if not found:
        return None
    return int(found[2]) if found[2] else {"stdout": 1, "stderr": 2}[found[1]]


def _is_special(path: Path) -> bool:
    """Whether a path is neither a file nor a folder, nor free: a device, a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def is_regular(path: Path) -> bool:
    """Whether `write_atomically` makes a path a file of its own."""
    return _descriptor(path) is None and not _is_special(path)
