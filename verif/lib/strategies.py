"""Layers and machines that property tests draw, and what has to hold for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import golden
from golden import Operands, Plan
from golden.machine.schedule import cycles, unroll
from hw.config import ArrayConfig

from .tiles import operands

__all__ = ["check", "layers", "machines"]


@st.composite
def layers(draw: st.DrawFn, odd_square: bool = False) -> tuple[Any, ...]:
    """Draw an image, a kernel size, strides, paddings and a pad value."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    if odd_square:
        kernel = (draw(st.sampled_from([1, 2, 3, 5])),) * 2
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    size = tuple(
        draw(st.integers(max(1, k - sum(pad)), 9)) for k, pad in zip(kernel, padding, strict=True)
    )
    x = operands(rng, (*size, 2 * draw(st.integers(1, 4))), 8)
    return rng, x, kernel, stride, padding, draw(st.integers(-128, 127))


@st.composite
def machines(draw: st.DrawFn) -> ArrayConfig:
    """Draw a small machine."""
    return ArrayConfig(
        rows=draw(st.integers(1, 9)),
        cols=draw(st.integers(1, 9)),
        st_os=draw(st.booleans()),
        weight_width=draw(st.sampled_from([8, 8, 8, 9])),  # other than act_width: no exchange
        acc_width=draw(st.sampled_from([17, 24, 32])),
        accumulators=draw(st.integers(1, 2)),
        mac_stages=draw(st.integers(1, 2)),
    )


def check(data: Operands, plan: Plan, want: Any) -> None:
    """Check that the tiles are legal, compute `want`, and are those of the closed form."""
    config, lowering = plan.config, plan.tiles(data)
    got = lowering.collect(golden.execute(lowering.tiles, config))
    np.testing.assert_array_equal(got.reshape(np.shape(want)), want)
    result = data.result(config.acc_width)
    np.testing.assert_array_equal(result.reshape(np.shape(want)), want)
    commands = [tile.command for tile in lowering.tiles]
    assert list(unroll(plan.program)) == commands
    assert plan.cycles == cycles(plan.program, config) == cycles(commands, config) > 0
