"""What goes into a network and what comes out, as people have it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sim.models
import sim.run
from golden.int8.graph import Graph
from sim.inputs import Normalization, read_input
from verif.lib.models import Net, Writer, load, modern

SIZE = ["--rows", "5", "--cols", "3", "--st-os", "--golden-only"]


def ends(shape: tuple[int, ...], dtype: Any, scale: float = 1.0, zero: int = 0) -> bytes:
    """Return a model whose input goes through one QUANTIZE."""
    writer = Writer()
    if dtype == np.float32:
        source = writer.tensor(shape, dtype=np.float32)
    else:
        source = writer.tensor(shape, scale, zero, dtype=dtype)
    target = writer.tensor(shape, scale, zero - 128 * (dtype == np.uint8))
    writer.add("QUANTIZE", [source], target)
    return writer.content([source], [target])


def picture(folder: Path) -> tuple[Path, np.ndarray]:
    """Return a picture of 8 x 8 pixels, and these."""
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    path = folder / "p.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def read(graph: Graph, path: Path, *words: Any) -> tuple[np.ndarray, str]:
    return read_input(path, graph, graph.inputs[0], *words)


def test_uint8_pixels(tmp_path):
    """A uint8 input takes pixels as they are, whatever its scale."""
    path, pixels = picture(tmp_path)
    graph = load(ends((1, 8, 8, 3), np.uint8, 0.0123, 99), tmp_path)
    value, words = read(graph, path)
    np.testing.assert_array_equal(value[0], pixels)
    assert value.dtype == np.uint8 and words.endswith("pixels as they are")
    value, words = read(graph, path, Normalization(mean=(0.0,), deviation=(255.0,)))
    wanted = np.clip(np.rint(pixels / 255 / 0.0123) + 99, 0, 255)
    np.testing.assert_allclose(value[0], wanted, atol=1)
    assert "0 to 255 taken as 0 to 1, 0.0 % of" not in words and "are cut off" not in words
    value, words = read(graph, path, Normalization(mean=(0.0,), deviation=(10.0,)))
    assert re.search(r"taken as 0 to 25.5, 9\d\.\d % of which the input does not span", words)


def test_channels_first(tmp_path):
    """An input of 3 x H x W takes the channels first."""
    path, pixels = picture(tmp_path)
    graph = load(ends((1, 3, 8, 8), np.uint8, 0.1, 0), tmp_path)
    np.testing.assert_array_equal(read(graph, path)[0][0], pixels.transpose(2, 0, 1))


def test_real_pixels(tmp_path):
    """What pixels are for a float32 input, the QUANTIZE behind it tells."""
    path, pixels = picture(tmp_path)
    for scale, zero, wanted, text in (
        (1 / 255, -128, pixels / 255, "taken as 0 to 1"),
        (2 / 255, 0, pixels / 127.5 - 1, "taken as -1 to 1"),
        (1.0, 0, pixels - 128.0, "taken as -128 to 127"),
        ((2.64 + 2.118) / 255, -15, (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
         "less ImageNet's mean, divided by its deviation"),
    ):  # fmt: skip
        value, words = read(load(ends((1, 8, 8, 3), np.float32, scale, zero), tmp_path), path)
        assert value.dtype == np.float32
        assert words.endswith(f"{text} (a guess: --normalize says it)")
        np.testing.assert_allclose(value[0], wanted, atol=1e-5)
    graph = load(ends((1, 8, 8, 3), np.float32, 0.05, -25), tmp_path)
    with pytest.raises(ValueError, match="spans -5.15 to 7.6, and pixels.*--normalize MEAN STD"):
        read(graph, path)
    value, words = read(graph, path, Normalization(mean=(1.0, 2.0, 3.0), deviation=(4.0,)))
    np.testing.assert_allclose(value[0], (pixels - [1.0, 2, 3]) / 4, atol=1e-5)
    assert words.endswith("less 1, 2, 3, divided by 4")


def test_arrays(tmp_path):
    """Arrays have the type of the input; real ones are finite."""
    graph = load(ends((1, 8, 8, 3), np.float32, 0.05, -25), tmp_path)
    for value, text in (
        (np.zeros((8, 8, 3)), "must be float32, not float64"),
        (np.full((8, 8, 3), np.nan, np.float32), "not finite"),
        (np.zeros((8, 8), np.float32), "must be 8x8x3"),
    ):
        np.save(tmp_path / "x.npy", value)
        with pytest.raises(ValueError, match=text):
            read(graph, tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.ones((8, 8, 3), np.float32))
    assert read(graph, tmp_path / "x.npy")[1] == "x.npy, float32 as it is"
    graph = load(ends((1, 8, 8, 3), np.uint8, 0.5, 7), tmp_path)
    with pytest.raises(ValueError, match=r"must be uint8, round\(x / 0.5\) \+ 7 for real x, not"):
        read(graph, tmp_path / "x.npy")
    (tmp_path / "yes.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="what turns sound into the 8x8x3 features.*as .npy"):
        read(graph, tmp_path / "yes.wav")


def test_results(tmp_path, capsys):
    """Several outputs: rows as classes, others by place; labels, a file with all of them."""
    model, values = tmp_path / "m.tflite", tmp_path / "x.npy"
    model.write_bytes(modern())
    x = np.random.default_rng(1).normal(size=(11, 9, 3)).astype(np.float32)
    np.save(values, x)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nfish\ncow\nhen\n")
    json_file, outputs = tmp_path / "x.json", tmp_path / "out.npz"
    words = [str(model), "--input", str(values), *SIZE, "--labels", str(labels)]
    assert sim.run.main([*words, "--json", str(json_file), "--output", str(outputs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = load(modern(), tmp_path).run(x)
    written, data = np.load(outputs), json.loads(json_file.read_text())
    assert written.files == ["output0", "output1", "output2"]
    for index, one in enumerate(wanted):
        np.testing.assert_array_equal(written[f"output{index}"][0], one)
        np.testing.assert_array_equal(np.array(data["outputs"][index]["values"])[0], one)
    first = data["outputs"][0]["places"][1]
    y, x_place = first["place"]
    assert wanted[0][y, x_place, 1] == wanted[0][..., 1].max() == first["score"]
    table = [line.split() for line in lines if line.startswith("0: ")]
    assert table[0][2:4] == ["0", "cat"] and table[1][2:4] == ["1", "dog"]
    best = int(wanted[1].argmax())
    classes = [line for line in lines if line.startswith("class ")]
    assert classes[0].startswith(f"class {best}") and len(classes) == 5
    assert "output 1: 7 float32" in lines
    host = next(line for line in lines if line.startswith("host: "))
    assert "1 CONCATENATION, 2 DEQUANTIZE, 1 HARD_SWISH" in host
    assert data["host_operations"] == sum(one["host_operations"] for one in data["layers"]) > 0
    assert [one["macs"] > 0 for one in data["layers"]].count(True) == 5


def test_input_that_goes_out(tmp_path, capsys):
    """An input that is an output, too, comes out as it went in."""
    writer = Writer()
    source = writer.tensor((1, 8), 0.1, 77, dtype=np.uint8)
    target = writer.add("QUANTIZE", [source], writer.tensor((1, 8), 0.1, -51))
    model, values = tmp_path / "m.tflite", tmp_path / "x.npy"
    model.write_bytes(writer.content([source], [target, source]))
    np.save(values, np.arange(8, dtype=np.uint8))
    outputs = tmp_path / "o.npz"
    words = [str(model), "--input", str(values), *SIZE, "--output", str(outputs)]
    assert sim.run.main(words) == 0
    found = np.load(outputs)
    assert found["output1"].tolist() == [list(range(8))] and found["output1"].dtype == np.uint8
    assert found["output0"].tolist() == [list(range(-128, -120))]
    assert sim.models.main([str(model), "--sizes", "8"]) == 0  # nothing of it is on the array
    assert "0 of 1 operators on the array" in capsys.readouterr().out


def test_ends_by_command(tmp_path, capsys):
    """Mistakes are one line and status 2."""
    model, path = tmp_path / "m.tflite", picture(tmp_path)[0]
    model.write_bytes(ends((1, 8, 8, 3), np.float32, 0.05, -25))
    (tmp_path / "few").write_text("one\n")
    assert sim.run.main(["--input", str(path), *SIZE, str(model), "--normalize", "9", "9"]) == 0
    capsys.readouterr()
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\xff\xfe")
    good = [str(model), "--input", str(path), *SIZE, "--normalize", "128", "64"]
    for words, text in (
        (
            [str(model), "--input", str(path), "--input", str(path), *SIZE],
            "needs 1 file, not 2: tensor0 (8x",
        ),
        ([*good[:-1], "0"], "no STD of 0"),
        ([*good[:-1], "1e-320"], "takes pixels to infinity"),
        ([*good[:-1], "1,2"], "must be one number or three like 1,2,3, not '1,2'"),
        ([*good[:-1], "nan"], "must be one number or three"),
        ([*good, "--labels", str(bad)], "labels must be text"),
        ([*good, "--labels", str(tmp_path / "absent")], "cannot read"),
        ([*good, "--labels", str(tmp_path / "few")], "has 1 labels; the outputs have 3 classes"),
        ([*good, "--output", "x.txt"], "--output FILE must end in .npz, not x.txt"),
        ([str(model), "--input", "x.npz", *SIZE], "holds several arrays; give one of them as .npy"),
        ([str(model), "--input", "x.npy", *good[3:]], "--normalize is about pictures"),
        ([*good, "--labels", "a.npz", "--output", "a.npz"], "cannot read a.npz"),
        ([*good, "--json", "a.npz", "--output", "a.npz"], "named twice"),
    ):
        with pytest.raises(SystemExit) as caught:
            sim.run.main(words)
        out, error = capsys.readouterr()
        assert caught.value.code == 2 and out == "" and text in error, words
        assert error.count("\n") == 1


def strange() -> bytes:
    """Return a model with depthwise kernels that FuSe fits, and one that it does not."""
    net = Net(3, (1, 9, 8, 4))
    x = net.depthwise(net.input, (3, 3))
    x = net.conv(net.depthwise(x, (9, 1)), (1, 1), 6)
    x = net.conv(net.depthwise(x, (3, 3)), (1, 1), 3)
    return net.done(net.conv(net.depthwise(x, (3, 3)), (1, 1), 4))


def test_what_does_not_fit(tmp_path, capsys):
    """What has no FuSe layer stays depthwise, and is named; the rest is replaced."""
    model, values = tmp_path / "m.tflite", tmp_path / "x.npy"
    model.write_bytes(strange())
    np.save(values, np.zeros((9, 8, 4), np.int8))
    words = [str(model), "--input", str(values), *SIZE[:-1]]
    for variant, left in (
        ("half", {"op01": "its kernel is 9x1, not square", "op05": "3 channels are odd"}),
        ("full", {"op00": "DEPTHWISE_CONV_2D reads it", "op01": "its kernel is 9x1, not square"}),
    ):
        assert sim.run.main([*words, "--fuse", variant, "--json", str(tmp_path / "x.json")]) == 0
        out = capsys.readouterr().out
        found = json.loads((tmp_path / "x.json").read_text())
        assert found["not_fused"] == {f"{k}_DEPTHWISE_CONV_2D": v for k, v in left.items()}
        kinds = [one["operator"] for one in found["layers"]]
        assert kinds.count("FUSE_CONV_2D") == 2 and kinds.count("DEPTHWISE_CONV_2D") == 2
        assert found["rtl_cycles"] == found["predicted_cycles"]
        for name, why in left.items():
            assert f"{name}_DEPTHWISE_CONV_2D stays depthwise: {why}\n" in out


def test_fold_by_command(tmp_path, capsys):
    """Both numbers are shown, and what ran is smaller, on the RTL too."""
    net = Net(5, (1, 6, 6, 3))
    y = net.conv(net.conv(net.input, (3, 3), 8), (1, 1), 5)
    net.writer.tensors[net.writer.operators[0][1][1]][3][:5] = 0
    model, values = tmp_path / "m.tflite", tmp_path / "x.npy"
    model.write_bytes(net.done(y))
    np.save(values, np.full((6, 6, 3), 9, np.int8))
    words = [str(model), "--input", str(values), *SIZE[:-1], "--json", str(tmp_path / "x.json")]
    found = []
    for more in ([], ["--fold"]):
        assert sim.run.main([*words, *more]) == 0
        found.append(json.loads((tmp_path / "x.json").read_text()))
    plain, folded = found
    assert "folded: channels that are" in capsys.readouterr().out
    assert plain["output"] == folded["output"] and plain["folded"] is None
    assert folded["macs"] == folded["folded"]["macs"] == 36 * (27 * 3 + 3 * 5) < plain["macs"]
    assert folded["rtl_cycles"] == folded["folded"]["predicted_cycles"] < plain["rtl_cycles"]
    assert folded["unmodified_predicted_cycles"] == plain["predicted_cycles"]
