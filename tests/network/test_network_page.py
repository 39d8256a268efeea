"""docs/network.md: its examples run, what it says of them holds, and its messages are the ones that come."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import ROOT

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, files
from abc_hw.sim import golden

PAGE = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's code defines, and the folder that it ran in as "folder"."""
    folder, names = tmp_path_factory.mktemp("page"), dict[str, Any]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/network.md", "exec"), names)
    return names | {"folder": folder}


def test_the_chain_computes_what_its_numbers_mean(page: dict[str, Any]) -> None:
    network = files.load(Path(page["folder"]) / "by-hand.safetensors")
    assert isinstance(network, Network)
    images = np.random.default_rng(2).integers(256, size=(5, 8, 8, 1), dtype=np.uint8)
    trace = golden.run(network, images)
    padded = np.pad(images[..., 0].astype(int), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    ternary = page["ternary"][..., 0]
    acc = 2 * (np.einsum("byxhw,chw->byxc", 2 * windows - 255, ternary))
    assert np.array_equal(trace.layers[0].acc, acc)


def test_the_graph_marks_what_it_says(page: dict[str, Any]) -> None:
    graph = files.load_any(Path(page["folder"]) / "peaks.safetensors")
    assert isinstance(graph, Graph)
    samples = page["samples"]
    clipped = np.clip(samples[:, :, 0].astype(int), -8, 7)
    value = 2 * clipped + 1  # planes of n + 8: 2 (n + 8) - 15
    padded = np.pad(value, ((0, 0), (2, 2)), constant_values=1)
    signs = 2 * page["nodes"][1].weights.ravel().astype(int) - 1
    filtered = sum(sign * padded[:, place : place + 64] for place, sign in enumerate(signs))
    expected = 1 + (filtered + value >= 20)
    assert np.array_equal(page["peaks"][:, 0, :, 0], expected)
    assert set(np.unique(page["peaks"])) == {1, 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": 3},
        {"kernel": (np.int64(3), 3)},
        {"weights": np.where(np.arange(144) % 2, 1, -1).reshape(16, 3, 3, 1)},
        {"alpha": np.full((16, 2), 0.5)},
        {"thresholds": np.tile([5, 3], (16, 1))},
    ],
)
def test_the_messages_of_the_page_are_the_ones_that_come(page: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(page["conv"], **changes)
    assert f"| `{caught.value}` |" in PAGE
