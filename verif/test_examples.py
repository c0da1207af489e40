"""The networks that come with the project: the files of their runs, and what they see."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples import draw
from golden.int8 import transform
from golden.int8.tflite import load
from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from sim import run
from sim.accelerator.run import run as run_accelerator
from sim.network import network_cycles
from train import report

EXAMPLES = Path(__file__).parents[1] / "examples"
NETWORKS = json.loads((EXAMPLES / "networks.json").read_text())
LABELS = (EXAMPLES / "labels.txt").read_text().split()
PICTURES = [one.__name__ for one in draw.PICTURES]


def test_pages():
    """README.md and networks.json are what the committed logs say."""
    networks = report.shipped(report.Study(report.committed()))
    assert NETWORKS == networks, "make pages"
    assert (EXAMPLES / "README.md").read_text() == report.describe(networks), "make pages"


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name):
    """The pictures are those that the program draws."""
    drawn = draw.reduced(getattr(draw, name)())
    assert np.array_equal(np.asarray(Image.open(EXAMPLES / f"{name}.png")), np.asarray(drawn))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    """A file is its run's, below 1 MB, with the operators and cycles that are stated."""
    one = NETWORKS[name]
    content = (EXAMPLES / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == one["sha256"]
    assert len(content) == one["bytes"] < 1_000_000
    graph = transform.recognize(load(EXAMPLES / name))
    kinds = [one.kind for one in graph.operators if one.kind.startswith(("FUSE", "DEPTHWISE"))]
    assert kinds == [{"H": "FUSE_CONV_2D", "D": "DEPTHWISE_CONV_2D"}[c] for c in one["operators"]]
    for key, st_os in (("plain", False), ("st_os", True)):
        config = ArrayConfig(rows=16, cols=16, st_os=st_os)
        assert network_cycles(graph.network(""), config) == one["cycles"][key]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_they_see(name):
    """Every picture is recognized."""
    graph = load(EXAMPLES / name)
    for picture in PICTURES:
        pixels = np.asarray(Image.open(EXAMPLES / f"{picture}.png"))
        logits = graph.run((pixels ^ 128).view(np.int8))
        assert LABELS[int(np.argmax(logits))] == picture


@pytest.mark.parametrize("name", NETWORKS)
def test_on_the_rtl(name, tmp_path, capsys):
    """The command of README.md runs all of it on the Verilog, and says the class."""
    found = tmp_path / "found.json"
    words = f"{EXAMPLES / name} --input {EXAMPLES / 'ship.png'} --normalize 128 128 --labels"
    words += f" {EXAMPLES / 'labels.txt'} --rows 16 --cols 16 --st-os --json {found}"
    assert run.main(words.split()) == 0
    assert "ship:" in capsys.readouterr().out
    assert json.loads(found.read_text())["rtl_cycles"] == NETWORKS[name]["cycles"]["st_os"]


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_on_the_accelerator(name, size):
    """From memory to memory: bit for bit, and to the cycle."""
    graph = transform.recognize(load(EXAMPLES / name))
    pixels = np.asarray(Image.open(EXAMPLES / "ship.png"))
    config = AcceleratorConfig(array=ArrayConfig(rows=size, cols=size, st_os=True))
    ran = run_accelerator(graph, [(pixels ^ 128).view(np.int8)], config)
    assert LABELS[int(np.argmax(*ran.outputs.values()))] == "ship"
    said = (EXAMPLES.parent / "README.md").read_text()
    if f"examples/{name}" in (EXAMPLES.parent / "Makefile").read_text() and size == 16:
        assert f"{ran.result.cycles:,} cycles from start to done, as predicted" in said
