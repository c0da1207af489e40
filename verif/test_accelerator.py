"""The accelerator's Verilog, from memory to memory: networks, timing, errors, attacks."""

from __future__ import annotations

import functools
import json
import os
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.lib.data import StructLayout

from golden.int8 import tflite, transform
from golden.int8.fold import fold
from golden.int8.graph import Graph
from hw import gen
from hw.accelerator.combiner import Mode
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import JOB, Base, Kind
from hw.accelerator.requantizer import PARAMETERS
from hw.config import ArrayConfig
from hw.emit import emit_accelerator
from report.errors import Failure, UserError
from sim import compile as compile_command
from sim import run as run_command
from sim.accelerator import jobs, page
from sim.accelerator.compiler import Program, compile_graph
from sim.accelerator.cycles import simulate
from sim.accelerator.image import image
from sim.accelerator.rtl import AcceleratorResult, AcceleratorSimulator
from sim.accelerator.run import Placed, place, run
from verif.lib.attacks import good, kept, mutated
from verif.lib.fetch import find, needs
from verif.lib.models import ACT, SAME, VALID, Net, load
from verif.lib.wild import NO_ROOM, wild
from verif.lib.wild import inputs as some
from verif.test_gen import lint

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ArrayConfig(rows=4, cols=6, st_os=True)
MACHINES = {
    "8 x 8": AcceleratorConfig(array=ArrayConfig(rows=8, cols=8, st_os=True)),
    "8 x 8 plain": AcceleratorConfig(array=ArrayConfig(rows=8, cols=8), axi_width=64),
    "4 x 6": AcceleratorConfig(array=SMALL, axi_width=32, act_kib=16, wgt_kib=4),
    "6 x 3, two MAC stages": AcceleratorConfig(
        array=ArrayConfig(rows=6, cols=3, st_os=True, mac_stages=2),
        axi_width=256,
        act_kib=32,
        rows_per_lane=2,
    ),
    "16 x 16": AcceleratorConfig(array=ArrayConfig(rows=16, cols=16, st_os=True), act_kib=128),
}


@functools.cache
def simulator(name: str) -> AcceleratorSimulator:
    return AcceleratorSimulator(MACHINES[name])


def varied(seed: int) -> bytes:
    """Return a network with every kind of job: windows, pools, sums, products, pads, slices."""
    net = Net(seed, (1, 11, 9, 3))
    x = net.conv(net.input, (3, 3), 8, StrideH=2, StrideW=2, FusedActivationFunction=ACT.RELU6)
    left = net.depthwise(x, (3, 3), FusedActivationFunction=ACT.RELU)
    y = net.depthwise(left, (3, 2), 2, StrideH=1, StrideW=1)
    y = net.conv(y, (1, 1), 8, per_channel=False)
    y = net.sum(left, y, ACT.RELU)
    y = net.sum(y, net.constant((1, 1, 1, 8), 0.001))
    y = net.sum(y, net.constant((1, 1, 1, 8), 3 * net.scales[y]))
    x = net.pool("MAX_POOL_2D", y, (3, 2), StrideH=2, StrideW=1, Padding=SAME)
    _, h, w, c = net.shapes[x]
    padded = net.like(x, (1, h + 1, w + 2, c + 3))
    x = net.writer.add("PAD", [x, net.list([[0, 0], [1, 0], [0, 2], [0, 0]])],
                       net.like(x, (1, h + 1, w + 2, c)))  # fmt: skip
    x = net.writer.add("PAD", [x, net.list([[0, 0], [0, 0], [0, 0], [0, 3]])], padded)
    x = net.conv(x, (3, 2), 10, StrideH=1, StrideW=2, Padding=VALID)
    x = net.pool("AVERAGE_POOL_2D", x, (2, 2), StrideH=1, StrideW=1, Padding=VALID)
    _, h, w, c = net.shapes[x]
    mean = net.writer.add("MEAN", [x, net.list([1, 2])], net.activation((1, c), net.scales[x]))
    gate = net.weighted("FULLY_CONNECTED", mean, (c, c), (1, c))
    gate = net.writer.add("RESHAPE", [gate, net.list([1, 1, 1, c])], net.like(gate, (1, 1, 1, c)))
    scale = net.scales[x] * net.scales[gate] * 60
    x = net.writer.add("MUL", [x, gate], net.activation((1, h, w, c), scale))
    flat = net.writer.add("RESHAPE", [x, net.list([1, h * w * c])], net.like(x, (1, h * w * c)))
    x = net.weighted("FULLY_CONNECTED", flat, (7, h * w * c), (1, 7), bias=False)
    x = net.writer.add("SOFTMAX", [x], net.activation((1, 7), 1 / 256, -128))
    return net.done(x)


def functions(seed: int) -> bytes:
    """Return a network of functions of one byte, and of extremes of two tensors."""
    net = Net(seed, (1, 5, 7, 10))
    x = net.conv(net.input, (1, 1), 10)
    shape = net.shapes[x]

    def to(kind: str, *inputs: int, scale: float = 0, zero: int | None = None, **more: Any) -> int:
        result = net.activation(shape, scale or net.scales[inputs[0]] * 0.9, zero)
        return net.writer.add(kind, list(inputs), result, **more)

    x = to("HARD_SWISH", x)
    x = to("LEAKY_RELU", x, Alpha=0.3)
    x = to("PRELU", x, net.constant((1, 1, 10), 0.01))
    y = to("LOGISTIC", x, scale=1 / 256, zero=-128)
    z = to("RELU6", to("TANH", x, scale=1 / 128, zero=0))
    x = net.sum(y, z)
    y = net.writer.add("QUANTIZE", [y], net.like(x, shape))
    x = net.writer.add("MAXIMUM", [x, y], net.like(x, shape))
    constant = net.writer.tensor(
        (1, 1, 1, 10), net.scales[x], net.zeros[x], data=net.rng.integers(-99, 99, (1, 1, 1, 10))
    )
    x = net.writer.add("MINIMUM", [constant, x], net.like(x, shape))
    return net.done(net.conv(x, (3, 3), 4))


def moved(seed: int) -> bytes:
    """Return a network that moves elements about, and averages over padding and channels."""
    net = Net(seed, (1, 6, 7, 5))
    add, like = net.writer.add, net.like
    x = net.conv(net.input, (1, 1), 10)
    x = net.pool("AVERAGE_POOL_2D", x, (3, 2), StrideH=1, StrideW=2, Padding=SAME)
    _, h, w, _ = net.shapes[x]
    parts = net.writer.add_all(
        "SPLIT", [net.writer.tensor((), data=3, dtype=np.int32), x],
        [like(x, (1, h, w, 5)) for _ in range(2)], NumSplits=2,
    )  # fmt: skip
    turned = add("TRANSPOSE", [parts[0], net.list([0, 2, 1, 3])], like(x, (1, w, h, 5)))
    back = add("TRANSPOSE", [turned, net.list([0, 2, 1, 3])], like(x, (1, h, w, 5)))
    x = add("CONCATENATION", [back, parts[1], back], like(x, (1, h, w, 15)), Axis=3)
    x = add("CONCATENATION", [x, x], like(x, (1, h, 2 * w, 15)), Axis=2)
    other = add(
        "STRIDED_SLICE",
        [x, *map(net.list, ([0, h - 1, 0, 0], [1, -h - 1, 2 * w, 15], [1, -1, 1, 2]))],
        like(x, (1, h, 2 * w, 8)),
    )
    mean = add("MEAN", [other, net.list([3])], net.activation((1, h, 2 * w), net.scales[x]))
    mean = add("RESHAPE", [mean, net.list([1, h, 2 * w, 1])], like(mean, (1, h, 2 * w, 1)))
    x = net.conv(x, (1, 1), 1)
    x = net.sum(x, mean)
    return net.done(net.conv(x, (3, 3), 4))


@pytest.fixture
def graph(tmp_path):
    return load(varied(3), tmp_path)


@pytest.mark.parametrize("name", MACHINES)
def test_every_job(graph, name):
    """Every tensor, every cycle and every byte of memory is as the models say."""
    machine = MACHINES[name]
    for latency in (0, 40, 150):
        ran = run(graph, some(graph), machine, simulator=simulator(name), latency=latency)
        assert [one.kind for one in ran.program.after] == ["SOFTMAX"]
        assert len(ran.result.seen) >= len(ran.program.layers) - 2
    run(graph, some(graph, 2), machine, simulator=simulator(name), stall=0.4)


@pytest.mark.parametrize("name", ["8 x 8", "4 x 6"])
@pytest.mark.parametrize("seed", [1, 2])
def test_functions(tmp_path, name, seed):
    """Tables, one for all channels or one for each, and the greater and the less of two."""
    network = load(functions(seed), tmp_path)
    ran = run(network, some(network), MACHINES[name], simulator=simulator(name))
    ways = {one.operator.kind: one.mapping for one in ran.program.layers}
    assert not ran.program.after
    for kind in ("HARD_SWISH", "LEAKY_RELU", "PRELU", "LOGISTIC", "TANH", "RELU6"):
        assert "by table" in ways[kind]


@pytest.mark.parametrize("name", ["8 x 8", "4 x 6", "8 x 8 plain"])
def test_moves(tmp_path, name):
    """What lies elsewhere is copied; windows over padding see fewer pixels."""
    network = load(moved(1), tmp_path)
    ran = run(network, some(network), MACHINES[name], simulator=simulator(name))
    assert not ran.program.after


def network(name: str) -> Graph:
    """Return a network of docs/accelerator.md."""
    path = EXAMPLES / f"{name}.tflite" if name in page.EXAMPLES else find(f"models/{name}.tflite")
    return transform.recognize(tflite.load(path))


def there(name: str) -> Any:
    """Return a network as a parameter of a test, which is skipped where its file is missing."""
    return pytest.param(
        name, marks=[needs(f"models/{name}.tflite")] if name not in page.EXAMPLES else []
    )


#: Cycles at 16 x 16 ST-OS, 128-bit AXI, 40 cycles of latency, from the start to done.
CYCLES = {
    "kws_ref_model": 14_483, "ad01_int8": 17_814, "pretrainedResnet_quant": 54_990,
    "vww_96_int8": 54_155,
}  # fmt: skip


@pytest.mark.parametrize("size", ["8 x 8", "16 x 16"])
@pytest.mark.parametrize("model", [there(one) for one in CYCLES])
def test_networks(model, size):
    """MLPerf Tiny: bit for bit and to the cycle; for FuSe networks see test_examples."""
    graph = network(model)
    ran = run(graph, some(graph), MACHINES[size], simulator=simulator(size))
    if size == "16 x 16":
        assert ran.result.cycles == CYCLES[model]


if "STOS_SOAK" in os.environ:  # ten minutes: `make soak` runs it

    @functools.cache
    def roomy(size: str, act_kib: int) -> AcceleratorSimulator:
        return AcceleratorSimulator(page.machine(size, act_kib))

    @pytest.mark.parametrize("act_kib", [2048, 160])
    @pytest.mark.parametrize("size", ["8 x 8", "16 x 16"])
    @pytest.mark.parametrize("model", [there(one) for one in page.MODELS | page.EXAMPLES])
    def test_every_network(model, size, act_kib):
        """Those of docs/accelerator.md, in its cycles; with less memory, in bands and spilled."""
        graph, machine = network(model), page.machine(size, act_kib)
        said = json.loads((page.DOCS / "accelerator.json").read_text())["networks"][model]
        values = some(graph)
        if model.startswith("users/"):
            stored = np.load(find(f"models/{model}.npz"))
            values = [stored["input1"].reshape(graph.inputs[0].shape)]
        ran = run(graph, values, machine, simulator=roomy(size, act_kib))
        if said["act_bytes"] <= 1024 * act_kib:
            assert ran.result.cycles == said["cycles"][size]


@pytest.mark.parametrize("model", [there("vww_96_int8")])
def test_folded(model):
    """Visual wake words without its dead channels."""
    graph = fold(network(model))
    ran = run(graph, some(graph), MACHINES["16 x 16"], simulator=simulator("16 x 16"))
    assert ran.result.cycles == 31_299


def test_parts_that_are_spilled(tmp_path):
    """A concatenation whose parts come and go keeps all of them, and is compared as a whole."""
    net = Net(1, (1, 24, 24, 4))
    first = net.conv(net.input, (1, 1), 6)
    x = net.conv(net.conv(net.input, (3, 3), 20), (3, 3), 20)
    x = net.writer.add("ADD", [x, x], net.activation((1, 24, 24, 20), 0.1))
    zero = net.zeros[first]
    second = net.weighted("CONV_2D", x, (6, 1, 1, 20), (1, 24, 24, 6), zero=zero)
    both = net.like(first, (1, 24, 24, 12))
    net.writer.add("CONCATENATION", [first, second], both, Axis=3)
    other = net.conv(net.conv(net.conv(net.input, (3, 3), 20), (3, 3), 20), (1, 1), 5)
    graph = load(net.done(net.sum(other, net.conv(both, (1, 1), 5))), tmp_path)
    ran = run(graph, some(graph), replace(MACHINES["4 x 6"], act_kib=24))
    joined = next(one for one in ran.program.layers if one.operator.kind == "CONCATENATION")
    assert (joined.jobs, joined.bytes) == (0, 24 * 24 * 12)
    kinds = [(one.kind.name, one.own["base"].name) for one in ran.program.jobs
             if one.kind.name in ("LOAD", "STORE")]  # fmt: skip
    assert kinds.count(("STORE", "SCRATCH")) > 4


def test_tiles_of_a_beat(tmp_path):
    """On one column a tile may be a pixel, and a beat: no faster than its commands come."""
    config = AcceleratorConfig(array=ArrayConfig(rows=4, cols=1), axi_width=32, act_kib=4)
    net = Net(1, (1, 9, 9, 1))
    run(graph := load(net.done(net.conv(net.input, (1, 1), 3)), tmp_path), some(graph), config)
    net = Net(1, (1, 1, 1, 1))  # and a round
    graph = load(net.done(net.conv(net.input, (1, 1), 50)), tmp_path)
    run(graph, some(graph), config)
    run(graph, some(graph), MACHINES["4 x 6"], simulator=simulator("4 x 6"))


def test_largest_block(tmp_path):
    """Blocks of weights as large as is taken run, one after the other; larger ones are refused."""
    config = MACHINES["4 x 6"]

    def made(depth: int) -> Graph:
        net = Net(1, (1, 4, 5, depth // 9))
        return load(net.done(net.conv(net.input, (3, 3), 12)), tmp_path)

    least = config.largest_block // 9 * 9
    for depth in (least, least - 9):
        graph = made(depth)
        run(graph, some(graph), config, simulator=simulator("4 x 6"), latency=0)
    with pytest.raises(UserError, match=rf"blocks of {least + 9} words of weights do not fit"):
        compile_graph(made(least + 9), config)


@pytest.mark.parametrize("seed", range(3))
def test_bands(seed, tmp_path):
    """What does not fit is stored and loaded, or computed in bands: the same bits, exact cycles."""
    net = Net(seed, (1, 80, 31, 3))  # rows of 93 bytes: bands begin inside of beats
    x = net.conv(net.input, (3, 3), 16, StrideH=3, StrideW=2)
    y = net.depthwise(x, (5, 3))
    y = net.conv(y, (3, 3), 16)
    x = net.sum(y, x)
    x = net.pool("MAX_POOL_2D", x, (3, 3), StrideH=2, StrideW=2, Padding=SAME)
    _, h, w, c = net.shapes[x]
    x = net.writer.add("PAD", [x, net.list([[0, 0], [2, 1], [0, 2], [0, 0]])],
                       net.like(x, (1, h + 3, w + 2, c)))  # fmt: skip
    x = net.pool("MAX_POOL_2D", x, (2, 2), StrideH=2, StrideW=1, Padding=VALID)
    graph = load(net.done(net.conv(x, (1, 1), 5)), tmp_path)
    whole = compile_graph(graph, replace(MACHINES["4 x 6"], act_kib=32))
    config = replace(MACHINES["4 x 6"], act_kib=(4, 6, 6)[seed])
    ran = run(graph, some(graph), config, latency=(0, 40, 90)[seed])
    assert sum(layer.spilled >= 0 for layer in ran.program.layers) >= 2
    assert ran.program.scratch_bytes > 0 == whole.scratch_bytes
    assert ran.result.cycles > whole.timing().cycles


def test_bands_with_copies(tmp_path):
    """Where a band has no room for a constant beside it, smaller ones are made from the start."""
    net = Net(1, (1, 40, 10, 16))
    y = net.sum(net.input, net.constant((1, 40, 10, 16), 0.04))
    graph = load(net.done(y), tmp_path)
    ran = run(graph, some(graph), replace(MACHINES["4 x 6"], act_kib=4))
    moved = [one.own for one in ran.program.jobs if one.kind in (Kind.LOAD, Kind.STORE)]
    sizes = [one["bytes"] for one in moved if one["base"] != Base.IMAGE]
    assert sizes == [1_280] * 10  # the input and the output in five bands


def test_one_machine_after_the_other_network(graph, tmp_path):
    """Two networks in turn, without a reset between."""
    other = load(varied(8), tmp_path)
    core = AcceleratorSimulator(MACHINES["8 x 8"])
    first = [run(one, some(one), core.config, simulator=core).result.cycles
             for one in (graph, other) * 3]  # fmt: skip
    assert first == first[:2] * 3


@pytest.fixture(scope="module", params=["4 x 6", "6 x 3, two MAC stages"])
def short(request, tmp_path_factory) -> tuple[Program, Placed]:
    """Return a short run on a small machine, one with a lane for every row, one without."""
    net = Net(5, (1, 4, 5, 3))
    x = net.conv(net.input, (3, 3), 6)
    x = net.depthwise(x, (3, 3))
    content = net.done(net.pool("MAX_POOL_2D", x, (2, 2), StrideH=1, StrideW=1))
    graph = load(content, tmp_path_factory.mktemp("short"))
    program = compile_graph(graph, MACHINES[request.param])
    value = np.random.default_rng(1).integers(-128, 128, program.inputs[0].shape).astype(np.int8)
    return program, place(program, [value])


@pytest.mark.parametrize("name", ["4 x 6", "8 x 8 plain", "6 x 3, two MAC stages"])
def test_transfers(name):
    """Every length at every offset in a beat and a word, over the ends of bursts, too."""
    config, core = MACHINES[name], simulator(name)
    beat, word = config.axi_bytes, config.word
    dice = random.Random(1)
    cases = [(count, offset) for count in range(1, 2 * beat + 3) for offset in range(beat)]
    cases += [(256 * n + more, offset) for n in (1, 2) for more in (-1, 0, 1)
              for offset in (0, 1, beat - 1, 255)]  # fmt: skip
    source = random.Random(2).randbytes(4096)
    for first in range(0, len(cases), 400):
        made, wanted = [jobs.transfer(Kind.LOAD, Base.INPUT, 0, 0, 4096)], bytearray()
        inside = bytearray(source)
        for count, offset in cases[first : first + 400]:
            # Somewhere in memory, in the machine and at the output; the sign may turn twice.
            begin = offset + 256 * dice.randrange(8)
            local, target = dice.randrange(3 * word), len(wanted) + dice.randrange(2 * beat)
            signs = dice.choice([0, 0x80]), dice.choice([0, 0x80])
            made.append(
                jobs.transfer(Kind.LOAD, Base.INPUT, begin, local, count, flip=signs[0] > 0)
            )
            loaded = source[begin : begin + count]
            inside[local : local + count] = bytes(byte ^ signs[0] for byte in loaded)
            if dice.random() < 0.5:  # what lies around it is as before
                local, count = max(0, local - 2), count + 4
            made.append(
                jobs.transfer(Kind.STORE, Base.OUTPUT, target, local, count, flip=signs[1] > 0)
            )
            wanted += bytes([0xA5]) * (target - len(wanted))
            wanted += bytes(byte ^ signs[1] for byte in inside[local : local + count])
        made.append(jobs.end())
        begins = [-(-len(image(made, config)) // 4096) * 4096]
        begins.append(begins[0] + 4096)
        memory = image(made, config).ljust(begins[0], b"\0") + source
        size = len(memory)
        memory += bytes([0xA5]) * (len(wanted) + 4096)
        found = core.run(memory, (0, *begins, begins[1]), latency=first % 50)
        assert (found.done, found.code) == (True, 0)
        assert found.memory[:size] == memory[:size]
        assert found.memory[size:].rstrip(b"\xa5") == wanted.rstrip(b"\xa5")
        if first == 0:
            assert found.cycles == simulate(made, config, latency=0).cycles


@pytest.mark.parametrize("response", [2, 3])
def test_bus_errors(short, response):
    """SLVERR and DECERR at any beat end the run with a code; the next one is good."""
    program, placed = short
    core = AcceleratorSimulator(program.config)
    wanted = good(core, program, placed)
    probe = core.run(placed.memory, placed.addresses)
    for beat in [*range(1, 30), *range(30, probe.beats + 1, 7), probe.beats]:
        found = core.run(placed.memory, placed.addresses, bad_read=beat, response=response)
        assert (found.done, found.code) == (True, 4), beat
        assert kept(program, placed, placed.memory, found.memory)
    for burst in range(1, probe.bursts + 1):
        found = core.run(placed.memory, placed.addresses, bad_write=burst, response=response)
        assert (found.done, found.code) == (True, 5), burst
    assert good(core, program, placed) == wanted


def test_abort_and_reset(short):
    """Abort and reset in any cycle of a run; the next one is good."""
    program, placed = short
    core = AcceleratorSimulator(program.config)
    wanted = good(core, program, placed)
    cycles = program.timing().cycles
    dice = random.Random(1)
    # Every cycle until the first job has begun, and some of the others.
    for cycle in [*range(1, 90), *dice.sample(range(90, cycles - 10), 40)]:
        found = core.run(placed.memory, placed.addresses, abort=cycle)
        assert (found.done, found.code) == (True, 1), cycle
        assert kept(program, placed, placed.memory, found.memory)
    assert good(core, program, placed) == wanted
    for cycle in dice.sample(range(2, cycles - 10), 20):
        assert not core.run(placed.memory, placed.addresses, reset=cycle).done
        assert good(core, program, placed, reset=1) == wanted, cycle


@pytest.mark.parametrize("name", ["4 x 6", "6 x 3, two MAC stages"])
def test_abort_while_storing(name, tmp_path):
    """What is written before an abort ends a run is right, byte by byte, with pauses, too."""
    net = Net(7, (1, 9, 9, 4))
    graph = load(net.done(net.conv(net.input, (1, 1), 9)), tmp_path)
    program = compile_graph(graph, MACHINES[name])
    placed = place(program, some(graph))
    core = simulator(name)
    wanted = good(core, program, placed, reset=1)
    assert program.jobs[-2].kind == Kind.STORE
    partly = 0
    for stall in (0.0, 0.5):
        whole = core.run(placed.memory, placed.addresses, stall=stall).cycles
        for cycle in range(whole - 150, whole - 10):
            found = core.run(placed.memory, placed.addresses, abort=cycle, stall=stall)
            assert (found.done, found.code) == (True, 1), cycle
            bytes_ = zip(placed.memory, wanted, found.memory, strict=True)
            assert all(now in (before, after) for before, after, now in bytes_), (cycle, stall)
            partly += found.memory not in (placed.memory, wanted)
    assert partly > 20
    assert good(core, program, placed) == wanted


def test_images(short):
    """What is no image of this machine is refused, in whatever byte."""
    program, placed = short
    core = AcceleratorSimulator(program.config)

    def code(memory: bytes, image: int = 0) -> int:
        found = core.run(memory, (image, *placed.addresses[1:]), limit=100_000)
        assert found.done and kept(program, placed, memory, found.memory)
        return found.code

    assert code(placed.memory) == 0
    for byte in range(28):  # of the header
        changed = bytearray(placed.memory)
        changed[byte] ^= 0x10
        assert code(bytes(changed)) == 2, byte
    assert code(placed.memory, 4) == 6
    # A job with a wrong check, or of no kind, and a store to the inputs.
    length = len(program.jobs[0].program(program.config.word))
    for byte in range(64, 64 + length):
        changed = bytearray(placed.memory)
        changed[byte] ^= 1 << byte % 8
        assert code(bytes(changed)) == 3, byte
    other = replace(program.config, act_kib=48)
    assert core.config.fingerprint != other.fingerprint


@pytest.mark.parametrize("kind", [Kind.LOAD, Kind.STORE])
def test_transfers_of_no_bytes_or_too_many(kind):
    """A transfer of nothing, or of more than there is room for, is refused before it begins."""
    config, core = MACHINES["4 x 6"], simulator("4 x 6")
    base = Base.INPUT if kind == Kind.LOAD else Base.OUTPUT
    for count, code in (
        (1, 0),
        (0, 3),
        (2 << config.local_bits, 3),
        (1 << 31, 3),
        ((1 << 32) - 1, 3),
    ):
        memory = image([jobs.transfer(kind, base, 0, 0, count), jobs.end()], config)
        memory += bytes(-len(memory) % 256 + 1024)
        top = len(memory) - 1024
        found = core.run(memory, (0, top, top + 256, top + 512), limit=10_000)
        assert (found.done, found.code) == (True, code), count
        changed = np.flatnonzero(
            np.frombuffer(memory, np.uint8) != np.frombuffer(found.memory, np.uint8)
        )
        assert np.isin(changed, [top + 256] * (code == 0)).all()


def test_another_layout(monkeypatch):
    """An image whose jobs have other fields is one of another machine."""
    machine = MACHINES["8 x 8"]
    before = machine.fingerprint
    for name, layout in (("JOB", JOB), ("PARAMETERS", PARAMETERS)):
        with monkeypatch.context() as changed:
            fields = {key: field.shape for key, field in reversed(list(layout))}
            changed.setattr(f"hw.accelerator.config.{name}", StructLayout(fields))
            assert machine.fingerprint != before, name
    assert machine.fingerprint == before


def test_mutated_images(short):
    """Whatever an image says: the run ends, and nothing but the outputs is written."""
    program, placed = short
    core = AcceleratorSimulator(program.config)
    wanted = good(core, program, placed)
    codes = {mutated(core, program, placed, seed) for seed in range(200)}
    assert codes == {0, 2, 3}
    assert good(core, program, placed) == wanted


def test_a_fault_is_seen(graph, monkeypatch):
    """A wrong multiplier, a wrong prediction and a stray write are found and named."""
    name = "8 x 8"
    machine, core = MACHINES[name], simulator(name)
    encode = jobs.Requantization.encode
    monkeypatch.setattr(jobs.Requantization, "encode", lambda self, *a: encode(
        jobs.Requantization(**{**vars(self), "bias": self.bias + 200}), *a))  # fmt: skip
    with pytest.raises(Failure, match=r"op00_CONV_2D .* differ"):
        run(graph, some(graph), machine, simulator=core)
    monkeypatch.undo()
    monkeypatch.setattr("sim.accelerator.cycles.OUTSTANDING", 1)
    with pytest.raises(Failure, match="as predicted"):
        run(graph, some(graph), machine, simulator=core)
    monkeypatch.undo()
    store = jobs.transfer
    monkeypatch.setattr(jobs, "transfer", lambda kind, base, offset, local, count, **more: store(
        kind, base, offset, local, count + (kind == jobs.Kind.STORE), **more))  # fmt: skip
    with pytest.raises(Failure, match="which is no output"):
        run(graph, some(graph), machine, simulator=core)


def test_a_wrong_band_is_seen(tmp_path):
    """What lies in SCRATCH only is compared, too."""
    net = Net(1, (1, 40, 31, 3))
    x = net.conv(net.input, (3, 3), 16)
    graph = load(net.done(net.conv(x, (1, 1), 3)), tmp_path)
    core = AcceleratorSimulator(replace(MACHINES["4 x 6"], act_kib=6))

    class Flipped:
        """Flips a bit in SCRATCH."""

        def run(self, memory: bytes, addresses: tuple[int, ...], **more: Any) -> AcceleratorResult:
            result = core.run(memory, addresses, **more)
            changed = bytearray(result.memory)
            changed[addresses[3] + 1234] ^= 4
            return replace(result, memory=bytes(changed))

    run(graph, some(graph), core.config, simulator=core)
    with pytest.raises(Failure, match=r"op00_CONV_2D .* 1 of 19,840 .* byte 1234"):
        run(graph, some(graph), core.config, simulator=Flipped())


def test_what_is_lacking(tmp_path):
    """All operators that the machine has no job for are named in one line, and memory, too."""
    net = Net(1, (1, 6, 6, 4))
    slopes = net.constant((6, 6, 4), 0.01)
    x = net.writer.add("PRELU", [net.input, slopes], net.activation((1, 6, 6, 4), 0.05))
    for size in (9, 5):
        shape = 1, size, size, 4
        x = net.writer.add("RESIZE_BILINEAR", [x, net.list([size, size])], net.like(x, shape))
    graph = load(net.done(net.conv(x, (1, 1), 4)), tmp_path)
    wanted = r"lacks 1 PRELU \(slopes that .*\), 2 RESIZE_BILINEAR"
    with pytest.raises(UserError, match=wanted):
        compile_graph(graph, MACHINES["8 x 8"])
    net = Net(1, (1, 64, 64, 8))
    x = net.writer.add("MEAN", [net.input, net.list([1, 2])], net.activation((1, 8), 0.05))
    graph = load(net.done(x), tmp_path)
    message = r"does not fit --act-kib 16 \(inputs and output alone are 33 KiB\), and cannot be cut"
    with pytest.raises(UserError, match=message):
        compile_graph(graph, MACHINES["4 x 6"])


#: Machines for random networks: some have little memory, so that tensors come and go.
WILD = {
    **{name: (MACHINES[name], 600) for name in list(MACHINES)[:4]},
    "4 x 6, 4 KiB": (replace(MACHINES["4 x 6"], act_kib=4), 4_000),
    "8 x 8, 8 KiB": (replace(MACHINES["8 x 8"], act_kib=8, rows_per_lane=4), 4_000),
    "8 x 1, eight rows a lane": (
        AcceleratorConfig(
            array=ArrayConfig(rows=8, cols=1, st_os=True), axi_width=64, rows_per_lane=8
        ),
        600,
    ),
}


@pytest.mark.parametrize("name", WILD)
def test_wild(name, tmp_path):
    """Random networks are exact, whatever follows on what; `make soak` runs more of them."""
    machine, most = WILD[name]
    core = simulator(name) if name in MACHINES else AcceleratorSimulator(machine)
    rng = np.random.default_rng(1)
    ran = 0
    for seed in range(1, 30):
        graph = load(wild(seed, most), tmp_path)
        stall = float(rng.choice([0, 0, 0.3]))
        try:
            run(graph, some(graph, seed), machine, simulator=core, stall=stall, seed=seed,
                latency=int(rng.integers(0, 201)))  # fmt: skip
        except UserError as error:
            assert re.search(NO_ROOM, str(error))
            continue
        ran += 1
    assert ran >= (29 if most < 1_000 else 18)


def test_words_read_while_written(tmp_path):
    """Memories may give anything where a word is read and written in one cycle: none counts."""
    machine = MACHINES["4 x 6"]
    text, count = re.subn(
        r"if \(i_read\) o_read_data <= memory\[i_read_address\];",
        "if (i_read) o_read_data <= (|i_write && i_write_address == i_read_address)"
        " ? ~memory[i_read_address] : memory[i_read_address];",
        emit_accelerator(machine),
    )
    assert count == 6
    core = AcceleratorSimulator(machine, verilog=text)
    for seed in range(40):
        graph = load(wild(seed), tmp_path)
        run(graph, some(graph, seed), machine, simulator=core, latency=seed % 7)


def joined(what: str) -> bytes:
    """Return a network with parts that cannot lie in the whole from the beginning."""
    net = Net(1, (1, 6, 6, 4))
    add = net.writer.add
    if what == "rescaled":
        shape, scales = (1, 6, 6, 4), (0.1, 0.1, 0.2, 0.1)
        source, *parts, both = (
            net.writer.tensor(shape if n < 3 else (1, 6, 6, 8), scale, 9, dtype=np.uint8)
            for n, scale in enumerate(scales)
        )
        for part in parts:
            add("QUANTIZE", [source], part)
        add("CONCATENATION", parts, both, Axis=3)
        return net.writer.content([source], [both])
    x = net.conv(net.input, (1, 1), 5)
    part, ends = x, []
    if what == "transposed":
        add("TRANSPOSE", [x, net.list([0, 2, 1, 3])], part := net.like(x, (1, 6, 6, 5)))
        x = net.weighted("CONV_2D", net.input, (5, 1, 1, 4), (1, 6, 6, 5), zero=net.zeros[x])
    elif what == "an output":
        ends = [x]
    elif what == "another shape":
        add("RESHAPE", [x, net.list([1, 9, 20])], other := net.like(x, (1, 9, 20)))
        ends = [net.weighted("FULLY_CONNECTED", other, (5, 180), (1, 5))]
    else:  # word by word, the first part after the second
        x = add("RELU", [x], net.like(x, (1, 6, 6, 5)))
        second, part = (add("RELU", [x], net.like(x, (1, 6, 6, 5))) for _ in range(2))
    if what != "words":
        second = net.weighted("CONV_2D", x, (5, 1, 1, 5), (1, 6, 6, 5), zero=net.zeros[x])
    axis = 1 if what == "words" else 3
    both = net.like(x, (1, 12, 6, 5) if axis == 1 else (1, 6, 6, 10))
    add("CONCATENATION", [part, second], both, Axis=axis)
    return net.writer.content([net.input], [net.conv(both, (1, 1), 4), *ends])


@pytest.mark.parametrize("what", ["rescaled", "transposed", "an output", "another shape", "words"])
def test_joined(what, tmp_path):
    """Parts of a concatenation that lie elsewhere, or are needed elsewhere, too."""
    graph = load(joined(what), tmp_path)
    run(graph, some(graph), MACHINES["8 x 8"], simulator=simulator("8 x 8"))


def test_padding_at_address_0(tmp_path):
    """A window that begins in the padding in front of address 0 waits for what lies behind it."""
    net = Net(1, (1, 2, 1, 10))
    x = net.conv(net.input, (3, 3), 2)
    x = net.depthwise(x, (5, 5))
    graph = load(net.done(net.conv(x, (3, 5), 11)), tmp_path)
    machine = MACHINES["6 x 3, two MAC stages"]
    ran = run(graph, some(graph), machine, simulator=simulator("6 x 3, two MAC stages"))
    assert not any(job.fields["overlap"] for job in ran.program.jobs[2:-2])


def test_load_behind_the_padding(tmp_path):
    """A LOAD beside a job writes in the rows that padding in front of address 0 is read from."""
    name = "6 x 3, two MAC stages"
    machine, core = MACHINES[name], simulator(name)
    net = Net(1, (1, 12, 12, 4))
    graph = load(net.done(net.conv(net.input, (5, 5), 5)), tmp_path)
    program = compile_graph(graph, machine)
    at = next(n for n, one in enumerate(program.jobs) if one.kind == Kind.LOAD)
    assert program.jobs[at].own["local"] == 0
    size = 2 * machine.word * machine.bank_rows
    placed = place(program, some(graph))
    for local in range(size - 200, size - 100, 7):
        more = jobs.transfer(Kind.LOAD, Base.INPUT, 3, local, 99)
        made = [*program.jobs[: at + 1], more, *program.jobs[at + 1 :]]
        memory = image(made, machine)
        assert len(memory) <= placed.addresses[1]
        memory += placed.memory[len(memory) :]
        found = core.run(memory, placed.addresses, latency=7)
        assert (found.done, found.code) == (True, 0)
        assert found.cycles == simulate(made, machine, latency=7).cycles


def test_a_field_that_does_not_fit(tmp_path):
    """What a job's fields cannot say is done another way: 486 rows of a window, of 8 bits."""
    net = Net(1, (1, 1, 1, 486))
    mean = net.activation((1, 1, 1, 1), 0.03)
    y = net.writer.add("MEAN", [net.input, net.list([3])], mean, KeepDims=True)
    graph = load(net.done(y), tmp_path)
    run(graph, some(graph), MACHINES["4 x 6"], simulator=simulator("4 x 6"))
    with pytest.raises(UserError, match="no job says that rows is 486; it can be 0 to 255"):
        jobs.combine(
            MACHINES["4 x 6"], Mode.ONE, read=jobs.pixel_reads(base=0, length=4, rows=486, tiles=1),
            write=jobs.pixel_writes(0, 4, 1, 4),
        )  # fmt: skip


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["8 x 8", "8 x 8 plain"])
def test_interpolation(name, half, tmp_path):
    """Twice, four and eight times as large, and smaller; thirds are left to the host."""

    def made(*sizes: tuple[int, int]) -> Graph:
        net = Net(1, (1, 4, 6, 9))
        x = net.input
        for size in sizes:
            y = net.like(x, (1, *size, 9))
            net.writer.add("RESIZE_BILINEAR", [x, net.list(size)], y, HalfPixelCenters=half)
            x = y
        return load(net.done(x), tmp_path)

    graph = made((8, 12), (32, 12), (4, 24), (32, 24), (16, 6))
    run(graph, some(graph), MACHINES[name], simulator=simulator(name))
    with pytest.raises(UserError, match="1 RESIZE_BILINEAR .neighbours that are not a multiple"):
        compile_graph(made((12, 18)), MACHINES[name])


def test_slopes_that_broadcast(tmp_path):
    """A PRELU whose output has more channels than its input is refused."""
    net = Net(1, (1, 6, 6, 4))
    one = net.conv(net.input, (1, 1), 1)
    y = net.activation((1, 6, 6, 12), 0.05)
    net.writer.add("PRELU", [one, net.constant((1, 1, 12), 0.01)], y)
    with pytest.raises(UserError, match=r"lacks 1 PRELU \(an input that broadcasts\)"):
        compile_graph(load(net.done(net.conv(y, (1, 1), 4)), tmp_path), MACHINES["8 x 8"])


@pytest.mark.parametrize("name", ["8 x 8", "8 x 8 plain", "6 x 3, two MAC stages"])
def test_lint(name, tmp_path):
    """No warning; none is waived; every signal has the name that the source gives it."""
    text = emit_accelerator(MACHINES[name])
    assert re.findall(r"lint_off.*", text) == ["lint_off DECLFILENAME"]
    assert not re.findall(r"\bsignal(_\d+)?\b", re.sub("//.*", "", text))
    lint(text, "stos_accelerator", tmp_path)


def test_commands(graph, tmp_path, capsys):
    """Generate, compile and run from the command line; the three agree about the machine."""
    array = ["--rows", "8", "--cols", "8", "--st-os"]
    verilog = tmp_path / "mine.v"
    assert gen.main([*array, "--accelerator", "--name", "mine", "-o", str(verilog)]) == 0
    facts = json.loads((tmp_path / "mine.json").read_text())
    assert facts["fingerprint"] == MACHINES["8 x 8"].fingerprint
    assert {"irq", "m_axi_araddr", "s_axi_ctl_awaddr"} <= {one["name"] for one in facts["ports"]}
    assert "module mine (" in verilog.read_text()
    (tmp_path / "m.tflite").write_bytes(varied(3))
    image = tmp_path / "m.bin"
    assert compile_command.main([*array, str(tmp_path / "m.tflite"), "-o", str(image)]) == 0
    side = json.loads((tmp_path / "m.json").read_text())
    assert side["image_bytes"] == len(image.read_bytes())
    assert side["fingerprint"] == facts["fingerprint"] and side["host"] == ["SOFTMAX"]
    program = compile_graph(graph, MACHINES["8 x 8"])
    assert image.read_bytes() == program.image
    assert side["cycles"] == simulate(program.jobs, program.config).cycles
    np.save(tmp_path / "x.npy", some(graph)[0])
    words = [str(tmp_path / "m.tflite"), "--input", str(tmp_path / "x.npy"), *array]
    found = tmp_path / "found.json"
    assert run_command.main([*words, "--accelerator", "--json", str(found)]) == 0
    told = json.loads(found.read_text())
    assert told["rtl_cycles"] == told["predicted_cycles"] == side["cycles"]
    assert "as predicted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words", "wanted"),
    [
        (gen, "--act-kib 8", "--act-kib 8 is for --accelerator only"),
        (gen, "--accelerator --axi-width 48", "axi_width must be a power of two, not 48"),
        (gen, "--accelerator --accumulators 1", "accumulators of an accelerator must be 2, not 1"),
        (gen, "--accelerator --wgt-kib 0", "wgt_kib must be an integer from 1 to 1024, not 0"),
        (run_command, "--memory-latency 3", "--memory-latency is for --accelerator only"),
        (run_command, "--accelerator --memory-stall 1", "must be 0 to below 1, not 1.0"),
        (run_command, "--accelerator --layers 1", "--layers is not for --accelerator"),
        (compile_command, "-o x.img", "-o PATH must end in .bin, not x.img"),
    ],
)
def test_bad_input(command, words, wanted, tmp_path, capsys, monkeypatch):
    """One line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    model = []
    if command is not gen:
        (tmp_path / "m.tflite").write_bytes(varied(3))
        model = [str(tmp_path / "m.tflite")]
    if command is run_command:
        np.save(tmp_path / "x.npy", np.zeros((1, 11, 9, 3), np.int8))
        model += ["--input", str(tmp_path / "x.npy")]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit, match="2"):
        command.main(["--rows", "8", "--cols", "8", *model, *words.split()])
    said = capsys.readouterr().err
    assert wanted in said and len(said.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_page():
    """docs/accelerator.md says what accelerator.json and the tables of registers say."""
    committed = json.loads((page.DOCS / "accelerator.json").read_text())
    assert (page.DOCS / "accelerator.md").read_text() == page.render(committed), (
        "python -m sim.accelerator.page"
    )
    for name, cycles in CYCLES.items():
        assert committed["networks"][name]["cycles"]["16 x 16"] == cycles


@needs("models/kws_ref_model.tflite")
def test_counts_of_the_page():
    """The numbers are those of the code."""
    committed = json.loads((page.DOCS / "accelerator.json").read_text())
    graph = network("kws_ref_model")
    assert (
        page.count(graph) | {"shared": page.shared(graph)} == committed["networks"]["kws_ref_model"]
    )
