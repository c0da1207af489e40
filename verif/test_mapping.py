"""Mappings: closed forms against lists, every kind of tile on the RTL, whole networks."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import prove, simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from test_golden import check, layers, machines
from tiles import operands

import golden
import golden.lower
from golden.mapping import (
    MAPPINGS,
    Branch,
    GemmMapping,
    PatchMapping,
    Plan,
    StreamMapping,
    candidates,
    covers,
    map_gemm,
    map_layer,
)
from golden.networks import FUSE_NETWORKS, FUSE_VARIANTS, Layer, build
from golden.operators import Window
from golden.schedule import Repeat, cycles, unroll
from hw.config import ArrayConfig, Command
from sim.network import network_cycles, network_report


@st.composite
def programs(draw, config, depth=2):
    """Draw a program of commands and repetitions in which every kept sum is continued."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        if depth and draw(st.booleans()):
            inner = tuple(draw(programs(config, depth - 1)))
            parts.append(Repeat(inner, draw(st.integers(1, 7))))
            continue
        st_os = config.st_os and draw(st.booleans())
        taps = draw(st.integers(1, config.cols if st_os else 12))
        emit = draw(st.integers(1, config.cols))
        if draw(st.integers(0, 3)) == 0:
            parts.append(Command(depth=taps, emit=0, st_os=st_os))
            parts.append(Command(depth=taps, emit=emit, st_os=st_os, accumulate=True))
        else:
            folds = draw(st.integers(1, 3)) if st_os else 1
            parts.append(Command(depth=taps, emit=emit, folds=folds, st_os=st_os))
    return parts


@settings(max_examples=300, deadline=None)
@given(machines(), st.data())
def test_repetitions(config, data):
    """A repetition takes exactly as long as its commands written out."""
    program = data.draw(programs(config))
    assert cycles(program, config) == cycles(list(unroll(program)), config)


def test_endless_repetition():
    """A huge count costs no time, and a repetition that emits nothing is still refused."""
    config = ArrayConfig(rows=4, cols=4)
    step = cycles([Repeat((Command(depth=9, emit=4),), 10**9)], config)
    assert step == cycles([Command(depth=9, emit=4)], config) + 9 * (10**9 - 1)
    with pytest.raises(ValueError, match="emit nothing"):
        cycles([Repeat((Command(depth=9, emit=0),), 3)], config)


# Arrays that other tests build as well.
SQUARE = ArrayConfig(rows=8, cols=8, st_os=True)
WIDE = ArrayConfig(rows=3, cols=5)
TALL = ArrayConfig(rows=5, cols=3, st_os=True)
LARGE = ArrayConfig(rows=16, cols=16, st_os=True)

# One GEMM per kind of strip: array, M, K, N, and the sides that its strips use.
STRIPS = {
    "matrix": (SQUARE, 16, 9, 16, {("channels", True, False)}),
    "vector": (SQUARE, 1, 20, 42, {("pixels", True, True)}),
    "vector_short": (SQUARE, 1, 3, 16, {("pixels", True, False)}),
    "few_channels": (SQUARE, 56, 20, 1, {("channels", True, True)}),
    "remainder": (SQUARE, 17, 14, 30, {("channels", True, False), ("pixels", True, True)}),
    "wide": (WIDE, 9, 9, 3, {("channels", False, True)}),
    "tall": (TALL, 2, 9, 10, {("pixels", True, False)}),
}


@pytest.mark.parametrize("name", STRIPS)
def test_strips(name):
    """Every way of holding operands, on the RTL."""
    config, m, k, n, sides = STRIPS[name]
    found = map_gemm(m, k, n, config)
    assert {(s.held, s.on_rows > 0, s.on_cols > 0) for s in found.strips} == sides, str(found)
    assert cycles(found.program, config) <= cycles(
        map_gemm(m, k, n, config, "textbook").program, config
    )
    rng = np.random.default_rng(5)
    x, w = operands(rng, (1, m, k), 8), operands(rng, (k, n), 8)
    lowering = golden.lower_pointwise_conv2d(x, w, config)
    result = prove(config, lowering.tiles)
    assert result.cycles == cycles(found.program, config)
    np.testing.assert_array_equal(lowering.collect(result.outputs), golden.pointwise_conv2d(x, w))


# One depthwise layer per kind of mapping: array, size, channels, k, stride, and what it becomes.
DEPTHWISE = {
    "one_patch": (WIDE, (12, 12), 3, 3, 1, lambda p: p.together == 1 and p.patch > (1, 1)),
    "side_by_side": (WIDE, (1, 2), 7, 3, 1, lambda p: p.together == 2),
    "patch_stride": (WIDE, (9, 10), 4, 5, 2, lambda p: p.patch > (1, 1)),
    "passes": (TALL, (7, 9), 5, 3, 1, lambda p: len(p.streams[0].passes) == 3),
    "long_kernel": (TALL, (4, 9), 20, 5, 1, lambda p: len(p.streams[0].passes) == 10),
    "joined": (LARGE, (7, 3), 20, 3, 1, lambda p: p.streams[0].joined and p.pieces > 1),
    "bands": (LARGE, (9, 7), 40, 3, 1, lambda p: p.streams[0].bands == 2),
    "bands_stride": (LARGE, (9, 7), 40, 3, 2, lambda p: p.streams[0].bands == 2),
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_mappings(name):
    """Patches and streams on the RTL."""
    config, size, channels, k, stride, wanted = DEPTHWISE[name]
    layer = Layer(
        name=name, kind="depthwise", size=size, c_in=channels, c_out=channels, kernel=k,
        stride=stride, padding=k // 2, groups=channels,
    )  # fmt: skip
    mapping = "textbook" if config is TALL else "best"
    plan = map_layer(layer, config, mapping)
    kind = StreamMapping if config.st_os else PatchMapping
    assert all(isinstance(part, kind) and wanted(part) for part in plan.parts), str(plan)
    rng = np.random.default_rng(6)
    x, w = operands(rng, (*size, channels), 8), operands(rng, (k, k, channels), 8)
    geometry = {"stride": stride, "padding": k // 2, "pad_value": -3}
    lowering = golden.lower_depthwise_conv2d(x, w, config, **geometry, mapping=mapping)
    result = simulator(config).run(lowering.tiles)
    assert result.cycles == plan.cycles
    np.testing.assert_array_equal(
        lowering.collect(result.outputs), golden.depthwise_conv2d(x, w, **geometry)
    )


@settings(max_examples=150, deadline=None)
@given(layers(), machines(), st.data())
def test_every_depthwise_mapping(layer, config, data):
    """Those that are not the best compute the right thing, too."""
    rng, x, kernel, stride, padding, pad_value = layer
    channels = x.shape[2]
    w = operands(rng, (*kernel, channels), 8)
    window = Window.of(x.shape[:2], kernel, stride, padding)
    rows, cols = config.rows, config.cols
    if config.st_os and data.draw(st.booleans()):
        ways = list(candidates(Branch(window, channels), config, True))
        stream = data.draw(st.sampled_from(ways))
        pieces = data.draw(st.integers(1, stream.length))
        found = StreamMapping(
            branches=(0,), streams=(stream,), channels=(channels,), pieces=pieces, rows=rows,
            cols=cols,
        )  # fmt: skip
    else:
        ph = data.draw(st.integers(1, min(window.output[0], cols)))
        pw = data.draw(st.integers(1, min(window.output[1], cols // ph)))
        patches = -(-window.output[0] // ph) * -(-window.output[1] // pw)
        most = max(1, min(rows // patches, cols // (ph * pw), channels))
        found = PatchMapping(
            branch=0, window=window, channels=channels, patch=(ph, pw),
            together=data.draw(st.integers(1, most)), rows=rows,
        )  # fmt: skip
    geometry = {"stride": stride, "padding": padding, "pad_value": pad_value}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golden.lower, "map_depthwise", lambda *_: Plan((found,), config))
        lowering = golden.lower_depthwise_conv2d(x, w, config, **geometry)
    want = golden.depthwise_conv2d(x, w, **geometry, acc_width=config.acc_width)
    check(lowering, config, want)


@settings(max_examples=150, deadline=None)
@given(machines(), st.integers(1, 25), st.integers(1, 12), st.integers(1, 25), st.data())
def test_every_gemm_mapping(config, m, k, n, data):
    """Those that are not the best compute the right thing, too."""
    ways = list(covers(m, n, config, "best"))
    strips = data.draw(st.sampled_from(ways))
    found = GemmMapping(pixels=m, depth=k, channels=n, strips=strips)
    rng = np.random.default_rng(m * n)
    x, w = operands(rng, (1, m, k), 8), operands(rng, (k, n), 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golden.lower, "map_gemm", lambda *_: found)
        lowering = golden.lower_pointwise_conv2d(x, w, config)
    check(lowering, config, golden.pointwise_conv2d(x, w, acc_width=config.acc_width))


def operator(layer):
    """Return the operator of a layer of a network, its lowering, and random operands."""
    rng = np.random.default_rng(7)
    x = operands(rng, (*layer.size, layer.c_in), 8)
    k, geometry = layer.kernel, {"stride": layer.stride, "padding": layer.padding}
    if layer.kind == "linear":
        w = operands(rng, (layer.c_in, layer.c_out), 8)
        return golden.linear, golden.lower_linear, (x[0, 0], w), {}
    if layer.kind == "depthwise":
        w = operands(rng, (k, k, layer.c_in), 8)
        return golden.depthwise_conv2d, golden.lower_depthwise_conv2d, (x, w), geometry
    if layer.kind.startswith("fuse"):
        row, col = (operands(rng, (k, layer.c_out // 2), 8) for _ in range(2))
        geometry["variant"] = layer.kind.removeprefix("fuse_")
        return golden.fuse_conv2d, golden.lower_fuse_conv2d, (x, row, col), geometry
    groups = layer.groups
    w = operands(rng, (k, k, layer.c_in // groups, layer.c_out // groups), 8)
    return golden.abconv2d, golden.lower_abconv2d, (x, w, groups), geometry


SMALL = [
    ("mobilenet_v2", "baseline", 32),
    ("mobilenet_v3_small", "half", 40),
    ("mnasnet_b1", "full", 33),
    ("mobilenet_v1_cifar100", "A-P-E", 16),
]


ON_RTL = [(*one, 16, st_os) for one in SMALL for st_os in (False, True)]
ON_RTL.append(("mobilenet_v2", "half", 224, 32, True))


@pytest.mark.parametrize(("name", "variant", "resolution", "size", "st_os"), ON_RTL)
def test_networks_on_rtl(name, variant, resolution, size, st_os):
    """Every layer of a network on the RTL: right results, in the cycles that its report counts."""
    config = ArrayConfig(rows=size, cols=size, st_os=st_os)
    network = build(name, variant, resolution)
    # Layers of one shape once.
    reports = {replace(one.layer, name=""): one for one in network_report(network, config).layers}
    kinds = set()
    for layer, report in reports.items():
        function, lower, arguments, options = operator(layer)
        lowering = lower(*arguments, config, **options)
        result = simulator(config).run(lowering.tiles)
        assert result.cycles == report.cycles, (layer, str(report.plan))
        assert len(lowering.tiles) == report.tiles
        np.testing.assert_array_equal(
            lowering.collect(result.outputs), function(*arguments, **options), str(layer)
        )
        kinds.add(report.plan.name)
    assert len(reports) > 15 and "GEMM" in kinds
    assert kinds & {"Toeplitz", "block-diagonal", "ST-OS"}


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(("name", "variant", "resolution"), SMALL)
def test_layers_of_networks(name, variant, resolution, mapping):
    """What a network's report counts is what the lowering of its layers sends to the core."""
    config = ArrayConfig(rows=24, cols=10, st_os=mapping == "textbook", accumulators=1)
    for layer in dict.fromkeys(build(name, variant, resolution).layers):
        plan = map_layer(layer, config, mapping)
        _, lower, arguments, options = operator(layer)
        lowering = lower(*arguments, config, **options, mapping=mapping)
        assert lowering.shape[-1] == layer.c_out
        assert plan.commands == [tile.command for tile in lowering.tiles], layer.name
        assert plan.cycles == cycles(plan.commands, config), layer.name


@pytest.mark.parametrize("name", FUSE_NETWORKS)
def test_whole_networks(name):
    """Closed forms against full command lists, at real size."""
    layers = {layer for variant in FUSE_VARIANTS[:3] for layer in build(name, variant).layers}
    shapes = {
        (one.kind, one.size, one.c_in, one.c_out, one.kernel, one.stride): one for one in layers
    }
    for config in (
        ArrayConfig(rows=64, cols=64, st_os=True),
        ArrayConfig(rows=32, cols=64, st_os=True, accumulators=1),
        ArrayConfig(rows=64, cols=32),
    ):
        for layer in shapes.values():
            for mapping in MAPPINGS:
                plan = map_layer(layer, config, mapping)
                assert plan.cycles == cycles(plan.commands, config), (layer, str(plan))


def test_estimates():
    """No slower than first estimated."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
    from report_performance import ESTIMATES

    assert len(ESTIMATES) == 5
    config = ArrayConfig(rows=64, cols=64, st_os=True)
    for name, estimates in ESTIMATES.items():
        for variant, estimate in zip(("half", "baseline"), estimates, strict=True):
            assert network_cycles(build(name, variant), config) <= 1000 * estimate


@settings(max_examples=200, deadline=None)
@given(
    machines(), st.sampled_from(["pointwise", "depthwise", "fuse_half"]), st.integers(1, 12),
    st.integers(1, 12), st.integers(1, 10), st.integers(1, 3), st.sampled_from([1, 3, 5]),
)  # fmt: skip
def test_best_is_best(config, kind, height, width, channels, stride, k):
    """Never slower than the textbook, nor with ST-OS than without."""
    spatial = kind != "pointwise"
    layer = Layer(
        name="", kind=kind, size=(height, width), c_in=2 * channels, c_out=2 * channels,
        kernel=k if spatial else 1, stride=stride if spatial else 1,
        padding=k // 2 if spatial else 0, groups=2 * channels if spatial else 1,
    )  # fmt: skip
    plain, st_os = config.replace(st_os=False), config.replace(st_os=True)
    best = map_layer(layer, st_os).cycles
    assert best <= map_layer(layer, st_os, "textbook").cycles
    assert best <= map_layer(layer, plain).cycles <= map_layer(layer, plain, "textbook").cycles


def test_batch():
    """The commands of a batch are those of its images as more pixels, or as more channels."""
    config = ArrayConfig(rows=16, cols=16, st_os=True)
    rng = np.random.default_rng(3)
    batch, size, channels = 5, 5, 24
    x = operands(rng, (batch, size, size, channels), 8)
    wide = np.moveaxis(x, 0, 2).reshape(size, size, -1)
    taps = operands(rng, (3, 3, channels), 8)
    w = operands(rng, (channels, channels), 8)
    shape = {"name": "", "c_in": channels, "c_out": channels}
    point = Layer(kind="pointwise", size=(size, size), **shape)
    spatial = {"size": (size, size), "kernel": 3, "padding": 1, "groups": channels}
    tall = golden.lower_pointwise_conv2d(x.reshape(batch * size, size, channels), w, config)
    many = golden.lower_pointwise_conv2d(x[:, :1, 0], w, config)
    deep = golden.lower_depthwise_conv2d(wide, np.tile(taps, (1, 1, batch)), config)
    for layer, lowering in (
        (point, tall),
        (Layer(kind="linear", size=(1, 1), **shape), many),
        (Layer(kind="depthwise", **spatial, **shape), deep),
    ):
        plan = map_layer(layer, config, batch=batch)
        assert plan.commands == [tile.command for tile in lowering.tiles]
        assert plan.cycles < batch * map_layer(layer, config).cycles


def test_unknown_mapping():
    """The legal ones are named."""
    with pytest.raises(ValueError, match="best, textbook, not 'fast'"):
        map_gemm(1, 1, 1, ArrayConfig(rows=1, cols=1), "fast")
