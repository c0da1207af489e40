"""The web site of `make docs`: every module has its page, and nothing comes from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs '.[site]'")
def test_site(tmp_path):
    """It builds without a warning, and can be read without a network."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    from pages.site import modules

    assert {"hw.core", "golden", "sim.rtl", "synth.area", "pages.array"} <= set(modules())
    for name in modules():
        page = (tmp_path / "reference" / f"{name}.html").read_text()
        assert f"<code>{name}</code>" in page and "doc-contents" in page, name
    page = (tmp_path / "reference" / "hw.array.pe.html").read_text()
    ports = r">i_release</span></code></td>.*?The row.s results start to leave in this step"
    assert re.search(ports, page, re.DOTALL)
    for path in tmp_path.rglob("*.html"):
        text = path.read_text()
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:[^"]*)', text)
        assert not loaded, path
    index = (tmp_path / "index.html").read_text()
    assert 'src="array.svg"' in index and 'href="dataflow.html"' in index
