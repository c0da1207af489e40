"""A board's design: at its pins, on boards, and what its commands say."""

from __future__ import annotations

import json
import math
import os
import random
import re
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.int8 import tflite, transform
from hw.accelerator.config import BURST, AcceleratorConfig
from hw.board import main as board_main
from hw.board import needs as needed
from hw.board import part_of
from hw.boards import link as packets
from hw.boards import litedram
from hw.boards.catalog import BOARDS, add_options, design_of
from hw.boards.config import SDRAM_BYTES, BoardConfig
from hw.boards.memory import LATENCY
from hw.boards.platform import plan, pll
from hw.config import ArrayConfig
from hw.emit import emit_board
from report.command import OneLineParser
from report.errors import Failure, UserError
from sim.accelerator.compiler import compile_graph
from sim.board.board import Board
from sim.board.link import Link, packet
from sim.board.pins import Pins
from sim.host import linked
from sim.host import main as host_main
from verif.lib.cocotb_build import Built
from verif.lib.fetch import find, needs
from verif.lib.models import Net, load
from verif.lib.wild import inputs

SOAK = "STOS_SOAK" in os.environ
CONFIG = AcceleratorConfig(
    array=ArrayConfig(rows=4, cols=4, st_os=True), axi_width=64, act_kib=8, wgt_kib=4
)
#: Four cycles a bit: simulated time is dear.
SMALL = BoardConfig(accelerator=CONFIG, memory_kib=32, clock=1_000_000, baud=250_000)


def small(folder):
    """Return a small network, and its program."""
    net = Net(1, (1, 6, 7, 3))
    x = net.conv(net.input, (3, 3), 9)
    graph = load(net.done(net.depthwise(x, (3, 3), StrideH=2, StrideW=2)), folder)
    return graph, compile_graph(graph, CONFIG)


@pytest.fixture(scope="module")
def pins():
    """Return the simulated board."""
    found = Pins(SMALL)
    found.timeout = 0.05
    yield found
    found.close()


def ran(board, graph, program, seed=0):
    """Run a network on a board; compare outputs and cycles."""
    given = inputs(graph, seed)
    values = graph.values(given) | {one.operator.output: one.output for one in graph.steps(*given)}
    result = board.run(program, [values[one] for one in program.inputs])
    for tensor, value in zip(program.outputs, result.outputs, strict=True):
        assert np.array_equal(value, values[tensor])
    if result.cycles != program.timing(LATENCY).cycles:
        assert board.link.facts.memory == SDRAM_BYTES  # which no model says
    return result


def test_network_at_the_pins(pins, tmp_path):
    """Image and input in, outputs back, cycles as predicted, lights; twice."""
    graph, program = small(tmp_path)
    board = Board(Link(pins), CONFIG, lambda: pins.cycles / SMALL.clock)
    for seed in range(2):
        result = ran(board, graph, program, seed)
        assert all(value > 0 for value in result.seconds.values())
        pins.read(1)  # time goes on
        assert pins.lights == 2
    assert board.link.repeated == 0
    # A byte takes 40 cycles, and packets of 256 bytes 12 more and an answer.
    least = 40 * len(program.image) / SMALL.clock
    assert least < result.seconds["image"] < 1.2 * least


@pytest.fixture(scope="module")
def sdram():
    """Return a simulated board with a chip of SDRAM, which has to be refreshed in time."""
    found = Pins(replace(SMALL, clock=50_000_000, baud=12_500_000, sdram=True))
    yield found
    found.close()


def test_sdram_at_the_pins(sdram, tmp_path):
    """Words anywhere in the chip; a network, once the chip was left alone for a while."""
    link = Link(sdram)
    dice = random.Random(1)
    pages = [0, *(1 << bit for bit in range(8, 25))]  # every bit of an address counts
    pages += [256 * dice.randrange(SDRAM_BYTES // 256) for _ in range(40)]
    written = {page: dice.randbytes(4 * dice.randint(1, 64)) for page in pages}
    for address, data in written.items():
        link.write(address, data)
    sdram.timeout = 0.005
    sdram.read(1)
    for address, data in reversed(written.items()):
        assert link.read(address, len(data)) == data
    with pytest.raises(Failure, match="there is nothing"):
        link.write(SDRAM_BYTES - 4, bytes(8))
    graph, program = small(tmp_path)
    noise = dice.randbytes(8192)
    for seed in range(2):
        link.write(0, noise)
        ran(Board(link, CONFIG), graph, program, seed)
        sizes = len(program.image), math.prod(program.inputs[0].shape)
        end = sum(-(-size // BURST) * BURST for size in sizes) + math.prod(program.outputs[0].shape)
        assert end % CONFIG.axi_bytes  # a part of a beat is written
        assert link.read(end, 8192 - end) == noise[end:]
    assert link.repeated == 0


@pytest.mark.parametrize(("clock", "post"), [(50, 12), (60, 10), (40, 15)])
def test_sdram_at_plans(clock, post):
    """The chip's pins, and a clock that is a quarter of a cycle late."""
    design = BoardConfig(
        accelerator=CONFIG, memory_kib=32, clock=clock * 1_000_000, baud=2_000_000, sdram=True
    )
    made = plan("ulx3s-85f", design, "// the design", 1, "top")
    located = re.findall(r'LOCATE COMP "sdram_0__(\w+?)__io', made.files["top.lpf"])
    assert Counter(located) == {
        "a": 13, "ba": 2, "cas": 1, "clk": 1, "clk_en": 1, "cs": 1, "dq": 16, "dqm": 2, "ras": 1,
        "we": 1,
    }  # fmt: skip
    phases = {
        name: int(value)
        for name, value in re.findall(r"parameter .(CLKO[PS]_\w+) (\d+)", made.files["top.il"])
    }
    assert phases["CLKOP_DIV"] == phases["CLKOS_DIV"] == post
    eighths = 8 * (phases["CLKOS_CPHASE"] - phases["CLKOP_CPHASE"]) + phases["CLKOS_FPHASE"]
    assert eighths == 8 * post / 4


def test_text_of_litedram():
    """It is the same whenever it is made; a version that writes something else is not built."""
    text = litedram.generate(50_000_000, 64).text
    assert text.startswith("module") and text.endswith("endmodule\n") and "LiteX on" not in text
    with pytest.raises(Failure, match="0 of 16 data pins found"):
        litedram.adapted("module litedram_core (\n    input wire [15:0] sdram_dq\n);\nendmodule\n")


def parsed(words):
    """Return the options that describe a design."""
    parser = OneLineParser("x", "y")
    add_options(parser)
    return parser.parse_args(words)


def test_errors_at_the_pins(pins, tmp_path):
    """A run that ends with an error says so, and by a light; another array is refused."""
    graph, program = small(tmp_path)
    link = Link(pins)
    board = Board(link, CONFIG)
    other = AcceleratorConfig(array=CONFIG.array, axi_width=64, act_kib=8, wgt_kib=8)
    with pytest.raises(Failure, match="the run ended at job 0: .*image"):
        board.run(compile_graph(graph, other), [np.zeros((1, 6, 7, 3), np.int8)])
    pins.read(1)
    assert pins.lights == 6
    other = AcceleratorConfig(array=ArrayConfig(rows=8, cols=4), axi_width=64)
    with pytest.raises(UserError, match="the board has 4 x 4 ST-OS, not 8 x 4"):
        Board(link, other)
    link.facts = replace(link.facts, memory=1024)
    with pytest.raises(UserError, match=r"need \d+ KiB, the board has 1"):
        board.run(program, [np.zeros((1, 6, 7, 3), np.int8)])
    with pytest.raises(Failure, match="does not write at 0x00007ffc: there is nothing"):
        link.write(32768 - 4, bytes(8))
    ran(Board(Link(pins), CONFIG), graph, program)


def test_another_memory(pins):
    """A board with another memory than was said is refused, before its cycles are wrong."""
    other = replace(SMALL, clock=50_000_000, baud=12_500_000, sdram=True)
    with pytest.raises(UserError, match="has 32 KiB of block RAM: leave out --sdram"):
        linked(pins, other)
    link = linked(pins, SMALL)
    assert link.facts.memory == SMALL.memory_bytes


class Lossy:
    """A port that changes or loses some bytes of both directions."""

    def __init__(self, pins, seed, rate):
        self.pins, self.dice, self.rate = pins, random.Random(seed), rate
        self.timeout = pins.timeout = 0.05

    def _spoil(self, data):
        found = bytearray()
        for byte in data:
            luck = self.dice.random()
            if luck < self.rate:
                found.append(byte ^ 1 << self.dice.randrange(8))
            elif luck > self.rate / 2:
                found.append(byte)
        return bytes(found)

    def write(self, data):
        """Send bytes, most of them."""
        self.pins.write(self._spoil(data))

    def read(self, count):
        """Return what comes, or most of it."""
        found = self._spoil(self.pins.read(count))
        return found if len(found) == count or not found else found + self.pins.read(1)


def test_a_bad_wire(pins):
    """What gets lost is asked for again, and all of it arrives."""
    link = Link(pins)
    data = random.Random(1).randbytes(6000)
    link._port = Lossy(pins, 1, 0.0005)
    link.write(1024, data)
    assert link.read(1024, 6000) == data
    assert link.read(1027, 13) == data[3:16]
    assert link.repeated > 0
    link._port = Lossy(pins, 1, 1.0)
    with pytest.raises(Failure, match="the board does not answer"):
        link.read(0, 4)
    pins.timeout = 0.05


class Parser:
    """A port, and what the packets that go through it write, if they are whole."""

    def __init__(self, pins, memory):
        self.pins, self.memory, self.timeout = pins, bytearray(memory), pins.timeout
        self._begun, self._last, self.writes = b"", None, 0

    def send(self, items):
        """Send bytes; those with a wrong stop bit are none."""
        self.pins.send(items)
        for item in items:
            if not item & 256 and (self._begun or item & 255 == packets.REQUEST):
                self._begun += bytes([item & 255])
                self._look()

    def write(self, data):
        """Send bytes."""
        self.send(list(data))

    def read(self, count):
        """Return what comes; if that takes too long for the board, it begins anew."""
        self.pins.timeout = self.timeout
        found = self.pins.read(count)
        if len(found) < count and self.timeout > 0.02:
            self._begun = b""
        return found

    def _look(self):
        if len(self._begun) < 8:
            return
        _, operation, number, words, address = struct.unpack("<4BI", self._begun[:8])
        size = 8 + 4 * words * (operation == packets.WRITE)
        if 1 <= words <= packets.LARGEST and len(self._begun) < size + 4:
            return
        data, crc = self._begun[8:size], self._begun[size:]
        if zlib.crc32(self._begun[1:size]) == int.from_bytes(crc, "little") and len(crc) == 4:
            inside = address % 4 == 0 and address + 4 * words <= len(self.memory)
            if operation == packets.WRITE and inside and number != self._last:
                self.memory[address : address + len(data)] = data
                self.writes += 1
            self._last = number
        self._begun = b""


def test_broken_packets(pins):
    """Noise, cut and changed packets, wrong stop bits: nothing hangs; what is whole is written."""
    dice = random.Random(2)
    size = 1024 * SMALL.memory_kib
    image = dice.randbytes(size)
    Link(pins).write(0, image)
    port = Parser(pins, image)
    link = Link(port)
    pause = 64  # bits of silence in front of a packet
    for number in range(100_000 if SOAK else 150):
        words = dice.randint(1, 8)
        operation = dice.choice([packets.WRITE, packets.WRITE, dice.randrange(256)])
        address = 4 * dice.randrange(1 << dice.choice([13, 29]))
        data = dice.randbytes(4 * words)
        whole = packet(operation, number % 256, words, address, data)
        kind = dice.choice(["noise", "cut", "changed", "stop", "whole"])
        if kind == "whole":  # if nothing is left of what came before
            whole = packet(packets.WRITE, number % 256, words, address % 8192, data)
        items = list(whole)
        at = dice.randrange(1, len(items))
        if kind == "noise":
            items = [dice.randrange(256) for _ in range(dice.randint(1, 60))]
        elif kind == "cut":  # and at times the next one begins with what is missing
            items = items[:at]
        elif kind == "changed":
            items[at] ^= 1 << dice.randrange(8)
        elif kind == "stop":
            items[at] |= 256
        items[0] |= dice.choice([0, 0, pause << 9])
        port.send(items)
        if number % 50 == 49:
            port.read(4096)  # silence, so that what has begun is given up
            assert Link(port).facts == link.facts
    assert link.read(0, size) == port.memory
    assert link.repeated == 0  # never more on the way than the board takes
    assert port.writes > 5


def test_more_than_the_board_takes(pins):
    """A host that asks faster than the answers go loses what does not fit, and nothing else."""
    link = Link(pins)
    before = link.read(0, 1024)
    pins.write(b"".join(packet(packets.READ, n % 256, packets.LARGEST, 0) for n in range(200)))
    while pins.read(4096):
        pass
    assert Link(pins).facts == link.facts
    assert link.read(0, 1024) == before


def test_lights_do_not_disturb(pins):
    """The design looks at the status by itself; no answer to that goes to the host."""
    link = Link(pins)
    assert {link.read_register(8) for _ in range(1500)} == {4 | 4 << 16}


class Foreign:
    """A port with something else behind it."""

    def __init__(self, answer):
        self.timeout, self._answer, self._sent = 0.0, answer, b""

    def write(self, data):
        """Take bytes."""
        self._sent += data

    def read(self, count):
        """Return what it has to say."""
        found, self._sent = self._answer(self._sent, count)
        return found


def silent_first(answer):
    """Return what says nothing before it is asked."""
    return lambda sent, count: (answer(count) if sent else b"", sent)


@pytest.mark.parametrize(
    "answer",
    [
        lambda sent, count: (sent[:count], sent[count:]),  # what it is sent
        lambda sent, count: (bytes(count), sent),  # zeros, all the time
        silent_first(bytes),
        silent_first(lambda count: bytes([packets.ANSWER] * count)),
    ],
)
def test_a_foreign_device(answer):
    """Something else at the port is said, and does not hang the host."""
    with pytest.raises(Failure, match="the board does not answer|what answers is no board"):
        Link(Foreign(answer))


def test_an_older_run(pins, tmp_path):
    """What an earlier host asked for, or began, does not disturb."""
    graph, program = small(tmp_path)
    pins.write(b"".join(packet(packets.READ, n, packets.LARGEST, 0) for n in range(1, 30)))
    link = Link(pins)
    board = Board(link, CONFIG)
    ran(board, graph, program)
    link.write_register(0x10, 1)  # and nobody waits
    ran(Board(Link(pins), CONFIG), graph, program, 1)


@needs("models/kws_ref_model.tflite")
def test_shapes_of_the_page():
    """Cycles, multipliers and images of docs/boards.md are those of the code."""
    graph = transform.recognize(tflite.load(find("models/kws_ref_model.tflite")))
    page = (Path(__file__).parents[1] / "docs/boards.md").read_text()
    rows = re.findall(
        r"\| (\d+) x (\d+) \| (\d) \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", page
    )
    assert len(rows) == 3
    for height, width, lanes, *found in rows:
        array = ArrayConfig(rows=int(height), cols=int(width), st_os=True, mac_stages=2)
        config = AcceleratorConfig(
            array=array, act_kib=64, wgt_kib=4, axi_width=64, rows_per_lane=int(lanes)
        )
        design = BoardConfig(accelerator=config, memory_kib=288, clock=50_000_000, baud=2_000_000)
        program = compile_graph(graph, config)
        cycles = program.timing(LATENCY).cycles
        values = needed(design)["DSP"], cycles, design.clock / cycles, len(program.image)
        assert found == [f"{value:,.0f}" for value in values]


@pytest.mark.parametrize("board", BOARDS)
def test_plans(board):
    """Every board has clock, wire and lights on pins of its own, and the whole design."""
    clock = BOARDS[board].clock
    design = BoardConfig(accelerator=CONFIG, memory_kib=32, clock=int(1e6 * clock), baud=2_000_000)
    made = plan(board, design, "// the design", 7, "top")
    pins_of = {
        line.split('"')[1]: line.split('"')[3]
        for line in made.files["top.lpf"].splitlines() if line.startswith("LOCATE")
    }  # fmt: skip
    assert len(set(pins_of.values())) == len(pins_of)
    lines = " ".join(pins_of)
    assert "uart_0__rx" in lines and "uart_0__tx" in lines and "clk" in lines
    assert sum("led" in name for name in pins_of) == 3
    given = re.search(r'FREQUENCY PORT "\w*clk\w*__io" ([\d.]+) HZ', made.files["top.lpf"])
    divided = re.search(r"CLKI_DIV (\d+)", made.files["top.il"])
    multiplied = re.search(r"CLKFB_DIV (\d+)", made.files["top.il"])
    assert given and divided and multiplied
    made_of = float(given[1]) / int(divided[1]) * int(multiplied[1])
    assert made_of == pytest.approx(1e6 * clock, rel=1e-3)
    assert "--seed 7" in made.files["build_top.sh"]
    assert made.files["stos_board.v"] == "// the design"


@pytest.mark.parametrize("given", [25, 48, 100])
@pytest.mark.parametrize("wanted", [40, 60])
def test_pll(given, wanted):
    """The divisors give the clock, within the limits of the device."""
    divide, multiply, post = pll(given, wanted)
    assert abs(given / divide * multiply / wanted - 1) < 1e-3
    assert 3.125 <= given / divide <= 400
    assert 400 <= given / divide * multiply * post <= 800


def test_pll_in_the_middle():
    """The oscillator is not at its ends where it need not be."""
    assert pll(25, 50) == (1, 2, 12)


def test_pll_that_there_is_not():
    with pytest.raises(UserError, match="no PLL makes 50.123 MHz of 25"):
        pll(25, 50.123)


@pytest.mark.parametrize(
    "words", ["", "--st-os --mac-stages 1 --axi-width 128 --clock 40", "--sdram"]
)
def test_flags(words):
    """A design's options are those of the same design."""
    first = design_of(parsed(["--rows", "4", "--cols", "8", *words.split()]))
    assert design_of(parsed(first.flags().split())) == first
    assert first.flags() in emit_board(first)


def test_a_plain_run_loses_nothing(tmp_path, monkeypatch):
    """Writing a design again leaves what was built of it."""
    monkeypatch.chdir(tmp_path)
    words = "--board ulx3s-85f --rows 4 --cols 4 --act-kib 8 --memory-kib 32".split()
    bits = tmp_path / "build/boards/ulx3s-85f/top.bit"
    bits.parent.mkdir(parents=True)
    bits.write_text("bits")
    assert board_main(words) == 0
    assert bits.read_text() == "bits"


def test_parts():
    """Cells belong to the parts that their names say."""
    for cell, part in (
        ("board.link.head_TRELLIS_FF_Q", "link"), ("pll", "clock, reset, pins"),
        ("board.looks_LUT4", "lights, wires"),
        ("board.accelerator.machine.engine.grid.row_0.pe_1.x", "array"),
        ("board.accelerator.machine.engine.lane_3.x", "requantization lanes"),
        ("board.accelerator.machine.engine.pacer.x", "engine"),
        ("board.accelerator.machine.memory.even.memory", "activation memory"),
        ("board.accelerator.machine.job_ring.x", "machine"),
        ("board.accelerator.store.x", "registers and AXI4"), ("board.memory.ram.x", "memory"),
    ):  # fmt: skip
        assert part_of(cell) == part


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--board icestick --rows 8 --cols 8", "invalid choice: 'icestick'"),
        ("--board ulx3s-85f --rows 16 --cols 16", "320 DSP of 156, 159 BRAM of 208"),
        ("--board ulx3s-85f --rows 8 --cols 8 --memory-kib 512", "258 BRAM of 208"),
        ("--board ulx3s-85f --rows 8 --cols 8 --memory-kib 6", "a multiple of 4 from 4"),
        ("--board ulx3s-85f --rows 8 --cols 8 --clock 0.5", "--clock must be 1 to 400 MHz"),
        ("--board ulx3s-85f --rows 8 --cols 8 --clock 50.123", "no PLL makes 50.123 MHz of 25"),
        ("--board ulx3s-85f --rows 8 --cols 8 --baud 20000000", "at most a quarter of the clock"),
        ("--board ecpix5-85f --rows 8 --cols 8 --sdram", "--sdram is for ulx3s-85f, not for ecpix"),
        ("--board ulx3s-85f --rows 8 --cols 8 --sdram --clock 150", "14 to 133 MHz, not 150"),
        ("--board ulx3s-85f --rows 8 --cols 8 --sdram --memory-kib 8", "not allowed with argument"),
    ],
)
def test_bad_designs(words, wanted, capsys, tmp_path, monkeypatch):
    """One line and status 2."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(board_main(words.split()))
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert wanted in captured.err and not captured.out
    assert not list(tmp_path.rglob("*.v"))


def test_programs_what_was_built(capsys, tmp_path, monkeypatch):
    """A bitstream of other options, or of a build that failed, is not loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENFPGALOADER", "true")
    words = "--board ulx3s-85f --rows 4 --cols 4 --act-kib 8 --memory-kib 32".split()
    assert board_main(words) == 0
    folder = tmp_path / "build/boards/ulx3s-85f"
    for name, text in (("top.bit", "bits"), ("top.stamp", "of something else")):
        (folder / name).write_text(text)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(board_main([*words, "--program"]))
    assert ended.value.code == 2
    assert "there is no bitstream of this design" in capsys.readouterr().err
    design = design_of(parsed(words[2:]))  # but for the board
    made = plan("ulx3s-85f", design, emit_board(design), 1, "top")
    (folder / "top.stamp").write_text(made.digest().hex())
    assert board_main([*words, "--program"]) == 0


def test_bad_hosts(capsys, tmp_path):
    """A port that is none, in one line."""
    net = Net(1, (1, 4, 4, 2))
    (tmp_path / "model.tflite").write_bytes(net.done(net.conv(net.input, (1, 1), 3)))
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 4, 2), np.int8))
    common = [str(tmp_path / "model.tflite"), "--input", str(tmp_path / "x.npy")]
    words = ["--port", "/dev/nothing", *common, "--rows", "4", "--cols", "4"]
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(host_main(words))
    assert ended.value.code == 2
    assert "--port /dev/nothing: " in capsys.readouterr().err


def test_commands(capsys, tmp_path, monkeypatch):
    """A design without a build; a network on its pins."""
    monkeypatch.chdir(tmp_path)
    design = "--rows 4 --cols 4 --st-os --act-kib 8 --memory-kib 32 --mac-stages 1".split()
    assert board_main(["--board", "ulx3s-85f", *design]) == 0
    text = (tmp_path / "build/boards/ulx3s-85f/stos_board.v").read_text()
    assert "module stos_board " in text
    assert "--build runs it" in capsys.readouterr().out
    net = Net(1, (1, 6, 7, 3))
    model = net.done(net.conv(net.input, (3, 3), 9))
    (tmp_path / "model.tflite").write_bytes(model)
    np.save(tmp_path / "x.npy", np.ones((1, 6, 7, 3), np.int8))
    words = ["--port", "sim", "model.tflite", "--input", "x.npy", "--json", "x.json", *design]
    slow = "--clock 1 --baud 250000".split()  # fewer cycles to wait for
    assert host_main([*words, *slow]) == 0
    out = capsys.readouterr().out
    assert "outputs equal the golden model's" in out and "cycles, as predicted" in out
    data = json.loads((tmp_path / "x.json").read_text())
    assert data["cycles"] == data["predicted_cycles"] > 0


def test_another_end(tmp_path):
    """Cocotbext's UART, and packets made by hand, load and run a network."""
    graph, program = small(tmp_path)
    given = inputs(graph)
    values = graph.values(given) | {one.operator.output: one.output for one in graph.steps(*given)}
    (source,), (target,) = program.inputs, program.outputs
    (tmp_path / "image.bin").write_bytes(program.image)
    (tmp_path / "input.bin").write_bytes(source.outside(values[source]).tobytes())
    output = target.outside(np.ascontiguousarray(values[target])).tobytes()
    (tmp_path / "output.bin").write_bytes(output)
    top = -(-len(program.image) // 256) * 256
    facts = {
        "period_ns": 1000, "clock": SMALL.clock, "baud": SMALL.baud, "memory": 32768,
        "load": [(0, "image.bin"), (top, "input.bin")],
        "addresses": [0, top, top + 1024, top + 2048],
        "cycles": program.timing(LATENCY).cycles,
    }  # fmt: skip
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    built = Built(emit_board(SMALL), "stos_board", "verif.cocotb_board", tmp_path)
    assert built.run({"FACTS": str(tmp_path / "facts.json")}) == {"network": ""}


if SOAK:

    @pytest.mark.parametrize(
        ("model", "memory"),
        [("models/kws_ref_model.tflite", 288), ("models/vww_96_int8.tflite", 288),
         ("examples/mobilenet_v2_46k.tflite", None)],
    )  # fmt: skip
    def test_whole_networks(model, memory):
        """Keyword spotting, visual wake words and a FuSe network at the pins, 8 x 8."""
        path = Path(model) if model.startswith("examples") else find(model)
        graph = transform.recognize(tflite.load(path))
        array = ArrayConfig(rows=8, cols=8, st_os=True, mac_stages=2)
        config = AcceleratorConfig(array=array, act_kib=64, wgt_kib=4, axi_width=64)
        design = BoardConfig(
            accelerator=config, memory_kib=memory or 4, clock=50_000_000, baud=12_500_000,
            sdram=memory is None,
        )  # fmt: skip
        simulated = Pins(design)
        ran(Board(Link(simulated), config), graph, compile_graph(graph, config))
        simulated.close()
