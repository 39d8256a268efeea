"""The folder of a run: for one training at a time, with checkpoints that are whole or refused."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from abc_hw.errors import InputError
from abc_hw.training import loop

CONFIG = loop.config_for("digits", M=1, N=1, epochs=1, integer_epochs=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was moved there."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:  # a copy from another file system can be cut short
        for module, name in ((tempfile, "mkstemp"), (shutil, "copyfileobj"), (shutil, "move")):
            patch.setattr(module, name, None)
        loop.train(CONFIG, folder / "first", progress=False, accelerator="cpu")
    return (folder / "first").rename(folder / "moved")


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no groups of parameters": lambda content: content["optimizer_states"][0].update(param_groups=[]),
    "no place": lambda content: content.update(loops={}),
    "no version": lambda content: content.pop("pytorch-lightning_version"),
    "callbacks of another kind": lambda content: content.update(callbacks=3),
}


def test_a_checkpoint_whose_training_state_does_not_fit_is_told(run: Path, tmp_path: Path) -> None:
    content = torch.load(run / loop.LAST, weights_only=True)
    for change in DAMAGES.values():
        damaged = copy.deepcopy(content)
        change(damaged)
        torch.save(damaged, tmp_path / loop.LAST)
        with pytest.raises(InputError, match=r"last\.ckpt: expected what training goes on from, found parts that"):
            loop.train(None, tmp_path, resume=True, progress=False, accelerator="cpu")


def test_a_run_goes_on_in_another_folder_without_a_word(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loop.train(None, run, resume=True, progress=False, accelerator="cpu")
    assert capfd.readouterr() == ("", "")


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    held = f"with writing.own_folder({str(folder)!r}): print(flush=True); input()"
    code = f"from abc_hw import writing\n{held}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match="expected a folder that no other run of abc-hw writes into now"):
            loop.train(CONFIG, folder, progress=False)
        other.kill()
    assert not list(folder.iterdir())
