"""Start the cocotb bench on the emitted accelerator: an independent client of its ports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from golden.int8 import tflite, transform
from golden.int8.graph import Graph
from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.emit import emit_accelerator
from sim.accelerator.compiler import compile_graph
from sim.accelerator.run import place
from verif.lib.cocotb_build import Built
from verif.lib.fetch import find, needs
from verif.lib.models import Net, load
from verif.lib.wild import inputs

TESTS = {"network", "paused", "driver", "refusals"}


def prepare(graph: Graph, config: AcceleratorConfig, folder: Path, runs: int = 2) -> None:
    """Write memory, addresses and expected outputs for the bench."""
    program = compile_graph(graph, config)
    values = graph.values(inputs(graph)) | {
        one.operator.output: one.output for one in graph.steps(*inputs(graph))
    }
    placed = place(program, [values[one] for one in program.inputs])
    (folder / "memory.bin").write_bytes(placed.memory)
    outputs = []
    for offset, tensor in zip(program.offsets(program.outputs), program.outputs, strict=True):
        name = f"output{offset}.bin"
        value = tensor.outside(np.ascontiguousarray(values[tensor]))
        (folder / name).write_bytes(value.tobytes())
        outputs.append((offset, name))
    names = []
    for number, value in enumerate(inputs(graph)):
        names.append(f"input{number}.npy")
        np.save(folder / names[-1], value)
    (folder / "model.bin").write_bytes(program.image)
    facts = program.to_dict()
    (folder / "model.json").write_text(json.dumps(facts))
    for name, image, more in (
        ("other", program.image, {"config": {"rows": 8, "cols": 8, "st_os": False}}),
        ("cut", program.image + bytes(64), {}),
    ):
        (folder / f"{name}.bin").write_bytes(image)
        (folder / f"{name}.json").write_text(json.dumps(facts | more))
    facts = {
        "inputs": names, "shape": (config.array.rows, config.array.cols, config.array.st_os),
        "addresses": placed.addresses, "outputs": outputs, "scratch_bytes": program.scratch_bytes,
        "limit": 20 * program.timing().cycles + 10_000, "runs": runs,
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts))


def spilling(folder: Path) -> Graph:
    """Return a short network that needs what is behind SCRATCH, with two outputs."""
    net = Net(3, (1, 12, 11, 3))
    x = net.conv(net.input, (3, 3), 12)
    y = net.depthwise(net.conv(x, (1, 1), 13), (3, 3))
    x = net.sum(net.conv(y, (1, 1), 12), x)
    return load(net.writer.content([net.input], [net.conv(x, (1, 1), 5), x]), folder)


def test_bench(tmp_path):
    """Every test of the bench must have run and passed."""
    array = ArrayConfig(rows=4, cols=3, st_os=True)
    config = AcceleratorConfig(array=array, axi_width=32, act_kib=4, wgt_kib=8)
    prepare(spilling(tmp_path), config, tmp_path)
    built = Built(
        emit_accelerator(config), "stos_accelerator", "verif.cocotb_accelerator", tmp_path
    )
    failures = built.run({"STOS_RUN": str(tmp_path)})
    assert set(failures) == TESTS
    assert not any(failures.values()), "".join(failures.values())[-3000:]
    # Another expectation: the bench notices one byte.
    output = tmp_path / "output0.bin"
    output.write_bytes(bytes([output.read_bytes()[0] ^ 1]) + output.read_bytes()[1:])
    assert "1 bytes differ" in built.run({"STOS_RUN": str(tmp_path)}, "network")["network"]


if "STOS_SOAK" in os.environ:  # a minute long: `make soak` runs it

    @pytest.mark.parametrize(
        "model", [pytest.param("vww_96_int8", marks=needs("models/vww_96_int8.tflite"))]
    )
    def test_visual_wake_words(model, tmp_path):
        """A whole inference at 16 x 16."""
        graph = transform.recognize(tflite.load(find(f"models/{model}.tflite")))
        array = ArrayConfig(rows=16, cols=16, st_os=True)
        config = AcceleratorConfig(array=array, act_kib=128)
        prepare(graph, config, tmp_path, runs=1)
        built = Built(
            emit_accelerator(config), "stos_accelerator", "verif.cocotb_accelerator", tmp_path,
            optimize=True,
        )  # fmt: skip
        assert built.run({"STOS_RUN": str(tmp_path)}, "network") == {"network": ""}
