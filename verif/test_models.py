"""Ten models as users have them: every output, on golden and on the RTL; and their page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sim.compare
import sim.explore
import sim.models
import sim.network
import sim.pages
import sim.run
from golden.int8 import tflite
from golden.int8.array_operators import ArrayOperator
from hw.config import ArrayConfig
from sim.rtl import Simulator
from verif.lib.fetch import find, missing
from verif.lib.models import Net, modern

DOCS = Path(__file__).parents[1] / "docs"
PAGE = {one.name: one for one in sim.pages.known_models()}
TEN = [name.removesuffix(".tflite") for name in PAGE if not name.startswith("vww")]
#: Those that TFLM does not run: of uint8 convolutions it has no kernel.
LITERT = {"mnv1_025_128_u8"}


def files(*names: str) -> list[Path]:
    """Return where files are, or skip the test."""
    if said := missing(*names):
        pytest.skip(said)
    return [find(name) for name in names]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", TEN)
def test_outputs(name, which):
    """Every output is the interpreter's, bit for bit."""
    model, results = files(f"models/users/{name}.tflite", f"models/users/{name}.npz")
    graph, wanted = tflite.load(model), np.load(results)
    assert len(TEN) == 10
    found = graph.run(wanted[f"input{which}"])
    found = found if isinstance(found, tuple) else (found,)
    by = "litert" if name in LITERT else "tflm"
    assert len(found) == sum(key.startswith(f"{by}{which}_") for key in wanted.files) > 0
    for index, one in enumerate(found):
        target = wanted[f"{by}{which}_{index}"]
        assert one.dtype == target.dtype
        np.testing.assert_array_equal(one.ravel(), target.ravel(), f"output {index}")


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("name", TEN)
def test_on_rtl(name, size):
    """With every multiply-accumulate on the RTL; cycles are those of the page."""
    model, results = files(f"models/users/{name}.tflite", f"models/users/{name}.npz")
    graph, wanted = tflite.load(model), np.load(results)
    config = ArrayConfig(rows=size, cols=size, st_os=True)
    x = wanted["input1"].reshape(graph.inputs[0].shape)
    ran = list(sim.run.run(graph, [x], config, simulator=Simulator(config)))
    on_array = [one for one in ran if isinstance(one.operator, ArrayOperator)]
    assert on_array and all(one.cycles and one.compared for one in on_array)
    assert sum(one.cycles or 0 for one in on_array) == PAGE[model.name].cycles[str(size)]["st_os"]
    outputs = graph.results({one.operator.output: one.output for one in ran})
    by = "litert" if name in LITERT else "tflm"
    for index, one in enumerate(outputs):
        np.testing.assert_array_equal(one.ravel(), wanted[f"{by}1_{index}"].ravel())


@pytest.mark.parametrize("name", PAGE)
def test_page_is_measured(name):
    """What the page says of a model is so."""
    (path,) = files(f"models/{'' if name.startswith('vww') else 'users/'}{name}")
    found, known = sim.models.measure(path, (8, 16, 32)), PAGE[name]
    assert vars(found) | {"rtl": known.rtl} == vars(known)
    assert known.rtl == {size: known.cycles[size]["st_os"] for size in ("8", "16")}


def test_page_is_rendered():
    """The page is made of the numbers beside it."""
    assert (DOCS / "models.md").read_text() == sim.pages.render_models(list(PAGE.values()))
    assert "\n".join(PAGE) == "\n".join(f"{name}.tflite" for name in [*TEN, "vww_96_int8"])


def test_command(tmp_path, capsys):
    """Models that run, on the RTL too, and one that does not, with the reason."""
    (tmp_path / "modern.tflite").write_bytes(modern())
    net = Net(1, (1, 6, 6, 4))
    y = net.conv(net.input, (1, 1), 4)
    net.writer.add("CUSTOM", [y], net.like(y, net.shapes[y]))
    (tmp_path / "warp.tflite").write_bytes(net.done(y + 1))
    names = [str(tmp_path / name) for name in ("modern.tflite", "warp.tflite")]
    target = tmp_path / "x.json"
    arguments = [*names, "--sizes", "8,5", "--rtl", "5", "--json", str(target)]
    assert sim.models.main(arguments) == 0
    out = capsys.readouterr().out
    assert "1 of 2 models can run\n" in out
    assert "warp.tflite: 1 of 2 operators are not supported: 1 CUSTOM 'Warp'" in out
    data = json.loads(target.read_text())["models"]
    assert [one["name"] for one in data] == ["modern.tflite", "warp.tflite"]
    assert data[0]["rtl"] == {"5": data[0]["cycles"]["5"]["st_os"]}
    assert list(data[0]["cycles"]) == ["8", "5"] and data[0]["on_array"] == 5
    assert sim.models.main([names[1], str(tmp_path / "absent.tflite")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sim.models: no model can run\nwarp.tflite: 1 of 2 operators")
    assert "absent.tflite: cannot be read: No such file" in error
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "modern.tflite").write_bytes(modern(2))
    other = str(tmp_path / "b" / "modern.tflite")
    assert sim.models.main([names[0], other, "--sizes", "8"]) == 0
    assert f"{names[0]}: 5 of " in (out := capsys.readouterr().out) and f"{other}: 5 of" in out
    for words, text in (([names[0], "--sizes", "0"], "must be"),):
        with pytest.raises(SystemExit) as caught:
            sim.models.main(words)
        assert caught.value.code == 2 and text in capsys.readouterr().err


@pytest.mark.parametrize("name", PAGE)
def test_reports_take_them(name, capsys):
    """Cycles of `sim.network` are those of the page; comparisons and shapes take the files, too."""
    (path,) = files(f"models/{'' if name.startswith('vww') else 'users/'}{name}")
    size = ["--rows", "16", "--cols", "16"]
    for flag, which in ((["--st-os"], "st_os"), ([], "plain")):
        assert sim.network.main(["--network", str(path), *size, *flag, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["cycles"] == PAGE[name].cycles["16"][which]
    assert sim.compare.main(["--networks", str(path), *size]) == 0
    assert sim.explore.main(["--network", str(path), "--pes", "64", "--st-os", "--json"]) == 0
    assert name in capsys.readouterr().out
