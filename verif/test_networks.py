"""Networks, the papers' models and group selection against what is published."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden import Workload
from golden.nets.abconv import divisors, expansion, intensity, select_groups
from golden.nets.layers import Layer
from golden.nets.networks import (
    ABCONV_STEPS,
    NETWORKS,
    REPLACED_50,
    abconv_layers,
    build,
    counted,
    is_pointwise,
)
from hw.config import ArrayConfig
from sim.abconv import block_report, select_on_array
from sim.cost import Memory
from sim.papers import abconv, fuseconv
from sim.papers.item import Item


def test_fuseconv():
    """All cycles, speed-ups and released counts agree exactly; MACs of Table I nearly."""
    items = fuseconv.items()
    by_table = {}
    for item in items:
        by_table.setdefault((item.table.split(",")[0], item.quantity), []).append(item)
    counts = {key: len(some) for key, some in by_table.items()}
    assert counts[("Table I", "cycles")] == 25
    assert sum(n for (table, _), n in counts.items() if table == "Array sizes") == 20
    assert sum(n for (table, _), n in counts.items() if table == "Released code") == 100
    for (table, quantity), some in by_table.items():
        for item in some:
            if (table, quantity) == ("Table I", "MMACs"):
                # Counted with another tool, by the paper.
                assert 0.88 < item.ours / float(item.published) < 0.99, item
            elif (table, quantity) == ("Table I", "Mparams"):
                assert math.floor(item.ours * 100) == round(float(item.published) * 100), item
            else:
                assert item.verdict == "match", item


def test_abconv():
    """Every printed count, every formula and every reconstructed group agrees."""
    counts = {}
    for item in abconv.items():
        counts[item.basis, item.verdict] = counts.get((item.basis, item.verdict), 0) + 1
    latencies = sum(count for (basis, _), count in counts.items() if basis == "latency")
    assert latencies == 5 + 6 + 7
    assert {key: count for key, count in counts.items() if key[0] != "latency"} == {
        ("printed", "match"): 54,
        ("printed", "last digit"): 4,
        ("formula", "match"): 24,
        ("reconstructed", "match"): 11,
    }


@pytest.mark.parametrize(
    ("published", "ours", "verdict"),
    [
        ("2.02", 2.0249, "match"),
        ("7.36", 7.3666, "match (cut off)"),
        ("46.5", 46.4466, "last digit"),
        ("100", 98.0, "-2.0 %"),
        ("2.02", 2.031, "+0.5 %"),
        ("2536900", 2536901, "+0.0 %"),
    ],
)
def test_verdict(published, ours, verdict):
    """A number that differs in the last digit is not a match."""
    item = Item(table="", row="", quantity="", published=published, ours=ours)
    assert item.verdict == verdict


def test_paper_model_by_hand():
    """Small folds counted by hand."""
    # 5 pixels on 4 rows, 3 filters on 2 columns, depth 10: four folds.
    assert fuseconv.gemm_cycles(5, 10, 3, 4, 2) == (10 + 5) + (10 + 2) + (10 + 4) + (10 + 1)
    # 6 lines of 2 channels on 4 rows, 3 folds, of 9 elements on 4 columns, 3 folds: stride 2.
    assert fuseconv.stream_cycles(6, 9, 3, 2, 2, 4, 4) == math.ceil(3 / 2 * 7 * 3)


def test_resnet50_blocks():
    """Half of ResNet50's blocks are replaced: those that gain most as half in the paper's model."""

    def cycles(variant, block):
        layers = [
            layer
            for layer in build("resnet50", variant).layers
            if layer.name.startswith(f"block{block}.")
        ]
        return sum(fuseconv.layer_cycles(layer, 64, 64) for layer in layers)

    saved = {block: cycles("baseline", block) - cycles("half", block) for block in range(1, 17)}
    chosen = {block: saved.pop(block) for block in REPLACED_50["resnet50"]}
    assert len(chosen) == len(saved) == 8
    assert min(chosen.values()) >= max(saved.values())


def test_shapes_chain():
    """Every layer takes what the one before gives, but for side branches and pooling."""
    for name in NETWORKS:
        network = build(name)
        main = [
            layer
            for layer in network.layers
            if not any(word in layer.name for word in ("squeeze", "excite", "shortcut"))
        ]
        for before, after in zip(main, main[1:], strict=False):
            first, second = before.workload, after.workload
            assert first.c_out == second.c_in, (name, after.name)
            size = second.window.size
            assert size in (first.output, (1, 1)) or before.name == "stem", after.name
    assert build("resnet50").macs == 4089184256  # torchvision's 4.09 GMACs
    assert build("resnet50").parameters == 25557032  # and its parameters
    assert build("mobilenet_v2", resolution=225).layers[0].workload.output == (113, 113)


@pytest.mark.parametrize(
    "name, width, millions",
    [("mobilenet_v2", 0.35, 59), ("mobilenet_v2", 0.5, 97), ("mobilenet_v2", 1.4, 582),
     ("mobilenet_v1", 0.25, 41), ("mobilenet_v1", 0.5, 149)],
)  # fmt: skip
def test_widths(name, width, millions):
    """Networks at other widths have the MACs that TensorFlow's authors publish."""
    network = build(name, width=width, padding="same")
    assert round(network.macs / 1e6) == millions
    assert all(layer.workload.c_out % 8 == 0 for layer in network.layers[:-1])


def test_operators_of_blocks():
    """Every block has the operator that is asked for, whatever the strides and classes."""
    chosen = ["depthwise", "fuse_half", "fuse_full"] * 5 + ["depthwise", "fuse_half"]
    strides = (1, 1, 2, 2, 2, 1, 1, 1)
    network = build("mobilenet_v2", resolution=32, strides=strides, classes=10, operators=chosen)
    spatial = [layer.workload for layer in network.layers if layer.workload.spatial]
    assert [work.kind for work in spatial] == chosen
    assert network.variant == "DHF" * 5 + "DH"
    assert network.layers[-1].workload.c_out == 10
    assert network.layers[-2].workload.output == (4, 4)
    assert build("mobilenet_v2", operators=["fuse_half"] * 17).variant == "fuse_half"


@pytest.mark.parametrize("network", ["mobilenet_v1_cifar100", "resnet50_cifar100"])
def test_replaceable(network):
    """As many layers as the paper says are replaced when every one of them is."""
    replaced = [layer for layer in build(network, "A").layers if layer.workload.kind == "abconv"]
    assert len(replaced) == {"mobilenet_v1_cifar100": 8, "resnet50_cifar100": 17}[network]
    assert not any("shortcut" in layer.name for layer in replaced)


def test_select_groups():
    """The paper's own examples, and the channels that do not fit."""
    assert select_groups(1024, 1024, 1, 4, 32, 16, False) == (4, True)  # 5.657: nearer to 4
    assert select_groups(1024, 1024, 1, 4, 32, 16, True) == (8, True)  # 7.062
    assert select_groups(1024, 1024, 1, 2, 32, 16, False) == (8, True)  # 11.31
    assert select_groups(1000, 1024, 1, 4, 32, 16, False) == (1, False)
    assert select_groups(64, 64, 1, 112, 32, 16, False) == (1, True)
    assert select_groups(1024, 1024, 1, 4, 32, 16, True, rule="max_intensity").g == 8
    assert select_groups(256, 1024, 1, 4, 32, 16, True).g == 4
    assert select_groups(256, 1024, 1, 4, 32, 16, True, rule="max_intensity").g == 8
    # The steps of the Jetson Nano select the same groups in the networks of the paper.
    for layer in build("mobilenet_v1_cifar100").layers:
        work = layer.workload
        if is_pointwise(work):
            shape = (work.c_in, work.c_out, 1, work.output[0])
            for expand in (False, True):
                ethos = select_groups(*shape, *ABCONV_STEPS, expand)
                jetson = select_groups(*shape, 8, 32, expand)
                assert ethos.g == jetson.g


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 5]), st.integers(1, 14),
    st.booleans(), st.sampled_from(["balance", "max_intensity"]),
)  # fmt: skip
def test_selection_is_optimal(q_in, q_out, k, s, expand, rule):
    """The optimum found by formula is the optimum found by search, on a fine grid of real g."""
    c_in, c_out = 32 * q_in, 16 * q_out
    g = np.geomspace(1e-3, 1e4, 200_001)
    product, wide = k * k * c_in * c_out, c_in + k * k * c_out
    macs = np.full_like(g, s * s * product)
    weights, activations = product / g, s * s * (c_in + c_out + 2 * g * product / wide)
    if not expand:
        macs, weights = macs / g, weights / g
        activations = np.full_like(g, s * s * (c_in + c_out))
    if rule == "balance":
        score = -abs(np.log(weights / activations))
    else:
        score = macs / (weights + activations)
    best = g[np.argmax(score)]
    chosen = select_groups(c_in, c_out, k, s, 32, 16, expand, rule)
    near = sorted(divisors(math.gcd(q_in, q_out)), key=lambda d: abs(d - best))
    tolerance = 1e-3 * best
    assert abs(chosen.g - best) <= abs(near[0] - best) + tolerance


def test_intensity_of_layers():
    """Table 1's formulas agree with counts of the layers, for any shape."""
    for kind in ("conv", "group", "abconv", "abconv_exp"):
        for size, c_in, c_out, k, g in ((5, 48, 96, 3, 6), (1, 64, 32, 1, 32), (9, 32, 32, 5, 1)):
            groups = 1 if kind == "conv" else g
            layers = abconv_layers(size, c_in, c_out, k, kind, groups)
            formula = intensity(c_in, c_out, k, size, kind, groups)
            assert counted(layers) == formula
    assert expansion(1024, 1024, 1) == 512 and expansion(512, 1024, 1) == 352


def test_select_on_array():
    """The g of least time for ABConv-exp; for ABConv the smallest that memory does not slow."""
    config = ArrayConfig(rows=16, cols=16)
    memory = Memory(dram_bytes_per_cycle=2.32, activations_on_chip=True)
    shape = (1024, 1024, 1, 4)
    g = select_on_array(*shape, False, config, memory)
    assert block_report("abconv", g, *shape, config, memory).bound == "core"
    assert block_report("abconv", g // 2, *shape, config, memory).bound == "DRAM"
    g = select_on_array(*shape, True, config, memory)
    times = {
        other: block_report("abconv_exp", other, *shape, config, memory).time
        for other in divisors(1024)[1:]
    }
    assert times[g] < block_report("conv", 1, *shape, config, memory).time
    assert times[g] == min(times.values())
    # A memory that is always too slow: least time, not the first that is fast enough.
    slow = Memory(dram_bytes_per_cycle=1e-6)
    assert select_on_array(*shape, False, config, slow) == 1024
    # Where the convolution is fast already, it stays.
    for expand in (False, True):
        assert select_on_array(7, 13, 1, 4, expand, config, memory) == 1
        assert select_on_array(64, 64, 1, 56, expand, config, memory) == 1


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: build("mobilenet_v9"), ValueError, "mobilenet_v1, .*not 'mobilenet_v9'"),
        (lambda: build("mobilenet_v2", "third"), ValueError, "baseline, full, half, .*'third'"),
        (lambda: build("mobilenet_v2", "A-P"), ValueError, "not 'A-P'"),
        (lambda: build("resnet50_cifar100", "half"), ValueError, "pattern .*not 'half'"),
        (lambda: build("resnet50_cifar100", "A--P"), ValueError, "not 'A--P'"),
        (lambda: build("mobilenet_v1", resolution=31), ValueError, "at least 32, not 31"),
        (
            lambda: build("mobilenet_v1", resolution=32.0),  # type: ignore[arg-type]
            TypeError,
            "not 32.0",
        ),
        (lambda: select_groups(0, 8, 1, 4, 8, 8, False), ValueError, "c_in .* not 0"),
        (
            lambda: select_groups(8, 8, 1, 4, 8, 8.0, False),  # type: ignore[arg-type]
            TypeError,
            "t_out .* not 8.0",
        ),
        (lambda: select_groups(8, 8, 1, 4, 8, 8, False, "x"), ValueError, "balance, .*not 'x'"),
        (lambda: abconv_layers(4, 8, 12, 1, "abconv", 3), ValueError, "1, 2, 4, not 3"),
        (lambda: abconv_layers(4, 8, 8, 1, "conv", 2), ValueError, "one of 1, not 2"),
        (lambda: abconv_layers(4, 8, 8, 2, "conv"), ValueError, "kernel must be odd.* not 2"),
        (
            lambda: Workload.of("fuse_half", (4, 4), 5, 5, kernel=3),
            ValueError,
            "even, not 5",
        ),
        (lambda: Workload.of("x", (4, 4), 5, 5), ValueError, "not 'x'"),
        (lambda: Workload.of("depthwise", (4, 4), 4, 6), ValueError, "6 filters are no multiple"),
        (lambda: Workload.of("abconv", (4, 4), 4, 6, groups=4), ValueError, "4 groups do not"),
        (
            lambda: Workload.of("conv", (4, 4), 4, 4, groups=2).gemm,
            ValueError,
            "grouped convolutions have no mapping",
        ),
        (lambda: build("mobilenet_v1", resolution=10**9), ValueError, "from 1 to 65536"),
        (lambda: build("mobilenet_v1", resolution=31), ValueError, "at least 32, not 31"),
        (lambda: build("mobilenet_v1", width=0), ValueError, "above 0 and at most 16, not 0"),
        (lambda: build("mobilenet_v1", classes=0), ValueError, "at least 1, not 0"),
        (lambda: build("mobilenet_v1", strides=(1, 3)), ValueError, "must be 1 or 2, not 1-3"),
        (lambda: build("mobilenet_v1", strides=(1, 2)), ValueError, "must be 14, not 2"),
        (lambda: build("mobilenet_v1", operators=["x"]), ValueError, "fuse_full, not 'x'"),
        (lambda: build("mobilenet_v1", operators=["depthwise"]), ValueError, "must be 13, not 1"),
        (
            lambda: build("mobilenet_v1", "half", operators=["depthwise"] * 13),
            ValueError,
            "take the place of variant 'half'",
        ),
        (lambda: intensity(8, 8, 1, 4, "dense"), ValueError, "not 'dense'"),
    ],
)
def test_bad_input(call, error, text):
    """The right exception, with the value and what is legal."""
    with pytest.raises(error, match=text):
        call()


def test_workload_counts():
    """MACs and weights of one workload of every kind, by hand."""

    def of(kind, c_out, **more):
        return Workload.of(kind, (6, 8), 4, c_out, kernel=3, padding=1, stride=2, **more)

    conv = of("conv", 5)
    assert (conv.output, conv.weights, conv.macs) == ((3, 4), 180, 2160)
    half = Layer(name="", workload=of("fuse_half", 4), norm=4)
    assert (half.workload.weights, half.workload.macs) == (12, 144)
    assert (half.parameters, half.statistics) == (20, 8)
    full = of("fuse_full", 8)
    assert (full.weights, full.macs, full.inputs, full.outputs) == (24, 288, 192, 96)
    depthwise = of("depthwise", 4)
    assert (depthwise.weights, depthwise.macs) == (36, 432)
    double = of("depthwise", 8, batch=3)
    assert (double.weights, double.macs, double.inputs) == (72, 3 * 864, 3 * 192)
    block = of("abconv", 6, groups=2)
    assert (block.weights, block.macs, block.depth) == (54, 12 * 54 * 2, 18)
    assert [str(one) for one in (conv, half.workload, full, block)] == [
        "3x3/2", "fuse half 1x3 + 3x1/2", "fuse full 1x3 + 3x1/2", "abconv 3x3/2 g=2",
    ]  # fmt: skip
