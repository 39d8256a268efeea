"""What README and help tell people to type is what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import abc_hw
from PIL import Image
from places import ROOT

from abc_hw.boards.platforms import BOARDS
from abc_hw.cli.main import EXAMPLES
from abc_hw.training import checkpoints, recipes

README = (ROOT / "README.md").read_text()
OWN = (ROOT / "docs" / "how-to.md").read_text().split("## Train a model and data of your own")[1]


def python(text: str) -> str:
    """The first block of Python in a text."""
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def commands() -> list[str]:
    """Every command that README, docs and help show, once."""
    texts = [page.read_text() for page in PAGES]
    shown = [
        line for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", "").splitlines() if line.startswith("abc-hw")
    ]
    return list(dict.fromkeys([*shown, *(line for lines in EXAMPLES.values() for line in lines)]))


def test_few_lines_go_from_a_checkpoint_to_verilog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = python(README)
    assert len(code.splitlines()) == 5
    path = tmp_path / "runs" / "digits" / "model.ckpt"
    path.parent.mkdir(parents=True)
    config = recipes.config_for("digits", M=2, N=2)
    classes = tuple("0123456789")
    model = recipes.build_model(config, (8, 8, 1), len(classes))
    checkpoints.save_checkpoint(
        checkpoints.Trained(model=model, config=config, classes=classes, accuracy={}, checkpoint=path)
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, str] = {}
    exec(code, names)
    assert re.search(r"^module accelerator\(", names["text"], re.MULTILINE)


@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")  # Lightning's use of a torch class
def test_a_model_and_data_of_ones_own_become_an_accelerator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = python(OWN)
    lines = iter(code.splitlines())
    assert all(line in lines for line in python(README.split("data of your own")[1]).splitlines())  # in this order
    for shown, shorter in (
        ("epochs=10", "epochs=1"), ("epochs=6", "epochs=1"), ("[:3]", "[:1]"), ("cycles=20_000", "cycles=40_000"),
        (", foldings=", ", simulator='icarus', foldings="),
    ):
        assert code.count(shown) == 1
        code = code.replace(shown, shorter)
    random = np.random.default_rng(0)
    for index in range(24):
        folder = tmp_path / "photos" / ("cats", "dogs", "fish")[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 18, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert "the same bits in Verilog: True" in capsys.readouterr().out
    record = names["network"].training
    assert (record["dataset"], record["reading"]["size"], record["model"]) == ("photos", [16, 16], "own")
    assert names["network"].classes == ("cats", "dogs", "fish")


@pytest.mark.parametrize("line", commands())
def test_commands_have_the_options_that_are_shown(line: str) -> None:
    _, *words = shlex.split(line)
    result = abc_hw(*words, "--help")  # unknown options are refused before help is shown
    assert result.exit_code == 0, result.output
    assert abc_hw(*words, "--no-such-option", "--help").exit_code == 2


@pytest.mark.parametrize("script", re.findall(r"^bash (\S+)", README, re.MULTILINE))
def test_scripts_are_there(script: str) -> None:
    assert (ROOT / script).is_file()


def test_links_lead_somewhere() -> None:
    found = {(page, link) for page in PAGES for link in re.findall(r"\]\((?!https:)([^)#]+)\)", page.read_text())}
    assert {page for page, _ in found} >= {ROOT / "README.md", ROOT / "docs" / "boards.md"}
    assert [(page.name, link) for page, link in found if not (page.parent / link).exists()] == []


def test_every_board_has_its_page() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "boards").glob("*.md")}
    named = "".join(page.read_text() for page in (ROOT / "docs" / "boards").glob("*.md"))
    assert {board.partition("-")[0] for board in BOARDS} == pages
    assert [board for board in BOARDS if f"--board {board}" not in named] == []
