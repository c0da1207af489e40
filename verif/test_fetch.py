"""`make data`: what it fetches, what it refuses, and where tests look."""

from __future__ import annotations

import gzip
import hashlib
import re

import pytest

from verif.lib import fetch
from verif.lib.fetch import SOURCES, UNPUBLISHED, FetchError, Source


def source(path, content: bytes, name: str = "models/a.tflite", **change: str) -> Source:
    """Return a file published in a folder of this machine."""
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Source(**{"name": name, "address": path.as_uri(), "sha256": sha256} | change)


def test_fetched_once(tmp_path, capsys, monkeypatch):
    """What is right is left alone, what is damaged is fetched again."""
    monkeypatch.setenv("STOS_DATA", str(tmp_path / "data"))
    one = source(tmp_path / "a", b"model")
    kept = tmp_path / "data" / one.name
    for news in ("fetched", "is there"):
        assert fetch.main([one]) == 0 and kept.read_bytes() == b"model"
        assert capsys.readouterr().out == f"models/a.tflite: {news}\n"
    kept.write_bytes(b"mode")
    assert fetch.main([one]) == 0 and kept.read_bytes() == b"model"


def test_packed(tmp_path):
    """A library is kept packed, the same way every time, and its text is what is checked."""
    one = source(tmp_path / "a.lib", b"library", "pdk/a.lib.gz")
    assert fetch.fetch(one, tmp_path) and not fetch.fetch(one, tmp_path)
    kept = (tmp_path / one.name).read_bytes()
    assert gzip.decompress(kept) == b"library" and kept[4:8] == bytes(4)
    (tmp_path / one.name).write_bytes(b"library")
    assert fetch.fetch(one, tmp_path)


def test_refused(tmp_path, capsys, monkeypatch):
    """Other content, and no content: one line each, and what was there stays."""
    monkeypatch.setenv("STOS_DATA", str(tmp_path))
    wrong = source(tmp_path / "a", b"other", sha256="0" * 64)
    absent = source(tmp_path / "b", b"", address=(tmp_path / "c").as_uri())
    kept = tmp_path / wrong.name
    kept.parent.mkdir()
    kept.write_bytes(b"mine")
    assert fetch.main([wrong, absent]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"models/a.tflite: FAILED: file:.*a: SHA-256 is \w{64}, not 0{64}", first)
    assert "No such file" in second
    assert kept.read_bytes() == b"mine" and [*kept.parent.iterdir()] == [kept]
    with pytest.raises(FetchError):
        fetch.fetch(absent, tmp_path)


def test_where_tests_look(tmp_path, monkeypatch):
    """$STOS_DATA first; what is absent is named, with the way to get it."""
    name = SOURCES[0].name
    monkeypatch.setattr(fetch, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.delenv("STOS_DATA", raising=False)
    assert fetch.find(name) == tmp_path / "checkout" / "data" / name
    assert fetch.missing(name) == f"needs {name}: run `make data`"
    assert (
        fetch.missing(name, SOURCES[1].name) == f"needs {name}, {SOURCES[1].name}: run `make data`"
    )
    assert fetch.missing(*UNPUBLISHED).startswith("needs what nobody publishes: models/vww_astro")
    for folder in ("shared", "checkout/data", "mine"):
        if folder == "mine":
            monkeypatch.setenv("STOS_DATA", str(tmp_path / "mine"))
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True)
        path.touch()
        assert fetch.find(name) == path and not fetch.missing(name)


def test_addresses():
    """Each is at a commit, of one file; no two are the same."""
    pattern = r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[\w./-]+"
    for one in SOURCES:
        assert re.fullmatch(pattern, one.address) and re.fullmatch("[0-9a-f]{64}", one.sha256)
    for values in zip(*((one.name, one.address, one.sha256) for one in SOURCES), strict=True):
        assert len(set(values)) == len(SOURCES)


def test_page_names_them():
    """CONTRIBUTING.md lists what is fetched, and what cannot be."""
    page = (fetch.CHECKOUT / "CONTRIBUTING.md").read_text()
    fetched, _, others = page.partition("Nobody publishes these")
    assert all(f"`{one.name}`" in fetched for one in SOURCES)
    assert all(f"`{name}`" in others for name in UNPUBLISHED)
    assert page.count(".tflite`") + page.count(".npz`") + page.count(".lib.gz`") == len(
        {*UNPUBLISHED, *SOURCES}
    )


@pytest.mark.parametrize("one", SOURCES, ids=lambda one: one.name)
def test_same_as_beside(one):
    """What lies in the folders of this machine, if anything, is what `make data` would fetch."""
    path = fetch.find(one.name)
    assert not path.exists() or one.is_right(path.read_bytes())
