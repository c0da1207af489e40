"""The registers of the accelerator: one table, and the AXI4-Lite port that shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = [
    "CONTROL_PORTS",
    "COUNTERS",
    "ERRORS",
    "IDENTITY",
    "REGISTERS",
    "Register",
    "Registers",
    "VERSION",
]

IDENTITY = 0x53544F53  # "STOS", read as big-endian text
VERSION = (1, 0, 0)

#: What a clock cycle of a run can be spent on: exactly one of these.
COUNTERS = {
    "ARRAY": "operands enter the array",
    "WEIGHTS": "waiting for weights",
    "ACTIVATIONS": "waiting for activations",
    "RESULTS": "waiting for results or requantization",
}

#: Codes of STATUS.
ERRORS = {
    1: "aborted",
    2: "bad image: magic, version, or the image of another machine",
    3: "illegal job",
    4: "AXI read error",
    5: "AXI write error",
    6: "misaligned address",
}


@dataclass(frozen=True, kw_only=True)
class Register:
    """A register.

    Parameters
    ----------
    name : str
    offset : int
        In bytes.
    access : str
        ``ro``, ``rw``, ``wo`` or ``w1c`` (a written 1 clears the bit).
    text : str
        What it means.
    bits : int
        32 or 64; the low half comes first.
    fields : dict of str to (int, int)
        Lowest bit and width of each.
    mask : int
        Bits that can be written.
    """

    name: str
    offset: int
    access: str
    text: str
    bits: int = 32
    fields: dict[str, tuple[int, int]] = field(default_factory=dict)
    mask: int = 0xFFFFFFFF


#: All registers, by their offsets.
REGISTERS = (
    Register(name="ID", offset=0x000, access="ro", text=f"0x{IDENTITY:08X}"),
    Register(
        name="VERSION", offset=0x004, access="ro", text="of the registers and of the image",
        fields={"patch": (0, 8), "minor": (8, 8), "major": (16, 16)},
    ),
    Register(
        name="SHAPE", offset=0x008, access="ro", text="of the array",
        fields={"rows": (0, 16), "cols": (16, 16)},
    ),
    Register(
        name="FEATURES", offset=0x00C, access="ro", text="what the machine has",
        fields={"st_os": (0, 1), "log2_axi_bytes": (8, 8)},
    ),
    Register(
        name="CONTROL", offset=0x010, access="wo",
        text="start a run; abort it at the next safe point. Start while busy is refused",
        fields={"start": (0, 1), "abort": (1, 1)}, mask=0x3,
    ),
    Register(
        name="STATUS", offset=0x014, access="ro",
        text="of the run: code of the error, index of the job",
        fields={"busy": (0, 1), "done": (1, 1), "error": (2, 1), "code": (8, 8), "job": (16, 16)},
    ),
    Register(
        name="IRQ_ENABLE", offset=0x018, access="rw", text="which events raise irq",
        fields={"done": (0, 1), "error": (1, 1)}, mask=0x3,
    ),
    Register(
        name="IRQ_PENDING", offset=0x01C, access="w1c", text="events since they were cleared",
        fields={"done": (0, 1), "error": (1, 1)}, mask=0x3,
    ),
    Register(
        name="IMAGE", offset=0x020, access="rw", bits=64,
        text="address of the image, a multiple of 64",
    ),
    Register(name="INPUT", offset=0x028, access="rw", bits=64, text="address of the inputs"),
    Register(name="OUTPUT", offset=0x030, access="rw", bits=64, text="address of the outputs"),
    Register(name="SCRATCH", offset=0x038, access="rw", bits=64, text="address of the spill area"),
    Register(
        name="CYCLES", offset=0x040, access="ro", bits=64,
        text="clock cycles of the last run, from the start to done",
    ),
    *(
        Register(name=f"{name}_CYCLES", offset=0x048 + 8 * n, access="ro", bits=64, text=text)
        for n, (name, text) in enumerate(COUNTERS.items())
    ),
    Register(name="BYTES_READ", offset=0x068, access="ro", bits=64, text="from memory"),
    Register(name="BYTES_WRITTEN", offset=0x070, access="ro", bits=64, text="to memory"),
)  # fmt: skip

_OKAY, _SLVERR = 0, 2
_ADDRESSES = ("image", "input", "output", "scratch")
_COUNTED = (
    "cycles",
    *(name.lower() + "_cycles" for name in COUNTERS),
    "bytes_read",
    "bytes_written",
)


#: Ports of the AXI4-Lite interface: name, direction and width.
CONTROL_PORTS = tuple(
    (f"s_axi_ctl_{name}", direction, width)
    for name, direction, width in (
        ("awaddr", "input", 12), ("awprot", "input", 3), ("awvalid", "input", 1),
        ("awready", "output", 1), ("wdata", "input", 32), ("wstrb", "input", 4),
        ("wvalid", "input", 1), ("wready", "output", 1), ("bresp", "output", 2),
        ("bvalid", "output", 1), ("bready", "input", 1), ("araddr", "input", 12),
        ("arprot", "input", 3), ("arvalid", "input", 1), ("arready", "output", 1),
        ("rdata", "output", 32), ("rresp", "output", 2), ("rvalid", "output", 1),
        ("rready", "input", 1),
    )
)  # fmt: skip


class Registers(SharedComponent):
    """The AXI4-Lite port: 32-bit data, 12-bit address, one access of each direction at a time.

    The address and the data of a write come in any order. An access to a register that does not
    exist, a write to one that cannot be written, and a start while busy are answered with SLVERR
    and change nothing. Writes take the bytes of their strobe.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the array.
    features : int
        FEATURES.

    Members
    -------
    s_axi_ctl_* : AXI4-Lite
    i_done : In(1)
        The run ends in this cycle.
    i_code : In(8)
        With it: code of the error, 0 for none.
    i_job : In(16)
        Index of the job.
    i_{cycles,...} : In(64)
        The counters.
    o_start, o_abort : Out(1)
        A run is to begin, or to stop; the latter a cycle later.
    o_busy : Out(1)
        From the cycle after `o_start` to that of `i_done`.
    o_{image,input,output,scratch} : Out(64)
        Addresses.
    o_irq : Out(1)
        The interrupt.

    Latency: a write takes effect in the cycle after both its parts are there; a read shows the
    register in the cycle after its address is taken.
    """

    s_axi_ctl_awaddr: Signal
    s_axi_ctl_awprot: Signal
    s_axi_ctl_awvalid: Signal
    s_axi_ctl_awready: Signal
    s_axi_ctl_wdata: Signal
    s_axi_ctl_wstrb: Signal
    s_axi_ctl_wvalid: Signal
    s_axi_ctl_wready: Signal
    s_axi_ctl_bresp: Signal
    s_axi_ctl_bvalid: Signal
    s_axi_ctl_bready: Signal
    s_axi_ctl_araddr: Signal
    s_axi_ctl_arprot: Signal
    s_axi_ctl_arvalid: Signal
    s_axi_ctl_arready: Signal
    s_axi_ctl_rdata: Signal
    s_axi_ctl_rresp: Signal
    s_axi_ctl_rvalid: Signal
    s_axi_ctl_rready: Signal
    i_done: Signal
    i_code: Signal
    i_job: Signal
    o_start: Signal
    o_abort: Signal
    o_busy: Signal
    o_irq: Signal

    def __init__(self, *, shape: tuple[int, int], features: int) -> None:
        signature: dict[str, Any] = {
            name: (In if direction == "input" else Out)(width)
            for name, direction, width in CONTROL_PORTS
        }
        signature |= {"i_done": In(1), "i_code": In(8), "i_job": In(16)}
        signature |= {f"i_{name}": In(64) for name in _COUNTED}
        signature |= {"o_start": Out(1), "o_abort": Out(1), "o_busy": Out(1), "o_irq": Out(1)}
        signature |= {f"o_{name}": Out(64) for name in _ADDRESSES}
        super().__init__(
            kind="registers", parameters=(shape, features), signature=signature, resets=True
        )
        self.shape, self.features = shape, features

    def body(self, platform: object) -> Module:
        """Build both directions of the port, and the state behind it."""
        m = Module()
        enable = Signal(2)
        pending = Signal(2)
        busy = Signal()
        done = Signal()
        error = Signal()
        code = Signal(8)
        addresses = {name: Signal(64, name=name) for name in _ADDRESSES}

        write, index, data, strobe, answer = self._write(m)
        halves = {name.upper(): address for name, address in addresses.items()}
        mask = Cat(bit.replicate(8) for bit in strobe)
        start = Signal()
        abort = Signal()
        legal = Signal()
        control = strobe[0] & data[0]
        m.d.comb += [
            answer.eq(Mux(legal, _OKAY, _SLVERR)),
            self.o_start.eq(start),
            self.o_busy.eq(busy),
            self.o_irq.eq((pending & enable).any()),
        ]
        with m.Switch(index):
            for register in REGISTERS:
                if register.access == "ro":
                    continue
                for half in range(register.bits // 32):
                    with m.Case(register.offset // 4 + half):
                        if register.name == "CONTROL":
                            m.d.comb += [
                                legal.eq(~(control & busy)),
                                start.eq(write & control & ~busy),
                                abort.eq(write & strobe[0] & data[1] & busy),
                            ]
                        elif register.name == "IRQ_PENDING":
                            m.d.comb += legal.eq(1)
                        else:
                            m.d.comb += legal.eq(1)
                            target: Value = enable
                            if register.name in halves:
                                target = halves[register.name].word_select(half, 32)
                            kept = mask[: len(target)]
                            with m.If(write):
                                m.d.sync += target.eq(
                                    (target & ~kept) | (data[: len(target)] & kept)
                                )
        events = Cat(self.i_done, self.i_done & self.i_code.any())
        cleared = Signal(2)
        offset = next(one.offset for one in REGISTERS if one.name == "IRQ_PENDING")
        with m.If(write & (index == offset // 4) & strobe[0]):
            m.d.comb += cleared.eq(data[:2])
        m.d.sync += self.o_abort.eq(abort)
        m.d.sync += pending.eq((pending & ~cleared) | events)
        with m.If(start):
            m.d.sync += [busy.eq(1), done.eq(0), error.eq(0), code.eq(0)]
        with m.If(self.i_done):
            m.d.sync += [
                busy.eq(0), done.eq(1), error.eq(self.i_code.any()), code.eq(self.i_code),
            ]  # fmt: skip
        for name, address in addresses.items():
            m.d.comb += getattr(self, f"o_{name}").eq(address)

        major, minor, patch = VERSION
        shown: dict[str, Value] = {
            "ID": Const(IDENTITY, 32),
            "VERSION": Const(major << 16 | minor << 8 | patch, 32),
            "SHAPE": Const(self.shape[0] | self.shape[1] << 16, 32),
            "FEATURES": Const(self.features, 32),
            "CONTROL": Const(0, 32),
            "STATUS": Cat(busy, done, error, Const(0, 5), code, self.i_job),
            "IRQ_ENABLE": Cat(enable, Const(0, 30)),
            "IRQ_PENDING": Cat(pending, Const(0, 30)),
            **{name.upper(): address for name, address in addresses.items()},
            **{name.upper(): getattr(self, f"i_{name}") for name in _COUNTED},
        }
        self._read(m, shown)
        return m

    def _write(self, m: Module) -> tuple[Value, Value, Value, Value, Signal]:
        """Build the write channels; return when a write happens, its word, data, and strobe.

        The last is what it is answered with.
        """
        has_address = Signal()
        has_data = Signal()
        answering = Signal()
        index = Signal(10)
        data = Signal(32)
        strobe = Signal(4)
        answer = Signal(2)
        kept = Signal(2)
        write = Signal()
        m.d.comb += [
            self.s_axi_ctl_awready.eq(~has_address),
            self.s_axi_ctl_wready.eq(~has_data),
            self.s_axi_ctl_bvalid.eq(answering),
            self.s_axi_ctl_bresp.eq(kept),
            write.eq(has_address & has_data & ~answering),
        ]
        with m.If(self.s_axi_ctl_awvalid & ~has_address):
            m.d.sync += [has_address.eq(1), index.eq(self.s_axi_ctl_awaddr[2:])]
        with m.If(self.s_axi_ctl_wvalid & ~has_data):
            m.d.sync += [
                has_data.eq(1), data.eq(self.s_axi_ctl_wdata), strobe.eq(self.s_axi_ctl_wstrb),
            ]  # fmt: skip
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_data.eq(0), answering.eq(1), kept.eq(answer)]
        with m.If(answering & self.s_axi_ctl_bready):
            m.d.sync += answering.eq(0)
        return write, index, data, strobe, answer

    def _read(self, m: Module, shown: dict[str, Value]) -> None:
        """Build the read channels."""
        words: dict[int, Value] = {}
        for register in REGISTERS:
            for half in range(register.bits // 32):
                words[register.offset // 4 + half] = shown[register.name].word_select(half, 32)
        length = max(words) + 1
        index = self.s_axi_ctl_araddr[2:]
        valid = Signal()
        data = Signal(32)
        answer = Signal(2)
        there = Array(Const(int(n in words), 1) for n in range(length))
        values = Array(words.get(n, Const(0, 32)) for n in range(length))
        short = index[: (length - 1).bit_length()]
        exists = (index < length) & there[short]
        m.d.comb += [
            self.s_axi_ctl_arready.eq(~valid),
            self.s_axi_ctl_rvalid.eq(valid),
            self.s_axi_ctl_rdata.eq(data),
            self.s_axi_ctl_rresp.eq(answer),
        ]
        with m.If(self.s_axi_ctl_arvalid & ~valid):
            m.d.sync += [
                valid.eq(1), answer.eq(Mux(exists, _OKAY, _SLVERR)),
                data.eq(Mux(exists, values[short], 0)),
            ]  # fmt: skip
        with m.If(valid & self.s_axi_ctl_rready):
            m.d.sync += valid.eq(0)
