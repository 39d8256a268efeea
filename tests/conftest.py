"""Settings and fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import TINY, done
from hypothesis import settings

from abc_hw.network import description, files

# Each run draws the same examples, so that two runs of the suite agree; no deadline, for slow machines exist.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs many processes side by side


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.ckpt, network.safetensors and network.onnx of a short training; tests do not change them."""
    folder = tmp_path_factory.mktemp("trained")
    done("train", "-M", "2", "-N", "2", "--epochs", "2", "--integer-epochs", "1", "--out", folder)
    done("export", folder / "model.ckpt", "-o", folder / "network.safetensors", "--onnx", folder / "network.onnx")
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The network file of a small network with random weights."""
    path = tmp_path / "tiny.safetensors"
    files.save(description.load(TINY)[0], path)
    return path
