"""Mappings: closed forms against lists, every kind of tile on the RTL, whole networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import MAPPINGS, Operands, Plan, Workload, map_workload
from golden.machine.schedule import Repeat, cycles, unroll
from golden.mapping.gemm import GemmMapping, covers, map_gemm
from golden.mapping.patches import PatchMapping
from golden.mapping.streams import StreamMapping, candidates
from golden.nets.networks import FUSE_NETWORKS, FUSE_VARIANTS, build
from golden.workload import KINDS
from hw.config import ArrayConfig, Command
from sim.network import network_cycles, network_report
from sim.pages import ESTIMATES
from verif.lib.bench import prove, simulator
from verif.lib.strategies import check, layers, machines
from verif.lib.tiles import operands


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
    data = Operands.of("conv", operands(rng, (1, m, k), 8), operands(rng, (k, n), 8))
    lowering = map_workload(data.workload, config).tiles(data)
    result = prove(config, lowering.tiles)
    assert result.cycles == cycles(found.program, config)
    np.testing.assert_array_equal(lowering.collect(result.outputs), data.result())


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
    rng = np.random.default_rng(6)
    data = Operands.of(
        "depthwise", operands(rng, (*size, channels), 8), operands(rng, (k, k, channels), 8),
        stride=stride, padding=k // 2, pad_value=-3,
    )  # fmt: skip
    plan = map_workload(data.workload, config, "textbook" if config is TALL else "best")
    kind = StreamMapping if config.st_os else PatchMapping
    assert all(isinstance(part, kind) and wanted(part) for part in plan.parts), str(plan)
    lowering = plan.tiles(data)
    result = simulator(config).run(lowering.tiles)
    assert result.cycles == plan.cycles
    np.testing.assert_array_equal(lowering.collect(result.outputs), data.result())


@settings(max_examples=150, deadline=None)
@given(layers(), machines(), st.data())
def test_every_depthwise_mapping(layer, config, data):
    """Those that are not the best compute the right thing, too."""
    rng, x, kernel, stride, padding, pad_value = layer
    channels = x.shape[2]
    layer = Operands.of(
        "depthwise", x, operands(rng, (*kernel, channels), 8), stride=stride, padding=padding,
        pad_value=pad_value,
    )  # fmt: skip
    window, rows, cols = layer.workload.window, config.rows, config.cols
    if config.st_os and data.draw(st.booleans()):
        ways = list(candidates(layer.workload.branches[0], config, True))
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
    check(layer, Plan(layer.workload, config, (found,)), layer.result(config.acc_width))


@settings(max_examples=150, deadline=None)
@given(machines(), st.integers(1, 25), st.integers(1, 12), st.integers(1, 25), st.data())
def test_every_gemm_mapping(config, m, k, n, data):
    """Those that are not the best compute the right thing, too."""
    ways = list(covers(m, n, config, "best"))
    strips = data.draw(st.sampled_from(ways))
    found = GemmMapping(pixels=m, depth=k, channels=n, strips=strips)
    rng = np.random.default_rng(m * n)
    layer = Operands.of("conv", operands(rng, (1, m, k), 8), operands(rng, (k, n), 8))
    check(layer, Plan(layer.workload, config, (found,)), layer.result(config.acc_width))


def random_operands(work):
    """Return random operands of a workload."""
    rng = np.random.default_rng(7)
    x = operands(rng, (work.batch, *work.window.size, work.c_in), 8)
    k, each = work.window.kernel, work.c_out // 2
    shapes = {
        "linear": [(work.c_in, work.c_out)],
        "depthwise": [(*k, work.c_out)],
        "fuse_half": [(k[0], each), (k[1], each)],
        "fuse_full": [(k[0], each), (k[1], each)],
    }.get(work.kind, [(*k, work.c_in // work.groups, work.c_out // work.groups)])
    weights = tuple(operands(rng, shape, 8) for shape in shapes)
    return Operands(workload=work, x=x, weights=weights, pad_value=int(rng.integers(-9, 9)))


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
    reports = {one.layer.workload: one for one in network_report(network, config).layers}
    kinds = set()
    for work, report in reports.items():
        data = random_operands(work)
        lowering = report.plan.tiles(data)
        result = simulator(config).run(lowering.tiles)
        assert result.cycles == report.cycles, (work, str(report.plan))
        assert len(lowering.tiles) == report.tiles
        np.testing.assert_array_equal(lowering.collect(result.outputs), data.result(), str(work))
        kinds.add(report.plan.name)
    assert len(reports) > 15 and "GEMM" in kinds
    assert kinds & {"Toeplitz", "block-diagonal", "ST-OS"}


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(("name", "variant", "resolution"), SMALL)
def test_layers_of_networks(name, variant, resolution, mapping):
    """What a network's report counts is what the lowering of its layers sends to the core."""
    config = ArrayConfig(rows=24, cols=10, st_os=mapping == "textbook", accumulators=1)
    for work in dict.fromkeys(one.workload for one in build(name, variant, resolution).layers):
        plan = map_workload(work, config, mapping)
        lowering = plan.tiles(random_operands(work))
        assert plan.commands == [tile.command for tile in lowering.tiles], work
        assert plan.cycles == cycles(plan.commands, config), work


@pytest.mark.parametrize("name", FUSE_NETWORKS)
def test_whole_networks(name):
    """Closed forms against full command lists, at real size."""
    shapes = {
        layer.workload for variant in FUSE_VARIANTS[:3] for layer in build(name, variant).layers
    }
    for config in (
        ArrayConfig(rows=64, cols=64, st_os=True),
        ArrayConfig(rows=32, cols=64, st_os=True, accumulators=1),
        ArrayConfig(rows=64, cols=32),
    ):
        for work in shapes:
            for mapping in MAPPINGS:
                plan = map_workload(work, config, mapping)
                assert plan.cycles == cycles(plan.commands, config), (work, str(plan))


def test_estimates():
    """No slower than first estimated."""
    assert len(ESTIMATES) == 5
    config = ArrayConfig(rows=64, cols=64, st_os=True)
    for name, estimates in ESTIMATES.items():
        for variant, estimate in zip(("half", "baseline"), estimates, strict=True):
            assert network_cycles(build(name, variant), config) <= 1000 * estimate


@settings(max_examples=200, deadline=None)
@given(
    machines(), st.sampled_from(["conv", "depthwise", "fuse_half"]), st.integers(1, 12),
    st.integers(1, 12), st.integers(1, 10), st.integers(1, 3), st.sampled_from([1, 3, 5]),
)  # fmt: skip
def test_best_is_best(config, kind, height, width, channels, stride, k):
    """Never slower than the textbook, nor with ST-OS than without."""
    shape = {"kernel": k, "stride": stride, "padding": k // 2} if kind != "conv" else {}
    work = Workload.of(kind, (height, width), 2 * channels, 2 * channels, **shape)
    plain, st_os = config.replace(st_os=False), config.replace(st_os=True)
    best = map_workload(work, st_os).cycles
    assert best <= map_workload(work, st_os, "textbook").cycles
    assert best <= map_workload(work, plain).cycles <= map_workload(work, plain, "textbook").cycles


@pytest.mark.parametrize("kind", KINDS)
def test_batch(kind):
    """A batch on the RTL: the right result for every image, in fewer cycles than one by one."""
    config = SQUARE
    shape = {} if kind == "linear" else {"kernel": 3, "padding": 1}
    groups = 2 if kind == "abconv" else 1
    work = Workload.of(kind, (5, 5), 6, 12, batch=3, groups=groups, **shape)
    data, plan = random_operands(work), map_workload(work, config)
    lowering = plan.tiles(data)
    result = prove(config, lowering.tiles)
    found = lowering.collect(result.outputs)
    np.testing.assert_array_equal(found, data.result())
    assert result.cycles == plan.cycles
    one = replace(work, batch=1)
    assert plan.cycles < 3 * map_workload(one, config).cycles
    for image, x in zip(found, data.x, strict=True):
        alone = replace(data, workload=one, x=x)
        np.testing.assert_array_equal(image, alone.result())


def test_unknown_mapping():
    """The legal ones are named."""
    with pytest.raises(ValueError, match="best, textbook, not 'fast'"):
        map_gemm(1, 1, 1, ArrayConfig(rows=1, cols=1), "fast")
