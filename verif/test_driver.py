"""The drivers: registers in both, softmax and runs on the accelerator's Verilog in C."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from driver import stos
from golden.arith import activations
from hw.accelerator.header import MAGIC
from hw.accelerator.registers import ERRORS, IDENTITY, REGISTERS, VERSION
from sim.accelerator.compiler import compile_graph
from sim.accelerator.rtl import AcceleratorSimulator
from sim.accelerator.run import place
from verif.lib.models import load
from verif.lib.wild import inputs as some
from verif.test_accelerator import MACHINES, varied

DRIVER = Path(__file__).parents[1] / "driver"
SOURCE = (DRIVER / "stos.c").read_text()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Return the driver as a library: C99, and no warning."""
    path = tmp_path_factory.mktemp("driver") / "stos.so"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(DRIVER / "stos.c"), "-o", str(path)], check=True)
    found = ctypes.CDLL(str(path))
    found.stos_error.restype = ctypes.c_char_p
    return found


def test_registers():
    """Offsets, numbers and texts are those of the gateware."""
    found = {name: int(offset, 16) for name, offset in re.findall(r"REG_(\w+) = (0x\w+)", SOURCE)}
    assert found == {one.name: one.offset for one in REGISTERS}
    numbers = {name: int(value.rstrip("u"), 0)
               for name, value in re.findall(r"#define (\w+) (\w+)", SOURCE)}  # fmt: skip
    assert numbers == {"IDENTITY": IDENTITY, "MAGIC": MAGIC, "MAJOR": VERSION[0]}
    python = vars(stos)
    assert {name: python[name] for name in numbers} == numbers
    offsets = {one.name: one.offset for one in REGISTERS}
    names = "ID VERSION SHAPE FEATURES CONTROL STATUS IRQ_ENABLE IRQ_PENDING IMAGE".split()
    assert {name: python[f"_{name}"] for name in names} == {name: offsets[name] for name in names}
    assert python["_ERRORS"] == ERRORS
    found = {name.removesuffix("_CYCLES").lower(): offset for name, offset in offsets.items()}
    assert python["_COUNTERS"].items() <= found.items() and len(python["_COUNTERS"]) == 7


def test_errors(library):
    """Every code of the machine has its text."""
    for code, text in ERRORS.items():
        assert library.stos_error(code).decode() == text
    assert library.stos_error(99) == b"unknown error"
    said = {library.stos_error(code) for code in range(-4, 7)}
    assert len(said) == 11 and b"unknown error" not in said


@pytest.mark.parametrize("seed", range(5))
def test_softmax(library, seed):
    """Softmax is TensorFlow Lite's, bit for bit, for any scale and number of classes."""
    rng = np.random.default_rng(seed)
    library.stos_softmax_scale.argtypes = [ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p]
    for _ in range(200):
        scale = float(np.float32(10 ** rng.uniform(-3, 0.5)))
        x = rng.integers(-128, 128, rng.integers(1, 200)).astype(np.int8)
        if rng.random() < 0.2:
            x[:] = x[0]
        multiplier, shift = ctypes.c_int32(), ctypes.c_int()
        library.stos_softmax_scale(scale, ctypes.byref(multiplier), ctypes.byref(shift))
        y = np.zeros_like(x)
        library.stos_softmax(
            x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(x.size), multiplier, shift,
        )  # fmt: skip
        assert np.array_equal(y, activations.softmax(x, scale))


def test_on_the_rtl(tmp_path):
    """The file that a board runs finds the machine, runs a network, and tells what went wrong."""
    graph = load(varied(3), tmp_path)
    config = MACHINES["8 x 8"]
    program = compile_graph(graph, config)
    values = graph.values(some(graph)) | {
        one.operator.output: one.output for one in graph.steps(*some(graph))
    }
    placed = place(program, [values[one] for one in program.inputs])
    core = AcceleratorSimulator(config, driver=DRIVER)
    for stall in (0.0, 0.3):
        found = core.run(placed.memory, placed.addresses, stall=stall)
        assert found.code == 0
        if not stall:
            assert found.cycles == program.timing().cycles
        outputs = placed.output(program, found.memory)
        assert all(np.array_equal(a, values[b])
                   for a, b in zip(outputs, program.outputs, strict=True))  # fmt: skip
    assert core.run(placed.memory, placed.addresses, bad_read=60).code == 4
    assert core.run(placed.memory, placed.addresses, abort=1).code == 1
    assert core.run(placed.memory, (64, *placed.addresses[1:])).code == 2
    assert core.run(placed.memory, (8, *placed.addresses[1:])).code in (2, 6)
    changed = bytearray(placed.memory)
    changed[70] ^= 1
    assert core.run(bytes(changed), placed.addresses).code == 3
    assert core.run(placed.memory, placed.addresses, limit=300).code == 0x100 - 4
    core.close()
