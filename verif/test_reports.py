"""The report commands of `sim`: what they print and write, and what they refuse."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path

import pytest

from golden import Workload
from golden.arith.wrap import sum_width
from golden.nets.layers import Layer
from golden.nets.networks import FUSE_NETWORKS, FUSE_VARIANTS, build
from hw.config import ArrayConfig
from report.files import write_atomically
from report.jobs import executor
from sim import abconv, compare, explore, network, pages, paper
from sim.cost import BOUNDS, Memory, layer_report, limits
from sim.network import network_report

DOCS = Path(__file__).parents[1] / "docs"
HALF = "--network mobilenet_v3_small --variant half --rows 16 --cols 16 --st-os"


def test_network_command(tmp_path, capsys):
    """The table's total, the JSON's and the report's agree; the picture is one."""
    files = [tmp_path / name for name in ("a.json", "a.md", "a.png")]
    words = f"{HALF} --json {files[0]} --markdown {files[1]} --plot {files[2]}".split()
    assert network.main(words) == 0
    out = capsys.readouterr().out
    config = ArrayConfig(rows=16, cols=16, st_os=True)
    report = network_report(build("mobilenet_v3_small", "half"), config)
    assert f" {report.cycles:,} " in out and f" {report.macs:,} " in out
    data = json.loads(files[0].read_text())
    assert data["command"].startswith("python -m sim.network --network mobilenet_v3_small")
    assert data["cycles"] == report.cycles == sum(one["cycles"] for one in data["layers"])
    assert data["macs"] == 54361824 and len(data["layers"]) == len(report.layers)
    assert {one["lowering"] for one in data["layers"]} >= {"GEMM", "ST-OS"}
    assert sum(one["share"] for one in data["layers"]) == pytest.approx(1)
    assert sum(data["time_by_lowering"].values()) == data["time"] == data["cycles"]
    assert f"| {report.cycles:,} |" in files[1].read_text()
    assert files[2].read_bytes().startswith(b"\x89PNG")


SLOW = Memory(dram_bytes_per_cycle=0.01)


def test_bounds():
    """What limits a layer adds up to its cycles, and follows the machine."""
    seen = set()
    for name in FUSE_NETWORKS:
        for st_os in (False, True):
            config = ArrayConfig(rows=32, cols=32, st_os=st_os, accumulators=1 + st_os)
            for layer in build(name, "half").layers:
                one = layer_report(layer, config)
                assert sum(limits(one.plan).values()) == one.cycles == one.time
                assert min(limits(one.plan).values()) >= 0
                assert 0 < one.utilisation <= 1
                seen |= {one.bound, layer_report(layer, config, memory=SLOW).bound}
    assert seen == set(BOUNDS)


def test_layer_by_hand():
    """Cycles, limits, bytes, time and utilisation of one GEMM layer, batch 3."""
    config = ArrayConfig(rows=8, cols=4, st_os=True)
    layer = Layer(name="", workload=Workload.of("conv", (4, 4), 10, 8))
    one = layer_report(layer, config, batch=3, mapping="textbook")
    tiles = 6 * 2  # 48 pixels on 8 rows, 8 channels on 4 columns
    assert one.tiles == tiles and one.macs == 48 * 80
    assert limits(one.plan) == {"compute": tiles * 10, "drain": 8 + 4 + 1 + 4}
    assert one.cycles == one.time == tiles * 10 + 17 and one.bound == "compute"
    assert one.utilisation == one.macs / (32 * one.cycles)
    assert one.dram_bytes == 80 + 3 * (160 + 128)
    assert one.stream_bytes == tiles * (10 * 8 + 10 * 8 + 4 * 8 * 4)  # 8 lanes of weights
    slow = layer_report(
        layer, config, batch=3, mapping="textbook", memory=Memory(dram_bytes_per_cycle=2)
    )
    assert slow.time == 944 / 2 and slow.cycles == one.cycles and slow.bound == "DRAM"
    assert slow.utilisation == slow.macs / (32 * 472)
    chip = layer_report(layer, config, batch=3, memory=Memory(activations_on_chip=True))
    assert chip.dram_bytes == 80


def test_known_bounds():
    """Layers whose limit is plain."""
    config = ArrayConfig(rows=64, cols=64, st_os=True)
    bounds = {
        one.layer.name: one.bound
        for one in network_report(build("mobilenet_v2", "half"), config).layers
    }
    assert bounds["stem"] == "drain"  # 27 products per result, 32 results per row
    assert bounds["block2.expand"] == "drain"  # 16 products per result, 64 results per row
    assert bounds["block17.expand"] == "compute"
    assert bounds["block5.fuse"] == "west edge"
    assert bounds["classifier"] == "west edge"  # every weight is used once


def test_stream_bytes():
    """Bytes of GEMM tiles and of ST-OS passes, by hand."""
    config = ArrayConfig(rows=4, cols=8, st_os=True)
    classifier = build("mobilenet_v1", resolution=32).layers[-1]
    one = layer_report(classifier, config, mapping="textbook")
    tiles = 1000 // 8
    assert one.stream_bytes == tiles * (1024 * 4 + 1024 * 8 + 8 * 4 * 4)
    layer = Layer(name="", workload=Workload.of("depthwise", (4, 8), 4, 4, kernel=3))
    one = layer_report(layer, config, mapping="textbook")
    outputs = 4 * 9 - 1  # rows of 8 with a padding between them: 5 folds of 8
    assert one.tiles == 5 * 3
    assert one.stream_bytes == 5 * 3 * (8 + 2) * 4 + 5 * 3 * 3 * 8 + outputs * 4 * 4


def test_compare_command(tmp_path, capsys):
    """The parts of a gain multiply to all of it, and are the quotients of the cycles."""
    file, plot = tmp_path / "c.json", tmp_path / "c.svg"
    words = f"--rows 16 --cols 8 --networks mnasnet_b1 resnet50 --json {file} --plot {plot}"
    assert compare.main(words.split()) == 0
    assert "mnasnet_b1, half" in capsys.readouterr().out and plot.exists()
    for one in json.loads(file.read_text())["comparisons"]:
        for variant in FUSE_VARIANTS:
            parts = one["parts"][variant]
            for way in (("operator", "then ST-OS"), ("ST-OS", "then operator")):
                product = parts["mapping"] * parts[way[0]] * parts[way[1]]
                assert product == pytest.approx(parts["all"])
            cycles = one["ours"]["plain, textbook"]["baseline"], one["ours"]["ST-OS, best"][variant]
            assert parts["all"] == cycles[0] / cycles[1]
        assert all(set(row) == set(FUSE_VARIANTS) for row in one["ours"].values())


def test_compare_without_depthwise(tmp_path, capsys):
    """A model with nothing to replace is compared, and drawn, with dashes for its variants."""
    from verif.lib.models import single

    model, plot = tmp_path / "net.tflite", tmp_path / "c.svg"
    model.write_bytes(single("CONV_2D"))
    words = f"--networks {model} mobilenet_v2 --rows 8 --cols 8 --plot {plot}"
    assert compare.main(words.split()) == 0
    out = capsys.readouterr().out
    assert "net.tflite has no variant half: there is no depthwise convolution to replace" in out
    table = out.partition("Speed-ups")[2].splitlines()
    line = next(one for one in table if one.startswith("net.tflite"))
    dashes = [word == "-" for word in line.split()[1:]]
    assert dashes == [True, True, True, True, False, False, True, True]
    assert plot.read_text().count(">-</text>") == 3  # of ten bars


def test_models_as_networks(tmp_path, capsys):
    """A .tflite file wherever a network is named: the same cycles as by its operators."""
    from golden.int8 import tflite
    from golden.int8.transform import fuse
    from verif.lib.models import everything

    model, file = tmp_path / "net.tflite", tmp_path / "r.json"
    model.write_bytes(everything())
    config = ArrayConfig(rows=8, cols=8, st_os=True)
    graph = tflite.load(model)
    counts = {
        variant: sum(one.plan(config).cycles for one in one_graph.operators if hasattr(one, "plan"))
        for variant, one_graph in {
            "baseline": graph, "half": fuse(graph, "half"), "full": fuse(graph, "full"),
        }.items()
    }  # fmt: skip
    size = "--rows 8 --cols 8 --st-os"
    for variant, count in counts.items():
        words = f"--network {model} --variant {variant} {size} --json {file}"
        assert network.main(words.split()) == 0
        data = json.loads(file.read_text())
        assert data["cycles"] == count and data["size"] == [13, 9]
        words = f"--network {model} --variant {variant} --shapes 8x8,4x16 --st-os --json {file}"
        assert explore.main(words.split()) == 0
        assert json.loads(file.read_text())["shapes"][0]["cycles"] == count
    words = f"--networks mobilenet_v2 {model} {size} --json {file} --plot {tmp_path / 'c.svg'}"
    assert compare.main(words.split()) == 0
    ours = json.loads(file.read_text())["comparisons"][1]["ours"]["ST-OS, best"]
    assert ours == counts
    out = capsys.readouterr().out
    line = next(one for one in out.splitlines() if one.startswith("net.tflite, ST-OS, best"))
    assert line.split()[-2:] == ["-", "-"]  # full50 and half50
    for command, words, text in (
        (network, f"--network {model} --variant half50 {size}", "baseline, half, full, not 'half5"),
        (network, f"--network {model} --resolution 64 {size}", "--resolution is for networks by"),
        (network, f"--network {tmp_path}/no.tflite {size}", "cannot read"),
        (network, f"--network {model} {size} --json {model}", "it is read as"),
        (network, f"--network {model} {size} --acc-width 16", "and accumulators have 16"),
        (network, f"--network {model} {size} --act-width 7", "--act-width must be at least 8 for"),
        (explore, f"--network {model} --shapes 8x8 --weight-width 7", "--weight-width must be at"),
        (compare, f"--networks {model} {size} --act-width 4", "at least 8 for int8 models, not 4"),
        (compare, f"--networks {model} {size} --json {model}", "it is read as"),
    ):
        with pytest.raises(SystemExit) as error:
            command.main(words.split())
        captured = capsys.readouterr()
        assert error.value.code == 2 and text in captured.err and captured.err.count("\n") == 1


def test_paper_command(tmp_path, capsys):
    """Both papers, with the count of matches."""
    file = tmp_path / "p.json"
    assert paper.main(["fuseconv", "--json", str(file)]) == 0
    assert "177 of 215 match at the printed digits, 13 more if cut off" in capsys.readouterr().out
    items = json.loads(file.read_text())["items"]
    assert len(items) == 215 and items[2]["published"] == "2536900" == str(items[2]["ours"])
    assert paper.main(["abconv"]) == 0
    assert "54 of 58 match at the printed digits, 4 more but for" in capsys.readouterr().out


def test_abconv_command(tmp_path, capsys):
    """Every g of both operators, and who selects it."""
    file = tmp_path / "a.json"
    words = f"--rows 16 --cols 16 --activations-on-chip --json {file} --plot {tmp_path / 'a.svg'}"
    assert abconv.main(words.split()) == 0
    assert "paper (balance)" in capsys.readouterr().out
    blocks = json.loads(file.read_text())["blocks"]
    assert len(blocks) == 1 + 10 + 10
    mine = [one for one in blocks if "this machine" in one["selected_by"]]
    assert [(one["kind"], one["g"]) for one in mine] == [("abconv", 8), ("abconv_exp", 8)]


def test_explore(tmp_path, capsys):
    """All splits, and a front that nothing beats."""
    assert explore.splits(12) == [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]
    assert explore.splits(1024)[0] == (4, 256)
    file = tmp_path / "e.json"
    words = "--network mobilenet_v3_small --resolution 64 --pes 256,64 --shapes 12x20".split()
    assert explore.main([*words, "--json", str(file), "--plot", str(tmp_path / "e.svg")]) == 0
    assert "12 x 20" in capsys.readouterr().out
    data = json.loads(file.read_text())
    points = {
        f"{one['config']['rows']} x {one['config']['cols']}": (one["edge"], one["cycles"])
        for one in data["shapes"]
    }
    assert len(points) == 9 + 7 + 1
    best = {
        name
        for name, (edge, cycles) in points.items()
        if not any(
            e <= edge and c <= cycles and (e, c) != (edge, cycles) for e, c in points.values()
        )
    }
    assert set(data["pareto"]) <= best
    assert {points[name] for name in data["pareto"]} == {points[name] for name in best}


def test_explore_area(tmp_path):
    """Areas are those of synth.area."""
    from synth.area import compare as compare_area
    from synth.targets import gates

    config = ArrayConfig(rows=2, cols=3, st_os=True)
    (shape,) = explore.explore(build("mobilenet_v1", resolution=32), [config], areas=True)
    assert shape.area == compare_area(config, gates()).st_os.unit["GE"] == shape.cost


def test_sum_width():
    """The least width that holds the sums of the extreme operands, and no bit more."""
    for act_width, weights in ((8, [-128]), (8, [-128] * 512), (2, [1, -2]), (5, [3, 7, -1])):
        ends = (-(1 << act_width - 1), (1 << act_width - 1) - 1)
        sums = [sum(abs(w) * end for w in weights) for end in ends]
        sums += [-value for value in sums]
        width = sum_width(sum(map(abs, weights)), act_width)
        for bits, fits in ((width, True), (width - 1, False)):
            low, high = -(1 << bits - 1), (1 << bits - 1) - 1
            assert fits == all(low <= value <= high for value in sums)
    assert sum_width(1 << 7, 8) == 16 and sum_width(1280 << 7, 8) == 26


def test_accumulators_that_hold(capsys):
    """Where the worst case just fits, nothing is refused, and nothing else changes."""
    outs = []
    for width in (26, 32):
        assert network.main([*HALF.split(), "--acc-width", str(width)]) == 0
        outs.append(capsys.readouterr().out.replace(" of 26 bits", "").splitlines()[1:])
    cells = [[line.split()[:8] for line in out] for out in outs]
    assert cells[0] == cells[1]


MAINS = {"network": network, "compare": compare, "abconv": abconv, "explore": explore}


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("network", "--network alexnet --rows 8 --cols 8", "resnet50_cifar100, not 'alexnet'"),
        ("network", f"{HALF} --variant quarter", "full50, half50, not 'quarter'"),
        ("network", f"{HALF} --resolution 16", "at least 32, not 16"),
        ("network", f"{HALF} --rows 0", "rows must be an integer from 1 to 256, not 0"),
        ("network", f"{HALF} --batch 0", "--batch must be from 1 to 65536, not 0"),
        ("network", f"{HALF} --dram-bytes-per-cycle 0", "from 0.001 to 1000000, not '0'"),
        ("network", f"{HALF} --dram-bytes-per-cycle nan", "from 0.001 to 1000000, not 'nan'"),
        ("network", f"{HALF} --mapping magic", "invalid choice: 'magic'"),
        ("network", f"{HALF} --acc-width 25",
         "sums of 1280 products need 26 bits in the worst case, and accumulators have 25"),
        ("compare", "--rows 8 --cols 8 --networks mobilenet_v2 --acc-width 24",
         "block12.project: sums of 576 products need 25 bits"),
        ("explore", "--network mobilenet_v2 --pes 16 --acc-width 24", "576 products need 25 bits"),
        ("abconv", "--rows 8 --cols 8 --c-in 3 --act-width 9 --weight-width 5 --acc-width 14",
         "conv: sums of 3 products need 15 bits"),
        ("abconv", "--rows 8 --cols 8 --c-in 256 --acc-width 24 --plot x.svg", "need 25 bits"),
        ("network", f"{HALF} --plot x.txt", "must end in .svg, .png or .pdf, not x.txt"),
        ("network", "--rows 8 --cols 8", "required: --network"),
        ("compare", "--rows 8 --cols 8 --networks vgg", "resnet50, or FILE.tflite, not 'vgg'"),
        ("abconv", "--rows 8 --cols 8 --size 0", "--size must be from 1 to 65536, not 0"),
        ("abconv", "--rows 8 --cols 8 --c-in 24 --groups 2,5", "one of 1, 2, 4, 8, not 5"),
        ("abconv", "--rows 8 --cols 8 --groups 2,x", "must be integers like 8,16, not '2,x'"),
        ("explore", "--network mobilenet_v1", "--pes or --shapes is required"),
        ("explore", "--network mobilenet_v1 --pes 257", "--pes 257 has no R x C"),
        ("explore", "--network mobilenet_v1 --pes 0", "--pes must be from 1 to 65536, not 0"),
        ("explore", "--network mobilenet_v1 --shapes 4x", "like 16x64,32x32, not '4x'"),
        ("explore", "--network mobilenet_v1 --shapes 4x4x4", "must be shapes like"),
        ("explore", "--network mobilenet_v1 --shapes 0x4", "rows must be an integer from 1"),
    ],
)  # fmt: skip
def test_bad_input(command, arguments, text, capsys, tmp_path, monkeypatch):
    """One line, status 2, and nothing written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        MAINS[command].main(arguments.split() + ["--json", "out.json"])
    assert error.value.code == 2
    captured = capsys.readouterr()
    assert text in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not list(tmp_path.iterdir())


def test_unwritable(capsys, tmp_path):
    """A file that cannot be written is refused by name."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    long = tmp_path / ("a" * 300)
    for target in (tmp_path / "dir", Path("/dev/null/x.json"), long, tmp_path / "loop"):
        with pytest.raises(SystemExit) as error:
            network.main([*HALF.split(), "--json", str(target)])
        assert error.value.code == 2 and "cannot write" in capsys.readouterr().err


def test_links_and_pipes(tmp_path):
    """A link stays a link, and its target is written; so is a pipe; nothing is left behind."""
    link, target, pipe = (tmp_path / name for name in ("link", "target", "pipe"))
    link.symlink_to(target)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically({link: "to the target", pipe: b"to the pipe"})
    assert os.read(reader, 100) == b"to the pipe"
    os.close(reader)
    assert link.is_symlink() and target.read_text() == "to the target" and pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 3


def test_without_matplotlib(monkeypatch, capsys):
    """--plot says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        network.main([*HALF.split(), "--plot", "x.svg"])
    assert "pip install -e '.[docs]'" in capsys.readouterr().err


def test_committed_performance():
    """docs/performance.json has what the code gives, and docs/performance.md says it."""
    committed = json.loads((DOCS / "performance.json").read_text())
    with executor(argparse.Namespace(jobs=1)) as pool:
        fresh = json.loads(json.dumps(pages.measure(committed["areas"], pool)))
    assert len(fresh["tables"]) > 10 and len(fresh["text"]) == 2
    for part, values in fresh.items():
        for name, value in values.items():
            assert committed[part][name] == value, f"{name} is stale: run make performance"
    assert (DOCS / "performance.md").read_text() == pages.render(committed)
    drawn = dict(pages.pictures(committed["areas"]))
    assert set(drawn) == {"speedups.svg", "timeline.svg", "abconv.svg", "shapes.svg"}
    for name, content in drawn.items():
        assert (DOCS / name).read_bytes() == content, f"{name} is stale: run make performance"


def test_readme_gains():
    """The speed-ups of the README and of the page are those of the code."""
    names = [
        "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet_b1",
    ]  # fmt: skip
    plain, st_os = (ArrayConfig(rows=64, cols=64, st_os=st_os) for st_os in (False, True))
    before = [network.network_cycles(build(name, "baseline"), plain, "best") for name in names]
    for variant in ("baseline", "half"):
        after = [network.network_cycles(build(name, variant), st_os, "best") for name in names]
        gains = [old / new for old, new in zip(before, after, strict=True)]
        claim = f"{min(gains):.2f} to {max(gains):.2f} times"
        for page in (DOCS.parent / "README.md", DOCS / "performance.md"):
            assert claim in page.read_text(), f"{page.name} lacks {claim!r}"
