"""What all commands share: bad numbers, names of files, pipes, full disks, Ctrl-C, jobs."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hw.board
import hw.gen
import report.stos
import sim.compile
import sim.host
import sim.run
import synth.area
import synth.timing
from report.command import OneLineParser, without
from report.files import write_atomically
from report.jobs import ExecutorError, add_executor_options, executor, run_jobs
from report.plots import picture, pyplot
from sim import abconv, compare, explore, network, paper

ROOT = Path(__file__).parents[1]
NETWORK = "--network mobilenet_v3_small --resolution 32"
SIZE = "--rows 4 --cols 4"
COMMANDS = {
    "hw.board": (hw.board, f"--board ulx3s-85f {SIZE}"),
    "hw.gen": (hw.gen, SIZE),
    "sim.network": (network, f"{NETWORK} {SIZE}"),
    "sim.compare": (compare, SIZE),
    "sim.explore": (explore, f"{NETWORK} --pes 16"),
    "sim.abconv": (abconv, SIZE),
    "sim.paper": (paper, "abconv"),
    "sim.compile": (sim.compile, f"no.tflite {SIZE}"),
    "sim.host": (sim.host, f"--port sim no.tflite --input no.npy {SIZE}"),
    "sim.run": (sim.run, f"no.tflite --input no.npy {SIZE}"),
    "synth.area": (synth.area, SIZE),
    "synth.timing": (synth.timing, SIZE),
}
BAD_NUMBERS = (
    "-1", "0x10", "nan", "-inf", "", ",", "1,,2", "x", "4x", "\u00b2", "9" * 5000, "-" + "9" * 5000,
    "1e999", "9" * 30, "1.5,",
)  # fmt: skip


def environment(**changes: str) -> dict[str, str]:
    """Return the variables under which a command of this checkout runs anywhere."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | changes


def command(
    words: str, folder: Path, *more: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    options.setdefault("env", environment())
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [sys.executable, "-m", *words.split(), *more],
        cwd=folder, text=True, errors="surrogateescape", stderr=subprocess.PIPE, timeout=200,
        check=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_numbers(name, tmp_path, monkeypatch, capsys):
    """Every option of every command that takes numbers refuses what is none, in one short line."""
    monkeypatch.chdir(tmp_path)
    module, words = COMMANDS[name]
    parsers = []
    parse = OneLineParser.parse_args

    def remember(parser, *arguments):
        parsers.append(parser)
        return parse(parser, *arguments)

    monkeypatch.setattr(OneLineParser, "parse_args", remember)
    with pytest.raises(SystemExit):
        module.main(["--help"])
    capsys.readouterr()
    options = [
        action.option_strings[0]
        for action in parsers[0]._actions
        if action.option_strings and action.type not in (None, Path)
    ]
    assert len(options) >= (0 if name == "sim.paper" else 5)
    for option in options:
        for value in BAD_NUMBERS:
            with pytest.raises(SystemExit) as stop:
                module.main([*words.split(), f"{option}={value}"])
            out, err = capsys.readouterr()
            assert stop.value.code == 2 and out == "", (option, value[:20])
            assert err.startswith(f"{name}: ") and err.count("\n") == 1 and len(err) < 600
            names = {option[2:], option[2:].replace("-", "_")}
            names |= {"--sweep": {"rows"}, "--shapes": {"rows", "cols"}}.get(
                option, {"g for", "g must"}
            )
            assert any(word in err for word in names)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"sim.compile", "sim.host", "sim.run"}))
def test_bugs_are_tracebacks(name, tmp_path, monkeypatch, capsys):
    """An error of NumPy's, or any other of the code's own, is never told as the user's mistake."""
    monkeypatch.chdir(tmp_path)
    module, words = COMMANDS[name]

    def bug(*_):
        return np.zeros(3) + np.zeros(4)

    broken = replace(module.COMMAND, report=bug)
    with pytest.raises(ValueError, match="broadcast"):
        broken.main(words.split())
    assert capsys.readouterr() == ("", "")


def test_bug_status(tmp_path):
    """Such an error ends a command with a traceback and status 1."""
    (tmp_path / "planted.py").write_text(
        "import numpy, sim.cost, sim.network\n"
        "def bug(*_):\n    return numpy.zeros(3) + numpy.zeros(4)\n"
        "sim.network.map_workload = sim.cost.map_workload = bug\nsim.network.COMMAND.run()\n"
    )
    run = command(f"planted {NETWORK} {SIZE} --json r.json", tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("Traceback") and "could not be broadcast" in run.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("name", ["hw.gen", "sim.network", "sim.compare", "sim.paper"])
def test_json(name, tmp_path, monkeypatch, capsys):
    """--json FILE writes the file and shows the tables; --json alone prints the same instead."""
    monkeypatch.chdir(tmp_path)
    module, words = COMMANDS[name]
    assert module.main([*words.split(), "--json", "x.json"]) == 0
    shown, written = capsys.readouterr().out, json.loads(Path("x.json").read_text())
    assert "wrote x.json" in shown and written["command"].startswith(f"python -m {name} ")
    assert module.main([*words.split(), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("command") in written.pop("command")
    assert printed == written


def test_package_commands():
    """``python -m sim`` lists the commands of the package, and so do the others."""
    for package in ("hw", "sim", "synth"):
        run = command(package, ROOT)
        assert run.returncode == 0, run.stderr
        names = [module for module in report.stos.MODULES.values() if module.startswith(package)]
        assert run.stdout.count("python -m") == len(names) + 2
        assert all(f"python -m {name} " in run.stdout for name in names)


def test_closed_pipe(tmp_path):
    """A reader that has gone costs no file and no word."""
    reader, writer = os.pipe()
    os.close(reader)
    for words in (
        f"sim.network {NETWORK} {SIZE} --json r.json --markdown r.md",
        f"hw.gen {SIZE} -o core.v",
        f"hw.gen {SIZE} -o -",
        "synth.area --help",
    ):
        run = command(words, tmp_path, stdout=writer)
        assert (run.returncode, run.stderr) == (128 + signal.SIGPIPE, ""), words
    os.close(writer)
    assert json.loads((tmp_path / "r.json").read_text())["network"] == "mobilenet_v3_small"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "core.core", "core.json", "core.v", "r.json", "r.md",
    ]  # fmt: skip


def test_full_disk(tmp_path):
    """A full disk is one line, whether the screen or a file is on it; the other is written."""
    words = f"sim.network {NETWORK} {SIZE} --json r.json"
    with open("/dev/full", "w") as full:
        run = command(words, tmp_path, stdout=full)
    error = "sim.network: cannot write standard output: No space left on device\n"
    assert (run.returncode, run.stderr) == (2, error)
    assert (tmp_path / "r.json").exists()
    (tmp_path / "r.json").unlink()

    def no_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    run = command(words, tmp_path, preexec_fn=no_file)
    assert run.returncode == 2 and "mobilenet_v3_small" in run.stdout and "wrote" not in run.stdout
    assert run.stderr == "sim.network: cannot write r.json: File too large\n"
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_atomically({Path("/dev/full"): "text"})


def test_open_files(tmp_path):
    """What is open already is written where it stands: nothing before it is lost."""
    path = tmp_path / "log"
    with path.open("w") as file:
        file.write("before ")
        file.flush()
        write_atomically({Path(f"/dev/fd/{file.fileno()}"): "inside "})
        file.write("after")
    assert path.read_text() == "before inside after"


def test_strange_names(tmp_path, monkeypatch, capsys):
    """Names of files are no markup, and need be neither ASCII nor UTF-8."""
    monkeypatch.chdir(tmp_path)
    names = ("rev[/2] :heart: \u00e4.v", "rev[/2] :heart: \u00e4.json")
    assert hw.gen.main(["--rows", "1", "--cols", "1", "-o", names[0]]) == 0
    out = capsys.readouterr().out
    assert all(Path(name).is_file() and f"wrote {name}\n" in out for name in names)
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    name = os.fsdecode(b"\xff[b]\xc3\xa4\n.json")
    run = command(
        f"sim.network {NETWORK} {SIZE} --json", tmp_path, name, env=environment(**ascii_only)
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("wrote \\udcff[b]\\xe4\\n.json\n")
    assert json.loads((tmp_path / name).read_text())["network"] == "mobilenet_v3_small"
    with pytest.raises(SystemExit):
        network.main([*NETWORK.split(), *SIZE.split(), "--json", f"{names[0]}/\udcff\n.json"])
    error = capsys.readouterr().err
    assert error.startswith("sim.network: cannot write rev[/2] :heart: \u00e4.v/\\udcff\\n.json: ")


def test_pictures_are_reproducible(monkeypatch):
    """Neither the time nor anything else of a run is in a picture."""
    for kind in ("svg", "png", "pdf"):
        found = set()
        for seconds in ("0", "1000000000"):
            monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)  # the time, for matplotlib
            drawing, axes = pyplot().subplots()
            axes.plot([1, 2], [3, 4], label="a line")
            axes.legend()
            found.add(picture(drawing, kind))
        assert len(found) == 1, kind


def test_without():
    """Options and their values go, in both forms; other words stay."""
    words = ["--jobs", "2", "--rows", "4", "--jobs=3", "--json", "--jobs"]
    assert without(words, "--jobs") == ["--rows", "4", "--json"]
    words = ["--json", "--rows", "16", "--json", "x.json", "--st-os", "--json"]
    assert without(words, "--json") == ["--rows", "16", "--st-os"]


def test_outputs_of_gen(tmp_path, monkeypatch, capsys):
    """No file that a command writes anyway can be named for --json."""
    monkeypatch.chdir(tmp_path)
    for file in ("a.v", "a.json", "a.core"):
        with pytest.raises(SystemExit):
            hw.gen.main([*SIZE.split(), "-o", "a.v", "--json", file])
        assert f"{file} is named twice as an output" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        hw.gen.main([*SIZE.split(), "-o", "-", "--json"])
    assert "standard output is asked for twice" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def unfinished(folder: Path) -> list[str]:
    """Return the names of what runs of Yosys have left unfinished."""
    return [path.name for path in folder.glob("build/synth/*") if "unfinished" in path.name]


def has_started(words: str, process: subprocess.Popen[str], folder: Path) -> bool:
    """Whether a command does what it is to be interrupted in."""
    if words.startswith("sim.compare"):  # still imports
        return "numpy" in Path(f"/proc/{process.pid}/maps").read_text()
    if words.startswith("hw.gen"):  # waits for Yosys
        return bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    return len(unfinished(folder)) >= 1 + ("--jobs 2" in words)


@pytest.mark.parametrize(
    ("words", "number", "status", "error"),
    [
        (f"sim.compare {SIZE}", signal.SIGINT, 130, "interrupted"),
        ("hw.gen --rows 32 --cols 32 -o x.v", signal.SIGINT, 130, "interrupted"),
        (f"sim.explore {NETWORK} --pes 64 --area --json x.json", signal.SIGTERM, 143,
         "ended by SIGTERM"),
        ("synth.area --sweep 8,16 --jobs 2 --json x.json", signal.SIGINT, 130, "interrupted"),
    ],
    ids=lambda value: str(value).split()[0],
)  # fmt: skip
def test_interrupted(words, number, status, error, tmp_path):
    """One line and a status; tools end, and nothing unfinished is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words.split()], cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        # A shell starts what it puts in the background with SIGINT ignored, these tests, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while process.poll() is None and not has_started(words, process, tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    # As a terminal does it: to the tools and to the processes for jobs, too.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, "", f"{words.split()[0]}: {error}\n")
    assert not list(tmp_path.glob("*.*"))
    assert not [path for path in tmp_path.glob("build/synth/*") if "ed-" in path.name]


def square(number: int, wait: float) -> tuple[int, str]:
    """Return a square late, and where."""
    time.sleep(wait)
    return number * number, os.getcwd()


def die() -> None:
    """End the process that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_jobs(tmp_path, monkeypatch):
    """Results have the order of the jobs, in this folder; a process that dies is one line."""
    monkeypatch.chdir(tmp_path)
    jobs = [(number, 0.02 * (4 - number)) for number in range(5)]
    for count in (1, 2):
        with executor(argparse.Namespace(jobs=count)) as pool:
            found = run_jobs(pool, square, jobs, list("abcde"))
            assert found == [(number**2, str(tmp_path)) for number in range(5)]
            with pytest.raises(ValueError, match="sleep length"):
                run_jobs(pool, square, [(1, 0), (2, -1.0)], list("ab"))
    with pytest.raises(ExecutorError, match="has died"), executor(argparse.Namespace(jobs=2)) as p:
        run_jobs(p, die, [()], ["a"])


def clean_up(left: Path) -> None:
    """End as a job does that is interrupted, late."""
    try:
        raise KeyboardInterrupt
    finally:
        left.touch()  # not before: whoever waits for it interrupts at once
        time.sleep(0.5)
        left.unlink()


def test_interrupted_once(tmp_path):
    """A job that ends already is not interrupted again, and cleans up."""
    left = tmp_path / "left"
    with pytest.raises(KeyboardInterrupt), executor(argparse.Namespace(jobs=2)) as pool:
        pool.submit(clean_up, left)
        while not left.exists():
            time.sleep(0.005)
        raise KeyboardInterrupt
    assert not left.exists()


def test_executor_options(monkeypatch, capsys):
    """Bad options, a missing package, and a scheduler that does not answer."""
    parser = OneLineParser("x", "")
    add_executor_options(parser)
    for words, text in (
        (["--jobs", "0"], "must be an integer from 1 to 9999, not '0'"),
        (["--scheduler", "here"], "must be like tcp://HOST:PORT, not 'here'"),
        (["--scheduler", "tcp://a:1", "--jobs", "2"], "not allowed with argument"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert text in capsys.readouterr().err
    arguments = parser.parse_args(["--scheduler", "tcp://127.0.0.1:9"])
    monkeypatch.setattr("report.jobs._PATIENCE", "0.2s")
    with pytest.raises(ExecutorError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        with executor(arguments):
            pass
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        parser.parse_args(["--scheduler", "tcp://127.0.0.1:9"])
    assert "pip install -e '.[cluster]'" in capsys.readouterr().err


def test_area_by_jobs(tmp_path, monkeypatch, capsys):
    """One process, two, and a Dask cluster give the same bytes."""
    from distributed import LocalCluster

    monkeypatch.chdir(tmp_path)
    words = "--rows 2 --cols 1 --target ecp5 --json a.json --markdown a.md".split()

    def files(*more: str) -> list[bytes]:
        assert synth.area.main([*words, *more]) == 0
        return [Path(name).read_bytes() for name in ("a.json", "a.md")]

    one = files("--jobs", "2")
    assert json.loads(one[0])["command"] == f"python -m synth.area {' '.join(words)}"
    assert one == files("--jobs=1")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        assert one == files("--scheduler", cluster.scheduler_address)
    assert capsys.readouterr().err == ""


def test_console_script(tmp_path):
    """`stos` runs the project's commands where the user has packages of the same names."""
    for package in ("sim", "hw"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    program = Path(sys.executable).with_name("stos")

    def stos(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    ran = stos("network", "--network", "mobilenet_v2", "--rows", "16", "--cols", "16")
    assert ran.returncode == 0 and "1,698,058" in ran.stdout, ran.stderr
    count = len(report.stos.MODULES) + len(report.stos.PACKAGES)
    assert stos("--help").stdout.count("python -m") == count
    for words, text in (
        ("fly", "there is no command 'fly'; legal: gen, run,"),
        ("gen --rows 0 --cols 1", "hw.gen: rows must be"),
    ):
        refused = stos(*words.split())
        assert refused.returncode == 2 and text in refused.stderr and not refused.stdout
