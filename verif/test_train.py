"""Training: operators against golden and SciPy, scaffolds, resumption, export, bad input."""

from __future__ import annotations

import functools
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.signal import correlate2d

from golden.int8 import transform
from golden.int8.batch import run_batch
from golden.int8.tflite import load as load_tflite
from golden.int8.writer import to_tflite
from golden.nets.networks import BLOCK_OPERATORS, build
from golden.workload import Operands, Workload
from hw.config import ArrayConfig
from report.errors import UserError
from sim.accelerator import page
from sim.accelerator.compiler import compile_graph
from sim.network import network_cycles
from train import abconv, draft, fit, nos, quantize, report, search
from train.__main__ import COMMANDS
from train.data import Batches, Data, as_input, load
from train.export import Range, calibrate, to_graph
from train.loop import Recipe, evaluate, prepare, recalibrate, train
from train.networks import Net, transfer
from train.operators import ADAPTERS, ScaffoldedConv2d, operator
from train.options import check_data, load_net, recorded
from train.runs import FORMAT, Run
from verif.lib.fetch import needs
from verif.lib.interpreters import litert, micro

prepare()

SMALL = {"resolution": 32, "classes": 4, "padding": "same"}
V2 = {**SMALL, "name": "mobilenet_v2", "width": 0.35, "strides": (1, 2, 2, 2, 2, 1, 1, 1)}
BLOCKS = 17


@functools.cache
def stripes() -> Data:
    return load("synthetic", held_out=200)


def few(count: int = 256) -> Data:
    data = stripes()
    return Data(data.name, data.train.take(slice(count)), data.held_out.take(slice(64)),
                data.test.take(slice(64)), data.classes)  # fmt: skip


def net(seed: int = 0, scaffold: str = "", **description) -> Net:
    torch.manual_seed(seed)
    return Net(build(**{**V2, **description}), scaffold)


def state(model: torch.nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


# --- Operators ----------------------------------------------------------------------------------

KINDS = ("conv", "depthwise", "fuse_half", "fuse_full", "abconv")


def work_of(kind: str, kernel: int, stride: int, padding, size: tuple[int, int]) -> Workload:
    c_out = {"conv": 6, "fuse_full": 16, "abconv": 12}.get(kind, 8)
    return Workload.of(
        kind, size, 8, c_out, kernel=kernel, stride=stride, padding=padding,
        groups=4 if kind == "abconv" else 1,
    )  # fmt: skip


def golden_weights(one, work: Workload) -> tuple[np.ndarray, ...]:
    """Return a module's weights in golden's layouts, as integers."""
    if work.fused:
        return tuple(w.detach().numpy().T.astype(np.int64) for w in (one.rows, one.columns))
    w = one.weight.detach().numpy().astype(np.int64)
    if work.kind == "depthwise":
        return (w[:, 0].transpose(1, 2, 0),)
    return (w.transpose(2, 3, 1, 0),)


@given(
    st.sampled_from(KINDS), st.sampled_from([3, 5]), st.sampled_from([1, 2]),
    st.sampled_from(["same", "valid", 1, ((0, 2), (1, 0))]),
    st.tuples(st.integers(5, 9), st.integers(5, 9)), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_operators_are_goldens(kind, kernel, stride, padding, size, seed):
    """In float64, with integers, the modules compute what the golden operators do."""
    rng, work = np.random.default_rng(seed), work_of(kind, kernel, stride, padding, size)
    one = operator(work).double()
    for parameter in one.parameters():
        values = rng.integers(-128, 128, tuple(parameter.shape)).astype(float)
        parameter.data = torch.from_numpy(values)
    x = rng.integers(-128, 128, (*size, 8))
    wanted = Operands(workload=work, x=x, weights=golden_weights(one, work)).result(64)
    y = one(torch.from_numpy(x.astype(float)).permute(2, 0, 1)[None])
    assert np.array_equal(y[0].permute(1, 2, 0).detach().numpy(), wanted)


@pytest.mark.parametrize("kind", ["depthwise", "fuse_half", "fuse_full"])
def test_operators_are_scipys(kind):
    """So does SciPy, one channel at a time, with real numbers; FuSe with 1-D filters."""
    rng, work = np.random.default_rng(1), work_of(kind, 5, 1, "same", (9, 8))
    one = operator(work).double()
    x = rng.normal(size=(8, 9, 8))
    y = one(torch.from_numpy(x)[None])[0].detach().numpy()
    if kind == "depthwise":
        filters = [(c, one.weight[c, 0]) for c in range(8)]
    else:
        rows = range(4) if kind == "fuse_half" else range(8)
        columns = range(4, 8) if kind == "fuse_half" else range(8)
        filters = [(c, one.rows[i][None]) for i, c in enumerate(rows)]
        filters += [(c, one.columns[i][:, None]) for i, c in enumerate(columns)]
    wanted = [correlate2d(x[c], w.detach().numpy(), mode="same") for c, w in filters]
    assert np.abs(y - wanted).max() < 1e-13


@pytest.mark.parametrize("start", ADAPTERS)
@pytest.mark.parametrize("kernel", [3, 5])
def test_scaffold_is_two_filters(start, kernel):
    """A scaffolded layer is the depthwise one, or FuSe half with the filters of its adapters."""
    work = work_of("depthwise", kernel, 2, "same", (8, 8))
    one = ScaffoldedConv2d(work, start).double()
    x, w = torch.randn(2, 8, 8, 8).double(), one.weight[:, 0]
    plain = operator(work).double()
    plain.weight.data = one.weight.data
    assert torch.equal(one(x), plain(x))
    middle = kernel // 2
    expected = {
        "first": (w[:4, 0], w[4:, :, 0]), "middle": (w[:4, middle], w[4:, :, middle]),
        "mean": (w[:4].mean(1), w[4:].mean(2)),
    }[start]  # fmt: skip
    fused = operator(work_of("fuse_half", kernel, 2, "same", (8, 8))).double()
    fused.rows.data, fused.columns.data = expected
    one.fused = True
    assert torch.allclose(one(x), fused(x), rtol=0, atol=1e-6)  # 1/3 was float32


@pytest.mark.parametrize("kind", [*KINDS, "linear", "scaffold"])
def test_gradients(kind):
    """Gradients of inputs and weights are those of finite differences."""
    if kind == "linear":
        one = operator(Workload.of("linear", (1, 1), 8, 3)).double()
        x = torch.randn(2, 8).double().requires_grad_()
    else:
        work = work_of("depthwise" if kind == "scaffold" else kind, 3, 2, "same", (4, 4))
        one = (ScaffoldedConv2d(work, "mean") if kind == "scaffold" else operator(work)).double()
        one.fused = True
        x = torch.randn(1, 8, 4, 4).double().requires_grad_()
    names, values = zip(*one.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(one, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *values))


# --- Networks -----------------------------------------------------------------------------------

FAMILIES = {
    "v2 half": {**V2, "variant": "half"},
    "v2 full": {**V2, "variant": "full"},
    "v2 mixed": {**V2, "operators": (*BLOCK_OPERATORS * 5, "depthwise", "depthwise")},
    "v1": {**SMALL, "name": "mobilenet_v1", "width": 0.25},
    "v3 small": {**SMALL, "name": "mobilenet_v3_small", "width": 0.35, "variant": "half"},
    "v3 large": {**SMALL, "name": "mobilenet_v3_large", "width": 0.35},
    "mnasnet": {**SMALL, "name": "mnasnet_b1", "width": 0.35},
    "resnet50": {**SMALL, "name": "resnet50", "width": 0.125, "variant": "half50"},
    "abconv": {**SMALL, "name": "mobilenet_v1_cifar100", "width": 0.5, "variant": "A-P"},
    "abconv exp": {**SMALL, "name": "mobilenet_v1_cifar100", "width": 0.5, "variant": "E"},
}  # fmt: skip


def calibrated(description) -> Net:
    torch.manual_seed(0)
    model = Net(build(**description))
    recalibrate(model, stripes().train.take(slice(250)))
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_export_is_bit_exact(family, tmp_path):
    """The file computes in LiteRT and TFLM what the graph does, and comes back as the graph."""
    model = calibrated(FAMILIES[family])
    data = stripes()
    x = as_input(data.test.pixels[:8])
    with torch.no_grad():
        wanted = model(x)
        absorbed = model.absorbed()
        assert torch.allclose(absorbed(x), wanted, rtol=1e-3, atol=1e-3)
    graph = to_graph(absorbed, calibrate(absorbed, data.train, 64))
    content = to_tflite(graph)
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    found = transform.recognize(load_tflite(path))
    assert [one.kind for one in found.operators] == [one.kind for one in graph.operators]
    pixels = (data.test.pixels[:3] ^ 128).view(np.int8)
    batch = run_batch(graph, pixels)
    for picture, logits in zip(pixels, batch, strict=True):
        assert np.array_equal(np.ravel(graph.run(picture)), logits)
        assert np.array_equal(np.ravel(found.run(picture)), logits)
        assert np.array_equal(np.ravel(litert(content, picture[None])[0]), logits)
        assert np.array_equal(np.ravel(micro(content, picture[None])[0]), logits)
    config = ArrayConfig(rows=16, cols=16, st_os=True)
    if not family.startswith("v3"):  # their squeezes are 1 x 1 convolutions in the file
        assert network_cycles(graph.network(""), config) == network_cycles(model.network, config)


def test_absorbed_is_the_network():
    """Normalizations in weights and biases change nothing, in float64."""
    for description in (V2 | {"variant": "full"}, FAMILIES["abconv exp"]):
        model = calibrated(description).double()
        x = as_input(stripes().test.pixels[:4]).double()
        with torch.no_grad():
            assert torch.allclose(model.absorbed()(x), model(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_fake_quantization_is_the_graph(family):
    """Every step gives what the int8 graph does for the same values, but for rounding twice.

    So every layer, residual and activation of the graph is that of the network that was trained.
    """
    model = calibrated(FAMILIES[family]).absorbed()
    data = stripes()
    ranges = calibrate(model, data.train, 64)
    graph = to_graph(model, ranges)
    fake = quantize.FakeQuantized(model, ranges)
    picture = data.test.pixels[:1]
    steps = {one.operator.output: one.output for one in graph.steps((picture ^ 128).view(np.int8))}
    # The tensors of the program's steps: a hard sigmoid is two operators, the last is a RESHAPE.
    outputs = [one.output for one in graph.operators if not one.output.name.endswith("/sum")]
    values = [as_input(picture)]
    for index, (step, y) in enumerate(zip(model.steps, outputs[:-1], strict=True)):
        golden = steps[y].astype(int)
        with torch.no_grad():
            found = fake.result(index, [values[source + 1] for source in step.sources])
        flat = found.ndim == 2
        found = found[:, None, None] if flat else found.permute(0, 2, 3, 1)
        off = np.abs(np.rint(found.numpy() / y.scale) + y.zero_point - golden)
        assert off.max() <= 1, step
        assert off.mean() < 0.1 or step.kind == "mean", step  # which ties more often
        real = torch.from_numpy((y.scale * (golden - y.zero_point)).astype(np.float32))
        values.append(real[:, 0, 0] if flat else real.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "low, high, scale, zero", [(0, 6, 6 / 255, -128), (-1, 3, 4 / 255, -64), (2, 5, 5 / 255, -128),
                               (-3, -1, 3 / 255, 127), (0, 0, 1, -128)],
)  # fmt: skip
def test_ranges(low, high, scale, zero):
    """A range is stretched to zero, which is exact."""
    assert Range(low, high).quantization == (float(np.float32(scale)), zero)


# --- NOS ----------------------------------------------------------------------------------------


def trained(model: Net, folder: Path, recipe: Recipe, data: Data, **more) -> Run:
    run = Run.create(folder, {"kind": "test"})
    train(model, data, recipe, run, **more)
    return run


def test_nos_with_probability_1_is_fuse_in_place(tmp_path):
    """With adapters that stay, a scaffold that is always FuSe trains as the FuSe network does."""
    teacher = net()
    scaffold = nos.scaffold(teacher, V2 | {"operators": ("depthwise",) * BLOCKS}, "middle")
    for one in scaffold.scaffolds:
        one.row_adapter.requires_grad_(False)
        one.column_adapter.requires_grad_(False)
    plain = net(operators=("fuse_half",) * BLOCKS)
    transfer(teacher, plain)
    recipe = Recipe(epochs=1, batch=32, rate=0.05)
    data = few(128)
    trained(scaffold, tmp_path / "a", recipe, data, draw=nos.draw(1.0, False))
    trained(plain, tmp_path / "b", recipe, data)
    scaffold.fuse([True] * BLOCKS)
    x = as_input(data.test.pixels)
    with torch.no_grad():
        assert torch.allclose(scaffold.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-4)


def test_draws_rise_to_1():
    """Blocks are FuSe with the given probability, and all of them at the end."""
    model = net(scaffold="middle")
    for rises, done, share in ((True, 0.5, 0.3), (True, 0.9, 0.65), (False, 1.0, 0.3)):
        rng, one, count = np.random.default_rng(0), nos.draw(0.3, rises), 0
        for _ in range(200):
            one(model, rng, done)
            count += sum(layer.fused for layer in model.scaffolds)
        assert abs(count / (200 * BLOCKS) - share) < 0.03
    nos.draw(0.3, True)(model, np.random.default_rng(0), 1.0)
    assert all(layer.fused for layer in model.scaffolds)


def test_a_network_of_a_supernet_is_that_network():
    """What is chosen computes what the supernet does with the same blocks fused."""
    description = V2 | {"operators": ("depthwise",) * BLOCKS}
    supernet, fused = net(scaffold="mean"), [index % 3 == 0 for index in range(BLOCKS)]
    one = nos.chosen(supernet, description, fused, stripes().train.take(slice(250)))
    supernet.fuse(fused)
    recalibrate(supernet, stripes().train.take(slice(250)))
    x = as_input(stripes().test.pixels[:16])
    with torch.no_grad():
        assert torch.equal(one.eval()(x), supernet.eval()(x))


# --- The loop -----------------------------------------------------------------------------------


def test_twenty_steps_learn(tmp_path):
    """Twenty steps on the synthetic pictures take the loss from 1.4 (chance) to below 1.1."""
    model, data = net(strides=(1, 1, 2, 2, 2, 1, 1, 1)), few(640)
    run = trained(model, tmp_path / "run", Recipe(epochs=2, batch=64, rate=0.1, smoothing=0), data)
    assert run.epochs[1]["loss"] < 1.1


def test_resumed_runs_are_bit_equal(tmp_path):
    """A run that is interrupted and goes on ends with the bits of one that is not."""
    recipe, data = Recipe(epochs=3, batch=64, rate=0.1), few(128)
    draw = nos.draw(0.5, True)
    whole, parts = net(scaffold="middle"), net(scaffold="middle")
    trained(whole, tmp_path / "whole", recipe, data, draw=draw)
    trained(parts, tmp_path / "parts", recipe, data, draw=draw, stop_after=1)
    fresh = net(seed=5, scaffold="middle")
    run = trained(fresh, tmp_path / "parts", recipe, data, draw=draw)
    assert state(whole) == state(fresh)
    assert state(parts) != state(fresh)
    assert [line["epoch"] for line in run.epochs] == [1, 2, 3]


def test_another_seed_is_another_run(tmp_path):
    """Seeds choose batches; the same one, and nothing else, gives the same bits."""
    data = few(128)
    states = []
    for index, seed in enumerate((0, 0, 1)):
        model = net()
        trained(model, tmp_path / str(index), Recipe(epochs=1, batch=32, seed=seed), data)
        states.append(state(model))
    assert states[0] == states[1] != states[2]


def test_batches_share_an_epoch():
    """Every picture comes once, whatever the number of processes, as itself but for its place."""
    data = few(64)
    whole = [labels for _, labels in Batches(data.train, 16, 3).epoch(2)]
    parts = [list(Batches(data.train, 16, 3, part, 2).epoch(2)) for part in range(2)]
    for index, labels in enumerate(whole):
        assert torch.equal(torch.cat([part[index][1] for part in parts]), labels)
    assert sorted(torch.cat(whole).tolist()) == sorted(data.train.labels.tolist())
    x, _ = parts[0][0]
    assert x.shape == (8, 3, 32, 32) and x.abs().max() <= 1
    again, _ = next(iter(Batches(data.train, 16, 3, 0, 2).epoch(2)))
    other, _ = next(iter(Batches(data.train, 16, 3, 0, 2).epoch(3)))
    assert torch.equal(x, again) and not torch.equal(x, other)


SCRIPT = """
import sys
import torch
from pathlib import Path
from verif.test_train import few, net, prepare
from train.loop import Recipe, processes, train
from train.runs import Run

prepare()
model = net(strides=(2, 2, 2, 2, 2, 1, 1, 1))
with processes("cpu") as work:
    run = work.first(lambda: Run.create(Path(sys.argv[1]), {}))
    train(model, few(128), Recipe(epochs=2, batch=32, rate=0.05), run, work=work)
    torch.save(model.state_dict(), f"{sys.argv[1]}-{work.rank}-of-{work.count}.pt")
"""


def test_two_processes(tmp_path):
    """Two processes of torchrun share the batches, and step with the gradients of both."""
    script, run = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT)
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.getcwd())
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = subprocess.run([*start, str(script), str(run)], env=environment, capture_output=True,
                           text=True, timeout=300)  # fmt: skip
    assert found.returncode == 0, found.stderr
    states = [torch.load(tmp_path / f"run-{rank}-of-2.pt") for rank in range(2)]
    names = [key for key in states[0] if not key.endswith(("running_mean", "running_var"))]
    assert all(torch.equal(states[0][key], states[1][key]) for key in names)
    lines = Run.open(run).epochs
    assert [line["epoch"] for line in lines] == [1, 2]
    # Each has seen another half: without the other's gradients they would differ.
    one = trained(net(strides=(2, 2, 2, 2, 2, 1, 1, 1)), tmp_path / "one",
                  Recipe(epochs=2, batch=32, rate=0.05), few(128))  # fmt: skip
    assert abs(lines[0]["loss"] - one.epochs[0]["loss"]) < 0.5


# --- Search -------------------------------------------------------------------------------------


def test_latencies_are_exact():
    """The cycles of a network are those of the cycle model, for all of some random networks."""
    description = V2 | {"operators": ("depthwise",) * BLOCKS}
    config = ArrayConfig(rows=16, cols=16, st_os=True)
    latency = search.Latency.of(description, config)
    for fused in np.random.default_rng(0).random((6, BLOCKS)) < 0.5:
        operators = tuple("fuse_half" if one else "depthwise" for one in fused)
        network = build(**description | {"operators": operators})
        assert latency(fused[None])[0] == network_cycles(network, config)


def test_front_and_evolution():
    """The front is the undominated networks, and the evolutionary search finds one of them."""
    rng = np.random.default_rng(0)
    every = search.space(8)
    latency = search.Latency(1000, rng.integers(1, 60, 8))
    truth = 80 - every @ rng.uniform(0, 1, 8) + 0.3 * every[:, 0] * every[:, 3]
    predictor = search.Predictor(every, truth)
    predicted = predictor(every)
    assert np.abs(predicted - truth).max() < 0.2
    cycles = latency(every)
    found = search.front(cycles, predicted)
    for index in range(len(every)):
        beaten = ((cycles <= cycles[index]) & (predicted >= predicted[index])
                  & ((cycles < cycles[index]) | (predicted > predicted[index])))  # fmt: skip
        twin = any(cycles[f] == cycles[index] and predicted[f] == predicted[index] for f in found)
        assert beaten.any() != twin
    limit = int(cycles[found[len(found) // 2]])
    best = search.evolve(latency, predictor, limit)
    assert np.isclose(predictor(best[None])[0], predicted[cycles <= limit].max())
    assert latency(best[None])[0] <= limit


# --- Data ---------------------------------------------------------------------------------------


def cifar(folder: Path, fine: bool = False) -> np.ndarray:
    """Write a CIFAR of 20 training and 4 test pictures, as its authors do; return the pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 3072), np.uint8)
    label = b"fine_labels" if fine else b"labels"
    top = folder / ("cifar-100-python" if fine else "cifar-10-batches-py")
    top.mkdir(parents=True)
    parts = {"train": slice(20), "test": slice(20, 24)} if fine else {
        **{f"data_batch_{n + 1}": slice(4 * n, 4 * n + 4) for n in range(5)},
        "test_batch": slice(20, 24),
    }  # fmt: skip
    for name, part in parts.items():
        labels = [index % 3 for index in range(24)[part]]
        (top / name).write_bytes(pickle.dumps({b"data": pixels[part], label: labels}))
    names = [b"cat", b"dog", b"frog"]
    meta = {b"fine_label_names" if fine else b"label_names": names}
    (top / ("meta" if fine else "batches.meta")).write_bytes(pickle.dumps(meta))
    return pixels.reshape(24, 3, 32, 32).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("fine", [False, True])
def test_cifar_as_published(fine, tmp_path):
    """CIFAR-10 and CIFAR-100 are read as their authors publish them."""
    pixels = cifar(tmp_path, fine)
    data = load("cifar100" if fine else "cifar10", tmp_path, held_out=2)
    assert data.classes == ("cat", "dog", "frog")
    assert np.array_equal(data.test.pixels, pixels[20:])
    every = np.concatenate([data.train.pixels, data.held_out.pixels])
    assert len(data.held_out) == 2
    assert sorted(map(bytes, every)) == sorted(map(bytes, pixels[:20]))


def test_pickles_run_nothing(tmp_path):
    """A batch that names a function is refused."""
    cifar(tmp_path)

    class Evil:
        def __reduce__(self):
            return (os.system, ("true",))

    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="it names (posix|os).system"):
        load("cifar10", tmp_path, held_out=0)


def test_folder_of_pictures(tmp_path):
    """A folder of pictures is read class by class, resized."""
    for part, count in (("train", 12), ("test", 2)):
        for name, grey in (("black", 0), ("white", 255)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (40, 30), (grey,) * 3).save(folder / f"{index}.png")
    data = load(str(tmp_path), held_out=2, size=16)
    assert data.classes == ("black", "white") and data.size == 16
    assert len(data.train) + len(data.held_out) == 24 and len(data.held_out) == 2
    assert (data.test.pixels == 255 * data.test.labels[:, None, None, None]).all()


@needs("data/cifar10_jpeg.npz")
def test_cifar10_jpeg():
    """The JPEG copy has the means and deviations that its README states."""
    data = load("cifar10", held_out=5000)
    assert (len(data.train), len(data.held_out), len(data.test)) == (45000, 5000, 10000)
    pixels = np.concatenate([data.train.pixels, data.held_out.pixels]) / 255
    assert np.allclose(pixels.mean((0, 1, 2)), (0.4913, 0.4821, 0.4465), atol=2e-4)
    assert data.name == "CIFAR-10, JPEG copy"


# --- Commands -----------------------------------------------------------------------------------


TINY = ["--data", "synthetic", "--epochs", "1", "--width", "0.35", "--strides", "2-2-2-2-1-1-1",
        "--stem-stride", "2"]  # fmt: skip


def test_from_teacher_to_int8(tmp_path, capsys):
    """Teacher, supernet, search, one of its networks, int8: every command, once."""
    teacher, supernet, one = (tmp_path / name for name in ("teacher", "supernet", "one"))
    assert fit.main([*TINY, "--out", str(teacher)]) == 0
    short = ["--data", "synthetic", "--epochs", "1"]
    words = [*short, "--teacher", str(teacher), "--supernet", "--out", str(supernet)]
    assert nos.main(words) == 0
    capsys.readouterr()
    found = tmp_path / "found.json"
    words = ["--supernet", str(supernet), "--data", "synthetic", "--rows", "16", "--cols", "16",
             "--st-os", "--subnets", "20", "--left-out", "6", "--jobs", "1",
             "--json", str(found)]  # fmt: skip
    assert search.main(words) == 0
    assert "networks are on the front" in capsys.readouterr().out
    letters = json.loads(found.read_text())["points"][0]["operators"]
    known = json.loads((supernet / "subnets.json").read_text())["accuracies"]
    assert len(known) >= 20 and {"H" * 17, "D" * 17} <= set(known)
    assert (
        fit.main([*TINY, "--start", str(supernet), "--operators", letters, "--out", str(one)]) == 0
    )
    assert quantize.main([str(one), "--data", "synthetic", "--jobs", "1", "--rtl", "1"]) == 0
    assert "1 pictures on the RTL" in capsys.readouterr().out
    folder = tmp_path / "one_int8"
    graph = transform.recognize(load_tflite(folder / "int8.tflite"))
    kinds = [one.kind for one in graph.operators if one.kind.startswith(("FUSE", "DEPTHWISE"))]
    wanted = {"H": "FUSE_CONV_2D", "D": "DEPTHWISE_CONV_2D"}
    assert kinds == [wanted[letter] for letter in letters]
    end = Run.open(folder).end
    right = (run_batch(graph, (stripes().test.pixels ^ 128).view(np.int8)).argmax(1)
             == stripes().test.labels)  # fmt: skip
    assert end["test_int8"]["accuracy"] == 100 * right.mean()
    config = ArrayConfig(rows=16, cols=16, st_os=True)
    assert end["cycles"]["st_os"] == network_cycles(graph.network(""), config)
    assert end["rtl"] == {"pictures": 1, "cycles": end["cycles"]["st_os"],
                          "sums": sum(one.workload.outputs for one in graph.layers)}  # fmt: skip
    assert end["test_float"]["accuracy"] == Run.open(one).end["test"]["accuracy"]
    assert (one / "curves.svg").exists()


def test_abconv_command(tmp_path, capsys):
    """A pattern begins with the weights of the network that it is a pattern of."""
    base = ["--width", "0.5", "--data", "synthetic", "--epochs", "1"]
    plain, shared = tmp_path / "P", tmp_path / "A-P"
    assert abconv.main([*base, "--pattern", "P", "--out", str(plain)]) == 0
    words = [
        *base,
        "--pattern",
        "A-P",
        "--start",
        str(plain),
        "--out",
        str(shared),
        "--rate",
        "1e-9",
    ]
    assert abconv.main(words) == 0
    before, after = (load_net(Run.open(one)) for one in (plain, shared))
    names = [layer.name for layer in after.network.layers if layer.workload.kind == "abconv"]
    assert names
    kept, old = after.layer("block1.pointwise").operator, before.layer("block1.pointwise").operator
    assert torch.allclose(kept.weight, old.weight, atol=1e-6)


BAD = [
    (fit, ["--data", "nowhere"], "must be cifar10, cifar100, synthetic"),
    (fit, ["--data", "cifar100", "--root", "."], "no cifar-100-python in"),
    (fit, ["--operator", "fuse_third"], "fuse_third"),
    (fit, ["--operators", "DHX"], "must be D, H and F"),
    (fit, ["--operators", "DH"], "operators of mobilenet_v2 must be 17, not 2"),
    (fit, ["--strides", "1-3"], "must be 1 and 2"),
    (fit, ["--strides", "1-2"], "strides of mobilenet_v2 must be 8, not 3"),
    (fit, ["--epochs", "0"], "--epochs must be at least 1, not 0"),
    (fit, ["--rate", "-1"], "--rate must be from"),
    (fit, ["--batch", "4096"], "batch must be from 1 to the 1844 pictures"),
    (fit, ["--width", "0"], "width must be above 0"),
    (fit, ["--teacher", "none"], "none is no run"),
    (fit, ["--size", "64", "--held-out", "-1"], "--held-out must be at least 0"),
    (fit, ["--threads", "0"], "--threads must be from 1 to 1024, not 0"),
    (fit, ["--device", "cuda"], "PyTorch finds no GPU here"),
    (fit, ["--data", "text.npz"], "is no .npz with header, body"),
    (nos, ["--teacher", "none"], "none is no run"),
    (nos, ["--teacher", "none", "--probability", "2"], "--probability must be from 0 to 1"),
    (nos, ["--teacher", "none", "--adapters", "last"], "last"),
    (search, ["--supernet", "none", "--rows", "8", "--cols", "8"], "none is no run"),
    (quantize, ["none"], "none is no run"),
    (abconv, ["--pattern", "A-X"], "must be a pattern of A, P and E"),
    (abconv, ["--width", "0.1"], "has channels enough for groups"),
]  # fmt: skip


@pytest.mark.parametrize("module, words, text", BAD, ids=[" ".join(one[1]) for one in BAD])
def test_bad_input(module, words, text, tmp_path, monkeypatch, capsys):
    """One line on standard error with what is wrong, status 2, and no folder left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.npz").write_text("no numbers")
    data = [] if "--data" in words else ["--data", "synthetic"]
    with pytest.raises(SystemExit) as error:
        module.main([*data, *words])
    said = capsys.readouterr().err
    assert error.value.code == 2
    assert text in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_order_of_pictures():
    """What is computed from some pictures does not depend on their being sorted by class."""
    data = stripes()
    order = np.argsort(data.train.labels, kind="stable")
    some = data.train.take(order).sample(64)
    assert set(some.labels.tolist()) == {0, 1, 2, 3}
    assert len({tuple(some.labels[i : i + 16]) for i in range(0, 64, 16)}) > 1
    model = net()
    means = []
    for pictures in (data.train, data.train.take(order)):
        recalibrate(model, pictures)
        means.append(model.layer("head").norm.running_mean.clone())
    assert torch.allclose(*means, atol=0.1)
    ranges = [calibrate(model, p, 512)[-1] for p in (data.train, data.train.take(order))]
    assert np.isclose(ranges[0].high, ranges[1].high, rtol=0.3)


def test_other_data_are_refused(tmp_path):
    """A run that was trained on what is held out here, or on other classes, is of no use."""
    data = stripes()
    said = {"name": data.name, "train": len(data.train), "held_out": len(data.held_out),
            "test": len(data.test), "size": 32, "classes": list(data.classes)}  # fmt: skip
    check_data([Run(tmp_path, {"data": said})], data)
    for key, value in (("held_out", 0), ("classes", ["a"]), ("name", "others"), ("size", 64)):
        with pytest.raises(UserError, match=f"was trained on other data: {key}"):
            check_data([Run(tmp_path, {"data": said | {key: value}})], data)


def test_recorded_commands():
    """A run keeps no place of this machine."""
    words = ["--teacher", "/a/b/t", "--start=/a/b/s", "--root", "/x", "--out=/y", "--width", "0.35"]
    assert recorded(words) == "--teacher runs/t --start=runs/s --width 0.35"


def test_odd_channels_and_groups():
    """Channels that an operator cannot have are named."""
    with pytest.raises(UserError, match="channels of fuse_half must be even, not 7"):
        Workload.of("fuse_half", (8, 8), 7, 7, kernel=3)
    with pytest.raises(UserError, match="must be even, not 7"):
        ScaffoldedConv2d(Workload.of("depthwise", (8, 8), 7, 7, kernel=3))
    with pytest.raises(UserError, match="3 groups do not divide 8 and 8"):
        Workload.of("abconv", (8, 8), 8, 8, groups=3)


def test_runs_of_others(tmp_path):
    """A folder of another version, of another run, or of no run is refused."""
    folder = tmp_path / "run"
    Run.create(folder, {"kind": "test", "seed": 1})
    with pytest.raises(UserError, match="holds a run with another seed"):
        Run.create(folder, {"kind": "test", "seed": 2})
    (folder / "config.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(UserError, match=f"of format {FORMAT + 1}; this version reads {FORMAT}"):
        Run.open(folder)
    (folder / "config.json").write_text("[")
    with pytest.raises(UserError, match="is not what a run writes"):
        Run.open(folder)
    with pytest.raises(UserError, match="has no weights.pt: the run is not finished"):
        Run(folder, {}).load("weights")
    (folder / "weights.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        Run(folder, {}).load("weights")
    (folder / "log.jsonl").write_text("{")
    with pytest.raises(UserError, match="log.jsonl is not what a run writes"):
        _ = Run(folder, {}).end
    with pytest.raises(UserError, match="is an int8 network; name the run that it was made from"):
        load_net(Run(folder, {"kind": "quantize"}))


def test_one_process_writes_a_run(tmp_path):
    """A second process that trains in the same folder is refused."""
    run = Run.create(tmp_path / "run", {})
    with run.alone(), pytest.raises(UserError, match="another process trains in"):
        train(net(), few(64), Recipe(epochs=1, batch=16), run)


def test_training_page():
    """docs/training.md and its picture are what the committed logs give."""
    study = report.Study(report.committed())
    assert (report.DOCS / "training.md").read_text() == report.render(study), "make pages"
    assert (report.DOCS / "training.svg").read_bytes() == report.plot(study, "svg"), "make pages"


def made(name: str, test: float, **more) -> dict:
    """Return a run of a study as a log has it."""
    network = {**V2, "operators": ("depthwise",) * BLOCKS}
    lines = [{"epoch": 1, "held_out_accuracy": test - 1, "pictures_per_cpu_second": 100.0}]
    last = {"end": True, "test": {"accuracy": test}, "cpu_hours": 0.5, **more}
    return {"config": {"kind": "fit", "network": network}, "log": [*lines, last]}


def quantized(test: float) -> dict:
    more = {"test_float": {"accuracy": test}, "test_int8": {"accuracy": test - 0.25}, "bytes": 1000,
            "cycles": {"plain": 3000, "st_os": 2000}, "int8_pictures_per_second": 150.0,
            "rtl": {"pictures": 2, "sums": 100, "cycles": 4000}}  # fmt: skip
    found = made("", 0.0, **more)
    del found["log"][-1]["test"]
    found["config"] |= {"kind": "quantize", "start": "nos_20_s0"}
    return found


def test_study():
    """The tables have the means and deviations of all seeds, and the gap is that of the means."""
    runs = {}
    for name, values in (("depthwise_30", (90, 91, 92)), ("fuse_half_30", (86, 87, 88)),
                         ("nos_20", (89, 90, 91)), ("nos_20_first", (80,)),
                         ("depthwise_60", (92,)), ("fuse_half_60", (91.9,)),
                         ("fuse_full_30", (89.5,))):  # fmt: skip
        for seed, value in enumerate(values):
            runs[f"{name}_s{seed}"] = made(name, float(value))
    runs["nos_20_s0_int8"] = quantized(89.0)
    letters = "D" * BLOCKS
    runs[f"point_{letters}_s0"] = made("", 91.5)
    runs[f"point_{letters}_s0_int8"] = quantized(91.5)
    point = {"operators": letters, "cycles": 7, "predicted": 91.0, "found": True,
             "evolved_predicted": 91.0}  # fmt: skip
    searches = {"search_16": {"ends": {"depthwise": [9, 91.0]}, "picked": [0], "points": [point],
                              "counts": [250, 50], "size": 2**17, "correlation": 0.9, "error": 0.3,
                              "cpu_hours": 0.5}}  # fmt: skip
    study = report.Study({"runs": runs, "searches": searches})
    text = report.render(study)
    assert (
        "FuSe half in place is 4.00 points below depthwise (standard error 0.93); NOS is 3.00"
        in (" ".join(text.split()))
    )
    assert "FuSe full in place is 1.50 points below depthwise" in " ".join(text.split())
    assert "75 % of the gap" in text and "0.10 points below depthwise" in text
    assert text.count("% of the gap") == 1  # 0.1 points are no gap
    assert "| depthwise, the teacher | 1 | 3 | 0.50 | 90.00 +- 1.00 | 91.00 +- 1.00 |" in text
    assert (
        "| adapters begin first, as in the authors' code | 1 | 1 | 0.50 | 79.00 | 80.00 |" in text
    )
    assert "| nos_20_s0 | 1 | 89.00 | 88.75 | 0.25 | 1,000 | 3,000 | 2,000 | 2: 100 |" in text
    assert f"| 16 x 16 | {letters} | 7 | 91.00 predicted | 91.50 | 1 | yes |" in text
    assert "took 8.5 CPU hours" in text and not re.search(r"@\w+@", text)
    assert b"chosen by search" in report.plot(study, "svg")


def test_runs_are_collected(tmp_path, monkeypatch):
    """Finished runs of a folder are added, without the places where they lay."""
    template = (report.DOCS / "training.md.in").read_text()
    other = (report.EXAMPLES / "README.md.in").read_text()
    for name in ("DOCS", "EXAMPLES"):
        monkeypatch.setattr(report, name, tmp_path)
    (tmp_path / "training.md.in").write_text(template)
    (tmp_path / "README.md.in").write_text(other)
    folder = tmp_path / "elsewhere"
    network = {**V2, "operators": ["depthwise"] * BLOCKS}
    settings = {"kind": "fit", "network": network, "command": "python -m train fit"}
    done = made("", 90.0)["log"]
    for name, lines in (("depthwise_30_s0", done), ("nos_20_s0", []), ("mine", done)):
        Run.create(folder / name, settings).write(lines)
    search = {"command": "python -m train search --supernet /a/b/c --rows 16", "ends": {},
              "picked": [], "points": [], "size": 4, "counts": [3, 1], "correlation": 1.0,
              "error": 0.0, "cpu_hours": 0.0}  # fmt: skip
    (folder / "search_16.json").write_text(json.dumps(search))
    assert report.main(["--runs", str(folder)]) == 0
    found = json.loads((tmp_path / "training.json").read_text())
    assert list(found["runs"]) == ["depthwise_30_s0"]
    command = found["searches"]["search_16"]["command"]
    assert command == "python -m train search --supernet runs/c --rows 16"
    assert report.main([]) == 0
    assert "90.00" in (tmp_path / "training.md").read_text()


def test_draft(tmp_path, capsys):
    """A network that is not trained is that of the records, and the page has its cycles."""
    words = ["--network", "mobilenet_v1_cifar100", "--variant", "A"]
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        assert draft.main([*words, "-o", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    graph = transform.recognize(load_tflite(files[0]))
    network = build("mobilenet_v1_cifar100", "A", padding="same")
    macs = [[one.workload.macs for one in net.layers] for net in (graph, network)]
    assert macs[0] == macs[1]
    committed = json.loads((page.DOCS / "accelerator.json").read_text())["drafts"]
    program = compile_graph(graph, page.machine("16 x 16"))
    cycles = committed["networks"]["mobilenet_v1_cifar100-A"]["cycles"]
    assert program.timing().cycles == cycles["16 x 16"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as error:
        draft.main(["--variant", "A-P-P", "-o", str(tmp_path / "three")])
    said = capsys.readouterr().err
    assert error.value.code == 2
    assert "must be one of baseline, full, half" in said and said.count("\n") == 1
    assert not (tmp_path / "three").exists()


def test_commands_are_listed():
    """``python -m train`` lists all of them, and knows no others."""
    listed = subprocess.run([sys.executable, "-m", "train"], capture_output=True, text=True)
    assert all(f"python -m train {name}" in listed.stdout for name in COMMANDS)
    other = subprocess.run([sys.executable, "-m", "train", "x"], capture_output=True, text=True)
    assert other.returncode == 2 and other.stderr.count("\n") == 1


def test_evaluation():
    """Accuracy and its error are those of the pictures."""
    data = few(64)
    model = net()
    found = evaluate(model, data.test)
    with torch.no_grad():
        logits = model.eval()(as_input(data.test.pixels))
    right = (logits.argmax(1).numpy() == data.test.labels).mean()
    assert found.accuracy == 100 * right
    assert np.isclose(found.error, 100 * np.sqrt(right * (1 - right) / 64))
