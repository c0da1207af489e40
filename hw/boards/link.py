"""A host at the other end of a wire reads and writes memory and registers, packet by packet."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..accelerator.ram import Ram
from ..share import SharedComponent
from .checksum import Checksum

__all__ = [
    "ANSWER", "IDENTITY", "INFO", "LARGEST", "READ", "REFUSED", "REGISTERS", "REQUEST", "VERSION",
    "WRITE", "WRONG_OPERATION", "WRONG_PLACE", "Link",
]  # fmt: skip

#: First bytes of packets to the board, and from it.
REQUEST, ANSWER = 0xA5, 0x5A
#: Operations.
INFO, READ, WRITE = 0, 1, 2
#: What is answered if it is not 0, done.
WRONG_OPERATION, WRONG_PLACE, REFUSED = 1, 2, 3
#: Words of 32 bits that a packet has at most.
LARGEST = 64
#: Addresses from here on are registers, below are memory.
REGISTERS = 1 << 31
#: First word of the answer to INFO ("STLK"), and what follows: version of the packets, bytes of
#: memory, cycles of the clock per second, bytes that may be on their way to the board.
IDENTITY, VERSION = 0x4B4C5453, 1

#: Bytes of a request in front of its words, without the first one.
_HEAD = 7
_REGISTER_WORDS = 1024


class Link(SharedComponent):
    """Carry out requests.

    A request is the byte `REQUEST`, operation, number, words (1 to `LARGEST`), address (4 bytes),
    the words if it writes, and the CRC of all that but for the first byte. Numbers have their low
    byte first; addresses are multiples of 4. The answer is the byte `ANSWER`, 0 or what was wrong,
    the request's number, the words that follow, these, and their CRC.

    A packet that is not whole, in time, with the right CRC, has no effect and no answer. One with
    the number of the last request that was carried out is answered as that was, but what it writes
    is not written again: so a host may repeat what was not answered.

    Parameters
    ----------
    memory : int
        Bytes of the memory, a multiple of 4.
    clock : int
        Cycles per second.
    queue : int
        Bytes that wait in front of this.
    patience : int
        Cycles without a byte after which a packet that has begun is given up.

    Members
    -------
    i_valid, i_data, o_take : 1, 8, 1
        The next byte; it is taken.
    o_valid, o_data, i_ready : 1, 8, 1
        A byte to send; it is taken in a cycle with both `o_valid` and `i_ready`.
    o_request, o_write, o_address, o_write_data, i_grant : 1, 1, 29, 32, 1
        A word of memory, by its index, to read or write; that is done in a cycle with `i_grant`.
    i_answer, i_read_data : 1, 32
        A word that was read.
    o_aw..., i_aw..., and so on : AXI4-Lite
        A register.
    """

    def __init__(self, *, memory: int, clock: int, queue: int, patience: int) -> None:
        lite = {
            "o_awvalid": Out(1), "i_awready": In(1), "o_awaddr": Out(12), "o_wvalid": Out(1),
            "i_wready": In(1), "o_wdata": Out(32), "i_bvalid": In(1), "i_bresp": In(2),
            "o_arvalid": Out(1), "i_arready": In(1), "o_araddr": Out(12), "i_rvalid": In(1),
            "i_rdata": In(32), "i_rresp": In(2),
        }  # fmt: skip
        signature: dict[str, Any] = {
            "i_valid": In(1), "i_data": In(8), "o_take": Out(1), "o_valid": Out(1),
            "o_data": Out(8), "i_ready": In(1), "o_request": Out(1), "o_write": Out(1),
            "o_address": Out(29), "o_write_data": Out(32), "i_grant": In(1), "i_answer": In(1),
            "i_read_data": In(32), **lite,
        }  # fmt: skip
        parameters = (memory, clock, queue, patience)
        super().__init__(kind="link", parameters=parameters, signature=signature, resets=True)
        self.patience = patience
        self.words = memory // 4
        self.facts = (IDENTITY, VERSION, memory, clock, queue)

    def body(self, platform: object) -> Module:
        """Build what takes a packet, carries it out, and answers."""
        m = Module()
        ports: Any = self
        m.submodules.checksum = checksum = Checksum()
        m.submodules.words = ram = Ram(kind="packet_ram", depth=LARGEST, width=32)
        place = len(ram.i_read_address)
        head = Signal(8 * _HEAD)
        operation, number, count, address = head[:8], head[8:16], head[16:24], head[24:]
        left = Signal(range(4 * LARGEST + 1))  # bytes of this part of the packet
        at = Signal(place)  # the word
        part = Signal(2)  # its byte
        status = Signal(8)
        waited = Signal(range(self.patience + 1))  # cycles since a byte was taken
        late = waited == self.patience
        # Of the last request that was carried out.
        last = Signal(8)
        known = Signal()

        is_register = address[31]
        index = address[2:31]
        limit = Mux(is_register, _REGISTER_WORDS, self.words)
        inside = ~address[:2].any() & (index + count <= limit)
        writes = operation == WRITE
        answered = Mux(operation == INFO, len(self.facts), Mux(operation == READ, count, 0))
        taken = Signal()  # a byte is taken in this cycle
        m.d.comb += [
            ports.o_take.eq(taken), ports.o_address.eq(index + at),
            ports.o_awaddr.eq(Cat(Const(0, 2), (index + at)[:10])),
            ports.o_araddr.eq(ports.o_awaddr),
            ports.o_write.eq(writes), ports.o_write_data.eq(ram.o_read_data),
            ports.o_wdata.eq(ram.o_read_data), ram.i_read.eq(1), ram.i_read_address.eq(at),
            ram.i_write_address.eq(at), checksum.i_data.eq(ports.i_data),
            checksum.i_valid.eq(taken),
        ]  # fmt: skip

        # Which half of a write to a register was taken.
        asked = Signal()
        sent = Signal()
        body = Signal()  # the answer's words
        pause = Signal()  # a byte of these is still to come out of its memory
        m.d.sync += [pause.eq(0), waited.eq(Mux(taken | late, 0, waited + 1))]

        with m.FSM():
            with m.State("HUNT"):
                m.d.comb += [
                    taken.eq(ports.i_valid),
                    checksum.i_valid.eq(0),
                    checksum.i_start.eq(1),
                ]
                m.d.sync += left.eq(_HEAD)
                with m.If(ports.i_valid & (ports.i_data == REQUEST)):
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += taken.eq(ports.i_valid)
                m.d.sync += [at.eq(0), part.eq(0)]
                with m.If(taken):
                    m.d.sync += [head.eq(Cat(head, ports.i_data)[8:]), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "SIZE"
                with m.Elif(late):
                    m.next = "HUNT"
            with m.State("SIZE"):
                m.d.sync += left.eq(4)
                with m.If((count == 0) | (count > LARGEST)):
                    m.next = "HUNT"
                with m.Elif(writes):
                    m.d.sync += left.eq(Cat(Const(0, 2), count))
                    m.next = "WORDS"
                with m.Else():
                    m.next = "CRC"
            with m.State("WORDS"):
                m.d.comb += [
                    taken.eq(ports.i_valid), ram.i_write_data.eq(ports.i_data.replicate(4)),
                    ram.i_write.eq(taken << part),
                ]  # fmt: skip
                with m.If(taken):
                    m.d.sync += [Cat(part, at).eq(Cat(part, at) + 1), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.d.sync += left.eq(4)
                        m.next = "CRC"
                with m.Elif(late):
                    m.next = "HUNT"
            with m.State("CRC"):
                m.d.comb += taken.eq(ports.i_valid)
                with m.If(taken):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.sync += part.eq(0)
                        m.next = "LOOK"
                with m.Elif(late):
                    m.next = "HUNT"
            with m.State("LOOK"):
                again = known & (number == last)
                m.d.sync += at.eq(0)
                with m.If(~checksum.o_match):
                    m.next = "HUNT"
                with m.Else():
                    m.d.sync += [known.eq(1), last.eq(number)]
                    m.next = "ANSWER"
                    with m.If(operation == INFO):
                        m.d.sync += status.eq(0)
                        m.next = "INFO"
                    with m.Elif((operation != READ) & ~writes):
                        m.d.sync += status.eq(WRONG_OPERATION)
                    with m.Elif(~inside):
                        m.d.sync += status.eq(WRONG_PLACE)
                    with m.Elif(~(writes & again)):
                        m.d.sync += status.eq(0)
                        m.next = "FETCH"
            with m.State("INFO"):
                facts = Array(Const(one, 32) for one in self.facts)
                m.d.comb += [ram.i_write.eq(15), ram.i_write_data.eq(facts[at[:3]])]
                m.d.sync += at.eq(at + 1)
                with m.If(at == len(self.facts) - 1):
                    m.next = "ANSWER"
            with m.State("FETCH"):  # the word that is written comes out of its memory
                m.d.sync += [asked.eq(0), sent.eq(0)]
                m.next = "ASK"
            with m.State("ASK"):
                with m.If(~is_register):
                    m.d.comb += ports.o_request.eq(1)
                    with m.If(ports.i_grant):
                        m.next = "NEXT"
                        with m.If(~writes):
                            m.next = "WAIT"
                with m.Else():
                    m.d.comb += [
                        ports.o_arvalid.eq(~writes & ~asked), ports.o_awvalid.eq(writes & ~asked),
                        ports.o_wvalid.eq(writes & ~sent),
                    ]  # fmt: skip
                    arrives = (ports.o_arvalid & ports.i_arready) | (
                        ports.o_awvalid & ports.i_awready
                    )
                    leaves = ports.o_wvalid & ports.i_wready
                    m.d.sync += [asked.eq(asked | arrives), sent.eq(sent | leaves)]
                    with m.If((asked | arrives) & (sent | leaves | ~writes)):
                        m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += ram.i_write_data.eq(Mux(is_register, ports.i_rdata, ports.i_read_data))
                with m.If(~is_register & ports.i_answer):
                    m.d.comb += ram.i_write.eq(15)
                    m.next = "NEXT"
                with m.Elif(is_register & ~writes & ports.i_rvalid):
                    m.d.comb += ram.i_write.eq(15)
                    with m.If(ports.i_rresp.any()):
                        m.d.sync += status.eq(REFUSED)
                    m.next = "NEXT"
                with m.Elif(is_register & writes & ports.i_bvalid):
                    with m.If(ports.i_bresp.any()):
                        m.d.sync += status.eq(REFUSED)
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += at.eq(at + 1)
                m.next = "FETCH"
                with m.If(at + 1 == count):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                # The first byte, and four of the head.
                m.d.sync += [left.eq(3), at.eq(0), part.eq(0), body.eq(0)]
                m.d.comb += [ports.o_valid.eq(1), ports.o_data.eq(ANSWER), checksum.i_start.eq(1)]
                with m.If(ports.i_ready):
                    m.next = "REPLY"
            with m.State("REPLY"):
                length = Mux(status.any(), 0, answered)
                front = Array([length, number, status])  # the last one first
                word = ram.o_read_data.word_select(part, 8)
                m.d.comb += [
                    ports.o_valid.eq(~pause), ports.o_data.eq(Mux(body, word, front[left[:2] - 1])),
                    checksum.i_data.eq(ports.o_data),
                    checksum.i_valid.eq(ports.o_valid & ports.i_ready),
                ]  # fmt: skip
                with m.If(ports.o_valid & ports.i_ready):
                    m.d.sync += [left.eq(left - 1), pause.eq(1)]
                    with m.If(body):
                        m.d.sync += Cat(part, at).eq(Cat(part, at) + 1)
                    with m.If(left == 1):
                        m.d.sync += [body.eq(1), left.eq(Cat(Const(0, 2), length))]
                        with m.If(body | (length == 0)):
                            m.d.sync += part.eq(0)
                            m.next = "END"
            with m.State("END"):
                m.d.comb += [
                    ports.o_valid.eq(1), ports.o_data.eq(checksum.o_crc.word_select(part, 8)),
                ]  # fmt: skip
                with m.If(ports.i_ready):
                    m.d.sync += part.eq(part + 1)
                    with m.If(part == 3):
                        m.next = "HUNT"
        return m
