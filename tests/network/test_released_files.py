"""Files of every version of the format: read to the same digest and outputs, written as they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from abc_hw.network import container, files
from abc_hw.sim import fast

FOLDER = ROOT / "tests" / "network" / "released"

RELEASED = {
    "v1-chain.safetensors": "9e2dc26065270a634d229f581ea819030dfbdd704ff6828bd25c998848869d9b "
    "4edbffeaf30db9dcd427c19e2f1456401ba57a77d91196beaca16baa696dff6c",
    "v2-graph.safetensors": "c9f0b7e9e3873a61f969bea971b6a5fddf4de5982a52a0f8fa1926754396cf04 "
    "8989c2186d543bb8146a788e8b7241b93478941e8d31d1a25075c46765ec790d",
}
"""File -> digest of its network, and SHA-256 of its output on the images of :func:`output`."""


def output(path: Path) -> str:
    """SHA-256 of what a network makes of eight images that its shape decides."""
    network = files.load_any(path)
    shape = (8, *network.input_shape)
    levels = network.input.bases.levels
    images = (np.arange(int(np.prod(shape))) * 2654435761 // 65536 % levels).astype(np.uint8).reshape(shape)
    made = fast.run(network, images).astype("<i8")
    return hashlib.sha256(made.tobytes()).hexdigest()


@pytest.mark.parametrize("name", RELEASED)
def test_released_files_mean_what_they_meant(name: str) -> None:
    path = FOLDER / name
    assert f"{files.load_any(path).digest} {output(path)}" == RELEASED[name]


@pytest.mark.parametrize("name", RELEASED)
def test_they_are_written_as_they_were(name: str, tmp_path: Path) -> None:
    files.save(files.load_any(FOLDER / name), tmp_path / name)
    assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_every_version_is_among_them() -> None:
    assert {path.name for path in FOLDER.iterdir()} == RELEASED.keys()
    versions = {int(name[1]) for name in RELEASED}
    assert versions == set(container.VERSIONS)
