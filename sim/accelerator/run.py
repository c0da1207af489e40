"""Run a network on the RTL of the accelerator, from memory to memory, against the golden model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.int8.graph import Graph
from golden.int8.tensor import Tensor
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Kind
from hw.accelerator.registers import COUNTERS, ERRORS
from report.errors import Failure
from report.tables import Sheet

from .compiler import Layer, Program, compile_graph
from .cycles import Timing
from .rtl import AcceleratorResult, AcceleratorSimulator, Watch

__all__ = ["AcceleratorRun", "Placed", "place", "run"]

#: What lies between image, inputs and outputs, so that a stray write is seen.
_GUARD = 0xA5
_PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A memory with an image and inputs.

    Parameters
    ----------
    memory : bytes
    addresses : (int, int, int, int)
        IMAGE, INPUT, OUTPUT, SCRATCH.
    """

    memory: bytes
    addresses: tuple[int, int, int, int]

    def output(self, program: Program, memory: bytes) -> list[NDArray[Any]]:
        """Return the outputs in a memory, as they are inside the graph."""
        found = []
        for tensor, offset in zip(program.outputs, program.offsets(program.outputs), strict=True):
            begin = self.addresses[2] + offset
            raw = np.frombuffer(memory[begin : begin + math.prod(tensor.shape)], np.int8)
            value = raw.view(np.uint8) if tensor.offset else raw
            found.append(tensor.inside(value).reshape(tensor.shape))
        return found


def place(program: Program, values: Sequence[NDArray[Any]], offset: int = 0) -> Placed:
    """Lay an image, inputs and room for outputs into a memory, with guards between.

    Parameters
    ----------
    program : Program
    values : sequence of int8 arrays
        Of its inputs, as inside the graph.
    offset : int
        Bytes from a page's begin to inputs, outputs, and what is spilled.
    """
    image = program.image
    memory = bytearray()

    def add(count: int, offset: int = offset) -> int:
        """Return where so many bytes begin, a guard behind them."""
        begin = len(memory) + offset
        memory.extend(bytes([_GUARD]) * (-(-(offset + count + _PAGE) // _PAGE) * _PAGE))
        return begin

    where = add(len(image), 0)
    memory[where : where + len(image)] = image
    ends = []
    for tensors in (program.inputs, program.outputs):
        last = math.prod(tensors[-1].shape)
        ends.append(add(program.offsets(tensors)[-1] + last))
    scratch = add(program.scratch_bytes)
    for tensor, offset, value in zip(
        program.inputs, program.offsets(program.inputs), values, strict=True
    ):
        raw = tensor.outside(np.ascontiguousarray(value)).tobytes()
        memory[ends[0] + offset : ends[0] + offset + len(raw)] = raw
    return Placed(memory=bytes(memory), addresses=(where, *ends, scratch))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class AcceleratorRun:
    """A network that ran on the accelerator.

    Parameters
    ----------
    program : Program
    result : AcceleratorResult
    timing : Timing or None
        What was predicted; None with random stalls.
    outputs : dict of Tensor to array
        Of the network, the host's part done.
    latency, stall : int, float
        Of the memory.
    """

    program: Program
    result: AcceleratorResult
    timing: Timing | None
    outputs: dict[Tensor, NDArray[Any]]
    latency: int
    stall: float

    @property
    def begins(self) -> list[int]:
        """Cycle in which every job began, and the end of the run."""
        return [*(one.cycle for one in self.result.jobs), self.result.cycles]

    def waited(self, layer: Layer) -> dict[str, int]:
        """Return what the cycles of a layer were spent on, and bytes moved."""
        jobs = self.result.jobs
        first, last = jobs[layer.first].counters, jobs[layer.first + layer.jobs].counters
        return {name: last[name] - first[name] for name in first}

    def sheet(self) -> Sheet:
        """Return a table of the layers."""
        rows: list[tuple[str, ...]] = []
        for one in self.program.layers:
            cycles = self.program.layer_cycles(one, self.begins)
            waited = self.waited(one)
            predicted = (
                f"{self.program.layer_cycles(one, self.timing.begins):,}" if self.timing else ""
            )
            rows.append(
                (
                    one.name, one.mapping, predicted, f"{cycles:,}",
                    *(f"{waited[name]:,}" for name in COUNTERS), f"{waited['BYTES_READ']:,}",
                )
            )  # fmt: skip
        return Sheet(
            title=f"layers on {self.program.config.array}, from memory to memory",
            columns=("layer", "mapping", "predicted", "RTL cycles",
                     *(f"{name.lower()}" for name in COUNTERS), "bytes read"),
            rows=rows,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "config": self.program.config.to_dict(),
            "memory_latency": self.latency, "memory_stall": self.stall,
            "rtl_cycles": self.result.cycles,
            "predicted_cycles": self.timing.cycles if self.timing else None,
            "counters": self.result.counters,
            "host": [one.kind for one in self.program.after],
            "layers": [
                {
                    "name": one.name, "operator": one.operator.kind, "mapping": one.mapping,
                    "rtl_cycles": self.program.layer_cycles(one, self.begins),
                    "predicted_cycles": self.program.layer_cycles(one, self.timing.begins)
                    if self.timing else None,
                    "counters": self.waited(one),
                }
                for one in self.program.layers
            ],
        }  # fmt: skip


def run(
    graph: Graph,
    inputs: Sequence[NDArray[Any]],
    config: AcceleratorConfig,
    *,
    simulator: AcceleratorSimulator | None = None,
    latency: int = 40,
    stall: float = 0.0,
    seed: int = 1,
) -> AcceleratorRun:
    """Run a network on the accelerator's RTL, and compare all of it.

    Every tensor is compared with golden's after its last job, the whole memory after the run, and
    the cycles of every job with the prediction, unless there are random stalls.

    Parameters
    ----------
    graph : Graph
    inputs : sequence of arrays
        As of `Graph.steps`.
    config : AcceleratorConfig
    simulator : AcceleratorSimulator, optional
    latency : int
        Of the memory, in cycles.
    stall : float
        Probability that one of its handshakes pauses in a cycle.
    seed : int
        Of these pauses.

    Raises
    ------
    UserError
        If the machine lacks an operator, or memory.
    Failure
        If something differs; the text names the layer.
    """
    program = compile_graph(graph, config)
    values = graph.values(inputs) | {
        one.operator.output: one.output for one in graph.steps(*inputs)
    }
    placed = place(program, [values[one] for one in program.inputs])
    watched = [one for one in program.layers if one.bytes]
    watches = [
        Watch(
            job=(last := one.first + one.jobs - 1),
            address=one.address,
            bytes=one.bytes,
            loaded=program.jobs[last].kind == Kind.LOAD,
        )
        for one in watched
    ]
    timing = None if stall else program.timing(latency)
    limit = 100_000 + 100 * program.timing(latency).cycles
    result = (simulator or AcceleratorSimulator(config)).run(
        placed.memory, placed.addresses, latency=latency, stall=stall, seed=seed, limit=limit,
        watches=watches,
    )  # fmt: skip
    if not result.done:
        raise Failure(f"the run did not end in {limit} cycles; it is at job {result.job}")
    if result.code:
        raise Failure(f"the run ended at job {result.job}: {ERRORS.get(result.code, result.code)}")
    outside = [one for one in program.layers if one.spilled >= 0]  # nothing lies there twice
    begins = [placed.addresses[3] + one.spilled for one in outside]
    found = [
        *zip(watched, result.seen, strict=True),
        *((one, result.memory[begin : begin + math.prod(one.operator.output.shape)])
          for one, begin in zip(outside, begins, strict=True)),
    ]  # fmt: skip
    for layer, seen in found:
        wanted = values[layer.operator.output].transpose(layer.axes)
        wrong = np.flatnonzero(np.frombuffer(seen, np.int8) != wanted.ravel())
        if wrong.size:
            raise Failure(
                f"{layer.name} ({layer.mapping}): {len(wrong):,} of {wanted.size:,} bytes differ "
                f"from the golden model, the first one is byte {wrong[0]}"
            )
    for tensor, value in zip(program.outputs, placed.output(program, result.memory), strict=True):
        if not np.array_equal(value, values[tensor]):
            raise Failure(f"output {tensor.name} differs from the golden model")
    _check_memory(program, placed, result.memory)
    if sum(result.counters[name] for name in COUNTERS) != result.cycles:
        raise Failure(f"the counters do not add up to {result.cycles} cycles: {result.counters}")
    if timing:
        for layer in program.layers:
            seen_at, predicted = result.jobs[layer.first].cycle, timing.begins[layer.first]
            if layer.first and seen_at != predicted:  # nobody sees when the first job begins
                raise Failure(
                    f"{layer.name} begins in cycle {seen_at:,}, not in cycle {predicted:,}, as "
                    "predicted"
                )
        if result.cycles != timing.cycles:
            raise Failure(f"{result.cycles:,} cycles, not {timing.cycles:,}, as predicted")
    return AcceleratorRun(
        program=program, result=result, timing=timing,
        outputs={one: values[one] for one in graph.outputs}, latency=latency, stall=stall,
    )  # fmt: skip


def _check_memory(program: Program, placed: Placed, after: bytes) -> None:
    """Raise `Failure` if anything but the outputs and the spill area was written."""
    expected = bytearray(placed.memory)
    windows = [
        (placed.addresses[2] + offset, math.prod(tensor.shape))
        for tensor, offset in zip(program.outputs, program.offsets(program.outputs), strict=True)
    ]
    windows.append((placed.addresses[3], program.scratch_bytes))
    for begin, count in windows:
        expected[begin : begin + count] = after[begin : begin + count]
    if after != bytes(expected):
        where = next(n for n, pair in enumerate(zip(after, expected, strict=True))
                     if pair[0] != pair[1])  # fmt: skip
        raise Failure(f"byte {where:#x} of the memory was written, which is no output")
