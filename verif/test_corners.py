"""Small networks at the corners of the compiler: exact on the Verilog, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from report.errors import UserError
from sim.accelerator.compiler import compile_graph
from sim.accelerator.run import run
from verif.lib.models import VALID, Net, load
from verif.lib.wild import inputs
from verif.test_accelerator import MACHINES, simulator


def rescaled_parts() -> bytes:
    """Return parts of one concatenation that are rescaled for another."""
    net = Net(1, (1, 6, 6, 4))
    writer = net.writer
    x, a, b, c, d = (
        writer.tensor((1, 6, 6, n), scale, 9, dtype=np.uint8)
        for n, scale in ((4, 0.1), (4, 0.1), (4, 0.1), (8, 0.1), (8, 0.2))
    )
    writer.add("RELU", [x], a)
    writer.add("RELU6", [x], b)
    writer.add("CONCATENATION", [a, b], c, Axis=3)
    writer.add("CONCATENATION", [a, b], d, Axis=3)
    return writer.content([x], [c, d])


def planes(first: list[int], second: list[int]) -> bytes:
    """Return two means of an image that was transposed to planes."""
    net = Net(1, (1, 5, 6, 4))
    x = net.conv(net.input, (1, 1), 4)
    y = net.writer.add("TRANSPOSE", [x, net.list([0, 3, 1, 2])], net.like(x, (1, 4, 5, 6)))
    shape: tuple[int, ...] = (1, 4, 5, 6)
    for axes in (first, second):
        shape = np.zeros(shape).mean(tuple(axes)).shape
        y = net.writer.add("MEAN", [y, net.list(axes)], net.activation(shape, 0.04))
    return net.done(y)


def mean(inside: tuple[int, ...], axes: list[int]) -> bytes:
    """Return a mean of what was reshaped."""
    net = Net(1, (1, int(np.prod(inside))))
    x = net.writer.add("RESHAPE", [net.input, net.list(inside)], net.like(net.input, inside))
    shape = np.zeros(inside).mean(tuple(axes)).shape
    return net.done(net.writer.add("MEAN", [x, net.list(axes)], net.activation(shape, 0.03)))


def padded(rescaled: bool) -> bytes:
    """Return padding that rescales in front of a convolution, or of a batch."""
    net = Net(1, (1, 8, 4, 4))
    if rescaled:
        y = net.activation((1, 10, 6, 4), 0.07)
        net.writer.add("PAD", [net.input, net.list([[0, 0], [1, 1], [1, 1], [0, 0]])], y)
        return net.done(net.conv(y, (3, 3), 4, Padding=VALID))
    x = net.writer.add(
        "RESHAPE", [net.input, net.list([2, 4, 4, 4])], net.like(net.input, (2, 4, 4, 4))
    )
    y = net.like(x, (2, 6, 4, 4))
    return net.done(net.writer.add("PAD", [x, net.list([[0, 0], [1, 1], [0, 0], [0, 0]])], y))


def constant(kind: str) -> bytes:
    """Return an operator on a constant, or an output that is one."""
    net = Net(1, (1, 4, 4, 4))
    y = net.constant((1, 4, 4, 4), 0.05)
    if kind == "RELU":
        y = net.writer.add(kind, [y], net.like(y, (1, 4, 4, 4)))
    elif kind == "MEAN":
        y = net.writer.add(kind, [y, net.list([1, 2])], net.activation((1, 4), 0.04))
    elif kind == "CONV_2D":
        y = net.conv(y, (1, 1), 4)
    return net.writer.content([net.input], [net.conv(net.input, (1, 1), 3), y])


def real() -> bytes:
    """Return real numbers that are moved."""
    net = Net(1, (1, 4, 3, 2))
    x, y = (net.writer.tensor(shape, dtype=np.float32) for shape in ((1, 4, 3, 2), (1, 3, 4, 2)))
    net.writer.add("TRANSPOSE", [x, net.list([0, 2, 1, 3])], y)
    return net.writer.content([x], [y])


def small_part() -> bytes:
    """Return a part of one pixel, of a part with gaps, that a window reads."""
    net = Net(1, (1, 1, 1, 5))
    add = net.writer.add
    a, b = (net.conv(net.input, (1, 1), 20, zero=3) for _ in range(2))
    both = add("CONCATENATION", [a, b], net.like(a, (1, 2, 1, 20)), Axis=1)
    other = add("RELU", [both], net.like(a, (1, 2, 1, 20)))
    whole = add("CONCATENATION", [both, other], net.like(a, (1, 2, 1, 40)), Axis=3)
    return net.writer.content([net.input], [whole, net.conv(a, (3, 3), 4)])


def smaller() -> bytes:
    """Return two rows of 54, interpolated."""
    net = Net(1, (1, 54, 3, 4))
    y = net.like(net.input, (1, 2, 3, 4))
    return net.done(net.writer.add("RESIZE_BILINEAR", [net.input, net.list([2, 3])], y))


def turned_round() -> bytes:
    """Return blue, green, red instead of red, green, blue."""
    net = Net(1, (1, 24, 24, 3))
    picks = [net.list(one) for one in ([0, 0, 0, 2], [1, 24, 24, -4], [1, 1, 1, -1])]
    y = net.like(net.input, (1, 24, 24, 3))
    return net.done(net.writer.add("STRIDED_SLICE", [net.input, *picks], y))


def large_constant() -> bytes:
    """Return a sum in bands, whose constant has no batch."""
    net = Net(1, (1, 40, 10, 16))
    return net.done(net.sum(net.input, net.constant((40, 10, 16), 0.04)))


_AXES = ([1], [1]), ([0], [1]), ([2], [0]), ([2, 3], [1]), ([2], [1]), ([3], [2]), ([3], [1, 2])
#: Networks that run.
EXACT: dict[str, Callable[[], bytes]] = {
    "rescaled parts": rescaled_parts,
    **{f"planes {one} {two}": partial(planes, one, two) for one, two in _AXES},
    **{
        f"mean of {shape} over {axes}": partial(mean, shape, axes)
        for shape, axes in (
            ((2, 4, 4, 4), [1, 2]), ((2, 4, 4, 4), [1]), ((1, 2, 4, 4, 4), [2, 3]),
            ((32, 4), [0]), ((8, 4, 4), [1]), ((1, 1, 7, 5, 4), [3]),
        )
    },
    "padding that rescales": partial(padded, True),
    "a part of one pixel": small_part,
    "fewer rows": smaller,
    "channels turned round": turned_round,
}  # fmt: skip
#: Networks that are refused, and what is said.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "padding of a batch": (partial(padded, False), "1 PAD .padding of what is no image"),
    "real numbers": (real, "no real numbers, as tensor"),
    "an output": (partial(constant, "none"), "no job for tensor., a constant output"),
    **{
        kind: (partial(constant, kind), rf"1 {kind} \(a constant input\)")
        for kind in ("RELU", "MEAN", "CONV_2D")
    },
}


@pytest.mark.parametrize("what", EXACT)
def test_exact(what, tmp_path):
    """It runs, bit for bit and to the cycle."""
    graph = load(EXACT[what](), tmp_path)
    ran = run(graph, inputs(graph), MACHINES["8 x 8"], simulator=simulator("8 x 8"))
    assert len(ran.program.jobs) < 20


def test_constant_in_bands(tmp_path):
    """A constant is cut as the image is."""
    graph = load(large_constant(), tmp_path)
    run(graph, inputs(graph), replace(MACHINES["4 x 6"], act_kib=4))


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what, tmp_path):
    """It is refused in one line."""
    build, wanted = REFUSED[what]
    with pytest.raises(UserError, match=wanted):
        compile_graph(load(build(), tmp_path), MACHINES["8 x 8"])
