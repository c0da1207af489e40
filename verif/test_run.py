"""Whole int8 networks on the RTL, changed ones too, and the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sim.network
import sim.run
from golden.int8 import tflite
from golden.int8.array_operators import ABConv2D, ArrayOperator, DepthwiseConv2D, FuseConv2D
from golden.int8.graph import Graph
from golden.int8.transform import abconv, fold, fuse
from golden.machine.schedule import cycles, unroll
from golden.mapping import MAPPINGS
from hw.config import ArrayConfig
from sim.inputs import read_input
from sim.rtl import Simulator
from sim.rtl.toolchain import find_verilator
from verif.lib.bench import simulator
from verif.lib.fetch import find
from verif.lib.models import (
    VARIANTS,
    Net,
    Writer,
    everything,
    load,
    modern,
    needs_models,
    reference_input,
    variant,
)  # fmt: skip

ARRAYS = {
    "8x8 ST-OS": ArrayConfig(rows=8, cols=8, st_os=True),
    "3x5 plain, 1 accumulator": ArrayConfig(rows=3, cols=5, accumulators=1),
    "5x3 ST-OS": ArrayConfig(rows=5, cols=3, st_os=True),
    "3x5 plain": ArrayConfig(rows=3, cols=5),
    "3x5 ST-OS, 2 stages": ArrayConfig(rows=3, cols=5, st_os=True, mac_stages=2),
}

CHANGES = {
    "none": lambda graph: graph,
    "fuse half": lambda graph: fuse(graph, "half"),
    "fuse full": lambda graph: fuse(graph, "full"),
    "abconv 2": lambda graph: abconv(graph, 2),
    "abconv 4": lambda graph: abconv(graph, 4),
    "abconv-exp 2": lambda graph: abconv(graph, 2, expand=True),
    "fuse half, abconv 2": lambda graph: abconv(fuse(graph, "half"), 2),
    "fuse full, abconv-exp 2": lambda graph: abconv(fuse(graph, "full"), 2, expand=True),
}


RESULTS = {
    "vww_96_int8": "vww_astronaut",
    "pretrainedResnet_quant": "resnet8_chelsea",
    "kws_ref_model": "kws_random7",
}


def prove(graph: Graph, x: np.ndarray, config: ArrayConfig, mapping: str = "best") -> None:
    """Run a network on the RTL; `sim.run.run` compares sums and cycles and raises."""
    done = list(sim.run.run(graph, [x], config, simulator=simulator(config), mapping=mapping))
    on_array = [one for one in done if isinstance(one.operator, ArrayOperator)]
    assert on_array
    for one in on_array:
        assert one.compared == np.prod(one.operator.output.shape)
        assert one.cost and one.cycles == one.cost.cycles > 0
    for one, step in zip(done, graph.steps(x), strict=True):
        np.testing.assert_array_equal(one.output, step.output)


def some_input(graph: Graph, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 127, graph.inputs[0].shape, np.int8, endpoint=True)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("array", ARRAYS)
def test_all_operators(array, mapping, tmp_path):
    """A model with every operator, exact in every layer, as many cycles as predicted."""
    for seed in (1, 2):
        graph = load(everything(seed), tmp_path)
        prove(graph, some_input(graph, seed), ARRAYS[array], mapping)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("array", ARRAYS)
def test_changed(array, change, tmp_path):
    """So are changed networks."""
    graph = CHANGES[change](load(everything(3), tmp_path))
    kinds = {type(one) for one in graph.operators}
    assert ("fuse" in change) == (FuseConv2D in kinds) == (DepthwiseConv2D not in kinds)
    assert ("abconv" in change) == (ABConv2D in kinds)
    prove(graph, some_input(graph), ARRAYS[array])


@needs_models
@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("st_os", [False, True], ids=["plain", "ST-OS"])
@pytest.mark.parametrize("model, result", RESULTS.items())
def test_models(model, result, st_os, size):
    """Real networks: every multiply-accumulate on the RTL."""
    graph = tflite.load(find(f"models/{model}.tflite"))
    prove(graph, reference_input(graph, result), ArrayConfig(rows=size, cols=size, st_os=st_os))


@pytest.mark.parametrize("name", [name for name in VARIANTS if "fully" in name or "old" in name])
def test_variants(name, tmp_path):
    """What converters write."""
    graph = load(variant(name), tmp_path)
    prove(graph, some_input(graph), ARRAYS["8x8 ST-OS"])


@pytest.mark.parametrize("array", ARRAYS)
def test_modern(array, tmp_path):
    """Real numbers at the ends, other operators between: what is on the array runs on the RTL."""
    graph = load(modern(4), tmp_path)
    x = np.random.default_rng(1).normal(size=graph.inputs[0].shape).astype(np.float32)
    prove(graph, x, ARRAYS[array])
    prove(fold(graph), x, ARRAYS[array])


@pytest.mark.parametrize("array", ARRAYS)
def test_uint8_weights(array, tmp_path):
    """The zero point of weights never enters the array, nor do zeros of a dilated kernel differ."""
    rng, writer = np.random.default_rng(1), Writer()
    x = rng.integers(0, 256, (1, 9, 7, 3)).astype(np.uint8)
    source = writer.tensor(x.shape, 0.1, 77, dtype=np.uint8)
    for kind, shape, options in (
        ("CONV_2D", (8, 3, 3, 3), {"DilationHFactor": 2, "DilationWFactor": 1}),
        ("DEPTHWISE_CONV_2D", (1, 3, 3, 8), {"StrideH": 2, "StrideW": 2}),
    ):
        data = rng.integers(0, 256, shape).astype(np.uint8)
        weights = writer.tensor(shape, 0.01, 201, data=data, dtype=np.uint8)
        size = (9, 7) if kind == "CONV_2D" else (5, 4)
        target = writer.tensor((1, *size, 8), 1.0, 99, dtype=np.uint8)
        source = writer.add(kind, [source, weights], target, **options)
    graph = load(writer.content([0], [source]), tmp_path)
    prove(graph, x, ARRAYS[array])
    assert len(np.unique(graph.run(x))) > 20


# Columns of a table in docs/networks.md.
SHOWN = ["fuse half", "fuse full", "abconv 2", "abconv-exp 2", "fuse half, abconv 2"]


@needs_models
@pytest.mark.parametrize("st_os", [False, True], ids=["plain", "ST-OS"])
@pytest.mark.parametrize("change", SHOWN)
def test_models_changed(change, st_os):
    """Real networks with other layers, at 16 x 16."""
    for model, result in RESULTS.items():
        graph = tflite.load(find(f"models/{model}.tflite"))
        if "fuse" not in change or "esnet" not in model:  # which has no depthwise layer
            config = ArrayConfig(rows=16, cols=16, st_os=st_os)
            prove(CHANGES[change](graph), reference_input(graph, result), config)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("change", CHANGES)
def test_plan_is_what_lowering_does(change, mapping, tmp_path):
    """The commands that are predicted without data are those that are sent."""
    graph = CHANGES[change](load(everything(4), tmp_path))
    for config in (*ARRAYS.values(), ArrayConfig(rows=16, cols=4, st_os=True)):
        for step in graph.steps(some_input(graph)):
            one = step.operator
            if isinstance(one, ArrayOperator):
                plan = one.plan(config, mapping)
                tiles = plan.tiles(one.operands(step.inputs[0])).tiles
                assert list(unroll(plan.program)) == [tile.command for tile in tiles]
                assert plan.cycles == cycles([tile.command for tile in tiles], config)


def test_missing_tools(model, values, capsys, monkeypatch, tmp_path):
    """Without a compiler it says so; interrupted, it writes nothing."""
    command = [str(model), "--input", str(values), *SIZE]
    with monkeypatch.context() as patch:
        find_verilator.cache_clear()
        patch.setenv("PATH", str(tmp_path))
        assert sim.run.main(command) == 1
    find_verilator.cache_clear()
    error = capsys.readouterr().err
    assert error == "sim.run: g++ is missing: simulation builds what Verilator writes with it\n"

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sim.run, "Simulator", interrupt)
    with pytest.raises(KeyboardInterrupt):  # for report.output.run
        sim.run.main(command)
    assert capsys.readouterr().err == ""


def test_another_array(tmp_path):
    """A simulator of another array is refused."""
    graph = load(everything(), tmp_path)
    running = sim.run.run(
        graph, [some_input(graph)], ARRAYS["3x5 plain"], simulator=simulator(ARRAYS["5x3 ST-OS"])
    )
    with pytest.raises(ValueError, match="one of 5 x 3 ST-OS, 2 acc.*not of 3 x 5 plain"):
        next(running)


def test_macs(tmp_path):
    """Multiply-accumulates, counted by hand."""
    graph = load(everything(), tmp_path)
    macs = [layer.workload.macs for layer in graph.layers]
    assert macs[:4] == [7 * 5 * 8 * 27, 7 * 5 * 8 * 9, 7 * 5 * 12 * 8, 4 * 5 * 24 * 9]
    halves, wholes = (
        [one.workload.macs for one in fuse(graph, variant).layers if one.workload.fused]
        for variant in ("half", "full")
    )
    assert halves[0] == 7 * 5 * 8 * 3 and wholes[0] == 2 * halves[0]
    shared = abconv(graph, 2).operators[2]
    assert isinstance(shared, ABConv2D) and shared.workload.macs == macs[2] // 2


# The command line.


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(everything())
    return path


@pytest.fixture
def values(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, some_input(load(everything(), tmp_path)))
    return path


SIZE = ["--rows", "8", "--cols", "8", "--st-os"]


def test_command(model, values, tmp_path, capsys):
    """Table, totals, classes and JSON agree with each other and with golden."""
    target = tmp_path / "run.json"
    command = [str(model), "--input", str(values), *SIZE, "--json", str(target)]
    assert sim.run.main(command) == 0
    text, error = capsys.readouterr()
    assert error == ""
    data = json.loads(target.read_text())
    graph = tflite.load(model)
    wanted = graph.run(np.load(values))
    assert data["output"] == [wanted.tolist()]
    assert [one["class"] for one in data["classes"]] == np.argsort(-wanted.astype(int)).tolist()
    best = data["classes"][0]
    assert best["score"] == (best["int8"] + 128) / 256
    assert f"class {best['class']}: {best['score']:.4f} (int8 {best['int8']})" in text
    layers = [one for one in data["layers"] if one["lowering"]]
    assert len(data["layers"]) == len(graph.operators) and len(layers) == 10
    assert all(one["exact"] and one["rtl_cycles"] == one["predicted_cycles"] for one in layers)
    assert data["rtl_cycles"] == sum(one["rtl_cycles"] for one in layers)
    assert data["rtl_cycles"] == data["predicted_cycles"] == data["unmodified_predicted_cycles"]
    assert data["macs"] == sum(one["macs"] for one in layers)
    assert data["utilisation"] == data["macs"] / (64 * data["rtl_cycles"])
    assert "host" in text and text.count(" yes") == len(layers) + 1
    assert f"{data['compared']:,} sums compared" in text
    assert data["compared"] == sum(np.prod(one["output"]) for one in layers)


def test_some_layers(model, values, tmp_path, capsys):
    """--layers runs those on the RTL; --golden-only none; the result is the same."""
    base = [str(model), "--input", str(values), *SIZE, "--json", str(tmp_path / "run.json")]
    results = []
    for more, ran in ((["--layers", "2-4,9"], [2, 3, 4, 9]), (["--golden-only"], [])):
        assert sim.run.main([*base, *more]) == 0
        data = json.loads((tmp_path / "run.json").read_text())
        on_rtl = [i for i, one in enumerate(data["layers"]) if one["rtl_cycles"] is not None]
        assert on_rtl == ran and data["rtl_cycles"] is None
        results.append((data["output"], data["predicted_cycles"]))
    assert results[0] == results[1]
    assert "nothing ran on the RTL" in capsys.readouterr().out


def test_changes(model, values, tmp_path, capsys):
    """The options that change the network, and what they do to the cycles."""
    base = [str(model), "--input", str(values), *SIZE, "--json", str(tmp_path / "run.json")]
    for more, kind, words in (
        (["--fuse", "half"], "FUSE_CONV_2D", "FuSe half"),
        (["--fuse=full", "--abconv-exp", "4"], "FUSE_CONV_2D", "FuSe full, ABConv-exp g=4"),
        (["--abconv"], "ABCONV_2D", "ABConv g=2"),
    ):
        assert sim.run.main([*base, *more]) == 0
        data = json.loads((tmp_path / "run.json").read_text())
        assert kind in {one["operator"] for one in data["layers"]}
        text = capsys.readouterr().out
        assert f"net.tflite, {words}, 13 x 9, on 8 x 8 ST-OS" in text
        before, after = data["unmodified_predicted_cycles"], data["predicted_cycles"]
        assert before != after == data["rtl_cycles"]
        assert f"{before:,} cycles; changed {after:,}, {before / after:.2f} times" in text


def test_memory(model, values, tmp_path, capsys):
    """Bounds, the time with DRAM and the picture are those that sim.network reports."""
    target, plot = tmp_path / "run.json", tmp_path / "run.png"
    base = [str(model), "--input", str(values), *SIZE, "--golden-only"]
    memory = ["--dram-bytes-per-cycle", "4"]
    files = ["--json", str(target), "--plot", str(plot)]
    assert sim.run.main([*base, *memory, *files]) == 0
    text = capsys.readouterr().out
    ran = json.loads(target.read_text())
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sim.network.main(["--network", str(model), *SIZE, *memory, "--json", str(target)]) == 0
    reported = json.loads(target.read_text())
    layers = [one for one in ran["layers"] if one["lowering"]]
    assert len(layers) == len(reported["layers"]) == 10
    for one, other in zip(layers, reported["layers"], strict=True):
        assert one["name"] == other["layer"] and one["predicted_cycles"] == other["cycles"]
        for name in ("lowering", "mapping", "time", "bound", "dram_bytes", "stream_bytes"):
            assert one[name] == other[name]
    assert ran["time"] == reported["time"] > ran["predicted_cycles"] == reported["cycles"]
    assert {one["bound"] for one in layers} > {"DRAM"} and f"{ran['time']:,.0f}" in text


class Broken(Simulator):
    """A simulator with a fault in one layer."""

    def run(self, tiles, **options):
        """Run as ever, and then falsify."""
        tiles = list(tiles)
        result = super().run(tiles, **options)
        if len(tiles) == self.layer:
            self.fault(result)
            return replace(result, cycles=result.cycles + self.late)
        return result


@pytest.mark.parametrize("fault", ["value", "cycles"])
def test_mismatch(fault, model, values, tmp_path, capsys, monkeypatch):
    """A wrong sum or cycle stops the run, with the layer, the place, and how to see it again."""
    graph, config = tflite.load(model), ArrayConfig(rows=8, cols=8, st_os=True)
    steps = list(graph.steps(np.load(values)))
    plan = steps[4].operator.plan(config)
    lowering = plan.tiles(steps[4].operator.operands(steps[4].inputs[0]))
    count = len(lowering.tiles)
    others = [
        len(one.operator.plan(config).commands)
        for one in steps[:4]
        if isinstance(one.operator, ArrayOperator)
    ]
    assert count not in others

    def break_one(result):
        if fault == "value":
            place = int(np.argwhere(lowering.places[0] == lowering.places[0].max())[0][0])
            lane = int(lowering.places[0][place].argmax())
            result.outputs[0][place, lane] += 1 << 10

    monkeypatch.setattr(Broken, "layer", count, raising=False)
    monkeypatch.setattr(Broken, "late", int(fault == "cycles"), raising=False)
    monkeypatch.setattr(Broken, "fault", staticmethod(break_one), raising=False)
    monkeypatch.setattr(sim.run, "Simulator", Broken)
    target = tmp_path / "run.json"
    command = [str(model), f"--input={values}", *SIZE, "--json", str(target)]
    assert sim.run.main(command) == 1
    out, error = capsys.readouterr()
    assert out == "" and not target.exists()
    what, again = error.splitlines()
    assert what.startswith("sim.run: op04_CONV_2D: ")
    if fault == "value":
        flat = int(lowering.places[0].max())
        place = list(map(int, np.unravel_index(flat, lowering.shape)))
        right = int(steps[4].operator.accumulate(steps[4].inputs[0])[tuple(place)])
        assert f"sum {place} is {right + 1024} on the RTL and {right} in golden" in what
        assert "1 of 240 differ" in what
    else:
        assert f"{plan.cycles + 1:,} cycles on the RTL, " in what
    alone = again.partition("python -m sim.run ")[2].split()
    assert alone[-2:] == ["--layers", "4"] and "--json" not in alone
    assert sim.run.main(alone) == 1  # the same again, from the printed words
    assert capsys.readouterr().err == error
    monkeypatch.undo()
    assert sim.run.main(alone) == 0


def picture(path: Path, size: tuple[int, int], left: int, right: int) -> Path:
    """Write a picture whose halves have two shades, and whose edges have a third."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    margin = (size[0] - size[1]) // 2
    pixels[:, margin : size[0] // 2] = left
    pixels[:, size[0] // 2 : size[0] - margin] = right
    Image.fromarray(pixels).save(path)
    return path


def test_pictures(tmp_path):
    """A picture is cropped in the middle, resized and quantized."""
    graph = load(everything(), tmp_path)
    for scale, zero, black, white in (
        (1 / 255, -128, -128, 127),
        (2 / 255, 0, -128, 127),
        (1.0, -128, -128, 127),
        (1 / 127, 0, -127, 127),
        (1.0, 0, -128, 127),
    ):
        target = replace(graph.inputs[0], shape=(1, 20, 20, 3), scale=scale, zero_point=zero)
        path = picture(tmp_path / "p.png", (300, 100), 0, 255)
        value, words = read_input(path, graph, target)
        assert value.shape == (1, 20, 20, 3) and value.dtype == np.int8
        assert set(np.unique(value[0, :, :9])) == {black}, (scale, zero)
        assert set(np.unique(value[0, :, 11:])) == {white}
        assert "300 x 100 pixels, cropped and resized to 20 x 20" in words
    grey = replace(graph.inputs[0], shape=(1, 10, 20, 1), scale=1.0, zero_point=-128)
    value, _ = read_input(picture(tmp_path / "p.jpg", (90, 90), 77, 77), graph, grey)
    assert set(np.unique(value)) == {77 - 128}


def test_mistakes(model, values, tmp_path, capsys):
    """A user's mistake is one line and status 2."""
    good = [str(model), "--input", str(values), *SIZE]
    files = {
        name: str(tmp_path / name) for name in ("a.npy", "b.npy", "c.npy", "d.png", "e.tflite")
    }
    np.save(files["a.npy"], np.zeros((13, 9, 3)))
    np.save(files["b.npy"], np.zeros((9, 13, 3), np.int8))
    Path(files["c.npy"]).write_bytes(b"no array")
    Path(files["d.png"]).write_bytes(b"no picture")
    Path(files["e.tflite"]).write_bytes(everything()[:5000])
    for words, text in (
        ([files["e.tflite"], *good[1:]], "e.tflite: damaged"),
        (["absent.tflite", *good[1:]], "cannot read absent.tflite: No such file"),
        ([str(model), "--input", "absent.png", *SIZE], "absent.png"),
        ([str(model), "--input", files["a.npy"], *SIZE], "for real x, not float64"),
        ([str(model), "--input", files["b.npy"], *SIZE], "must be 13x9x3, not 9x13x3"),
        ([str(model), "--input", files["c.npy"], *SIZE], "no array"),
        ([str(model), "--input", files["d.png"], *SIZE], "pixels are taken as 0 to 1"),
        ([*good, "--layers", "19"], "--layers must be from 0 to 18, not 19"),
        ([*good, "--layers", "5-6"], "no layer with multiply-accumulates: op05_MAX_POOL_2D, op06"),
        ([*good, "--layers", "7-5"], "must be layers like 3,5-7, not '7-5'"),
        ([*good, "--layers", "3-"], "must be layers like 3,5-7, not '3-'"),
        ([*good, "--abconv", "x.tflite"], "must be a number of groups, 2 to 65536, not 'x.tflite'"),
        ([*good, "--json", str(model)], "it is read as"),
        ([*good, "--json", f"{values}/x.json"], "x.npy is not a directory"),
        ([*good, "--layers", "1", "--golden-only"], "--golden-only uses none"),
        ([*good, "--acc-width", "16"], "for this network, not 16"),
        ([*good, "--act-width", "7"], "--act-width must be at least 8 for int8 models, not 7"),
        ([*good, "--abconv", "7"], "no 1x1 convolution has channels that 7 groups divide"),
        ([*good, "--abconv", "--abconv-exp"], "not allowed with"),
        ([*good, "--fuse", "most"], "most"),
        ([*good[1:]], "MODEL.tflite"),
        ([*good, "--json", str(tmp_path)], "is a directory"),
    ):
        with pytest.raises(SystemExit) as caught:
            sim.run.main(words)
        out, error = capsys.readouterr()
        assert caught.value.code == 2 and out == ""
        assert len(error.splitlines()) == 1 and error.startswith("sim.run: ") and text in error, (
            words
        )


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_picture_modes(mode, tmp_path):
    """Pictures of any kind with 8 bits per channel; others are refused, not clipped."""
    graph = load(everything(), tmp_path)
    target = replace(graph.inputs[0], shape=(1, 4, 4, 3), scale=1 / 255, zero_point=-128)
    path = tmp_path / "p.tiff"
    Image.new(mode, (9, 7), 1 if mode == "1" else 0).save(path)
    if mode in ("I;16", "F"):
        with pytest.raises(ValueError, match="8 bits per channel, not mode"):
            read_input(path, graph, target)
        return
    value, _ = read_input(path, graph, target)
    # Zeros are black; in CMYK and where transparent they are white.
    shade = 127 if mode in ("1", "RGBA", "LA", "CMYK") else -128
    assert set(np.unique(value)) == {shade}


def test_unreadable_files(tmp_path, capsys):
    """Damaged pictures and arrays are refused in one line, whatever is wrong with them."""
    net = Net(1, (1, 8, 8, 3))
    model = tmp_path / "net.tflite"
    net.writer.tensors[0] = (
        (1, 8, 8, 3),
        np.float32([1 / 255]),
        -128,
        None,
        np.dtype(np.int8),
        0,
        "x",
    )
    model.write_bytes(net.done(net.conv(net.input, (1, 1), 2)))
    whole = picture(tmp_path / "whole.png", (90, 90), 1, 2).read_bytes()
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|i1', 'fortran_order': False, 'shape': (%s), }"
    np.savez(tmp_path / "z.npz", a=np.zeros(3))
    files = {
        "text.png": b"no picture",
        "empty.png": b"",
        "cut.png": whole[:60],
        "late.png": whole[:-30],
        "empty.npy": b"",
        "zip.npy": (tmp_path / "z.npz").read_bytes(),
        "huge.npy": (header % b"9" * 25).ljust(127) + b"\n",
        "large.npy": (header % b"1, 99999, 99999, 99999").ljust(127) + b"\n",
        "deep.npy": (header % (b"(" * 40)).ljust(127) + b"\n",
    }
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}]))
    files["objects.npy"] = objects.read_bytes()
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SystemExit) as caught:
            sim.run.main([str(model), "--input", str(path), *SIZE, "--golden-only"])
        out, error = capsys.readouterr()
        assert caught.value.code == 2 and out == "", name
        assert len(error.splitlines()) == 1, error
        words = "no array of numbers" if name.endswith("npy") else "neither .npy nor a pict|trunc"
        assert re.search(words, error), error
    fine = picture(tmp_path / "late.png", (90, 90), 1, 2)
    assert sim.run.main([str(model), "--input", str(fine), *SIZE, "--golden-only"]) == 0


def test_odd_networks(tmp_path, capsys):
    """No multiply-accumulates; an output that is not the last; names that look like markup."""
    path, values = tmp_path / "a[red]b.tflite", tmp_path / "x[bold]y.npy"
    target = tmp_path / "run.json"
    command = [str(path), "--input", str(values), *SIZE, "--json", str(target)]
    net = Net(1, (1, 6))
    path.write_bytes(
        net.done(net.writer.add("SOFTMAX", [net.input], net.activation((1, 6), 1 / 256, -128)))
    )
    np.save(values, np.arange(6, dtype=np.int8))
    assert sim.run.main(command) == 0
    text = capsys.readouterr().out
    assert "a[red]b.tflite, 6, on 8 x 8" in text and "x[bold]y.npy, int8" in text
    assert json.loads(target.read_text())["macs"] == 0
    for sharp, status in ((True, 0), (False, 2)):
        net = Net(1, (1, 600))
        y = net.writer.add("SOFTMAX", [net.input], net.activation((1, 600), 1 / 256, -128))
        path.write_bytes(net.done(y))
        x = np.full((1, 600), -128 if sharp else 5, np.int8)
        x[0, 3] = 127 if sharp else 5
        np.save(values, x)
        if status:
            with pytest.raises(SystemExit):
                sim.run.main([*command, "--golden-only"])
            error = capsys.readouterr().err
            assert error.startswith("sim.run: op00_SOFTMAX: 512") and error.count("\n") == 1
        else:
            assert sim.run.main([*command, "--golden-only"]) == 0
    path.write_bytes(variant("output inside"))
    x = np.arange(120, dtype=np.int8).reshape(1, 6, 5, 4)
    np.save(values, x)
    assert sim.run.main(command) == 0
    assert json.loads(target.read_text())["output"] == [tflite.load(path).run(x).tolist()]


# What the documents say.

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
NETWORKS = {
    "visual wake words": "vww_96_int8",
    "ResNet8": "pretrainedResnet_quant",
    "keyword spotting": "kws_ref_model",
}


@needs_models
def test_page_shows_the_run(tmp_path, capsys):
    """The run of the page, and of the README, but for the picture and so the scores."""
    values, model = tmp_path / "astronaut.npy", find("models/vww_96_int8.tflite")
    np.save(values, reference_input(tflite.load(model), "vww_astronaut"))
    size = ["--rows", "16", "--cols", "16", "--st-os"]
    sim.run.main([str(model), "--input", str(values), *size])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    lines = [line for line in lines if not line.startswith(("input", "class"))]
    page = [line.removeprefix("    ").rstrip() for line in PAGE.read_text().splitlines()]
    start = page.index(lines[0])
    shown = [one for one in page[start : start + len(lines) + 1] if not one.startswith("input")]
    assert shown == lines and len(lines) > 31
    readme = PAGE.parents[1].joinpath("README.md").read_text()
    for first in ("layer", "total", "RTL"):
        (line,) = (line for line in lines if line.startswith(first))
        assert f"    {line}\n" in readme


@needs_models
def test_page_tables():
    """The cycles in the tables of the page are those of the code."""
    compared = 0
    for line in PAGE.read_text().splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        name, _, kind = name.partition(", ")
        if name not in NETWORKS:
            continue
        graph = tflite.load(find(f"models/{NETWORKS[name]}.tflite"))
        if kind:
            runs = [
                (CHANGES[change], ArrayConfig(rows=16, cols=16, st_os=kind == "ST-OS"))
                for change in ("none", *SHOWN)
            ]
        else:
            cells.pop(0)
            runs = [
                (CHANGES["none"], ArrayConfig(rows=size, cols=size, st_os=st_os))
                for size in (8, 16, 32)
                for st_os in (False, True)
            ]
        for cell, (change, config) in zip(cells, runs, strict=True):
            if cell == "-":
                assert name == "ResNet8"
                continue
            some = [one for one in change(graph).operators if isinstance(one, ArrayOperator)]
            used = sum(one.plan(config).cycles for one in some)
            share = (
                100 * sum(one.workload.macs for one in some) / (config.rows * config.cols * used)
            )
            assert cell == (f"{used:,}" if kind else f"{used:,} ({share:.0f} %)")
            compared += 1
    assert compared == 48
