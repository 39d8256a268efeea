"""The notebook, executed: shortened by the suite, whole by the long command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from places import EXAMPLES

NOTEBOOK = EXAMPLES / "abc_net.ipynb"

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # of the packages that talk to the kernel
)


def executed(folder: Path, changes: dict[str, str], seconds: int) -> tuple[str, list[str]]:
    """What the notebook prints, and its pictures as PNG in base64, with other values for names in its settings."""
    notebook = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
    (settings,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    for name, value in changes.items():
        settings.source, count = re.subn(rf"(?m)^{re.escape(name)} = .*$", f"{name} = {value}", settings.source)
        assert count == 1, name
    nbclient.NotebookClient(notebook, timeout=seconds, resources={"metadata": {"path": str(folder)}}).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    return text, [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]


def check(text: str, pictures: list[str], counts: tuple[int, ...]) -> None:
    rows = re.findall(r"(?m)^ +(\d) +(\d+\.\d\d) % +(\d+\.\d\d) % +[\d,]+$", text)
    assert [int(count) for count, _, _ in rows] == list(counts)
    compared = re.findall(r"(?m)^([\w.]+) +[\d,]+ bits compared, (\d+) differ$", text)
    assert [name for name, _ in compared] == ["conv1.pool", "conv2.pool", "fc1.threshold", "fc2.scores", "output"]
    assert {differ for _, differ in compared} == {"0"}
    assert len(pictures) == 6
    assert len(set(pictures)) == 6


def test_the_notebook_comes_without_outputs() -> None:
    assert all(not cell.get("outputs") for cell in nbformat.read(NOTEBOOK, nbformat.NO_CONVERT).cells)


def test_the_notebook_runs_from_top_to_bottom_when_shortened(tmp_path: Path) -> None:
    changes = {
        "CHANNELS": "(4, 4, 8)", "BASES": "(2, 1)", "EPOCHS": "(2, 1)",
        "SIMULATED_BASES, SIMULATED_IMAGES, SIMULATOR": "2, 1, 'icarus'",
    }
    check(*executed(tmp_path, changes, 300), (2, 1))


@pytest.mark.long
def test_the_whole_notebook_ends_within_ten_minutes(tmp_path: Path) -> None:
    text, pictures = executed(tmp_path, {}, 1200)
    check(text, pictures, (5, 3, 2, 1))
    print(text)
    tuned = [float(share) for share in re.findall(r"(?m)^ +\d +\d+\.\d\d % +(\d+\.\d\d) % +[\d,]+$", text)]
    assert min(tuned[:2]) > 97
    assert int(re.findall(r"from top to bottom: (\d+) s", text)[0]) < 600
