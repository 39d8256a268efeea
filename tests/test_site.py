"""The documentation builds as a site: every page in its place, every link leads somewhere, nothing to warn of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import abc_hw
from abc_hw.cli.main import EXAMPLES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)], cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page / "index.html").is_file()} == set()
    assert "Three doors" in (site / "index.html").read_text()


def test_every_public_name_and_command_is_described(site: Path) -> None:
    python = (site / "reference" / "python" / "index.html").read_text()
    titles = set(re.findall(r'<h3 id="[\w.]*\.(\w+)"', python))
    assert {name for name in abc_hw.__all__ if name != "__version__"} - titles == set()
    line = (site / "reference" / "commands" / "index.html").read_text()
    names = [command.__name__.replace("import_network", "import") for command in EXAMPLES]
    assert [name for name in names if f">abc-hw {name}<" not in line] == []


def test_the_site_asks_for_nothing_from_outside(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert found == [], page
