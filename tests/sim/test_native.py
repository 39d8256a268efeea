"""The native loop: scores and classes of many images, and what it does with a design that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from places import EXAMPLES

from abc_hw.errors import InputError
from abc_hw.network import description
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.sim import fast, native

NETWORK, _ = description.load(EXAMPLES / "tiny.toml")
IMAGES = np.random.default_rng(0).integers(256, size=(41, *NETWORK.input_shape), dtype=np.uint8)
FOLDINGS = default_foldings(NETWORK)


def test_all_scores_equal_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights loaded, both streams stalled, two processes; and what becomes of a design that stands still."""
    seen: list[tuple[int, int]] = []
    result = native.simulate_scores(
        NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", stalls=0.4, jobs=2, work_dir=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    expected = fast.run(NETWORK, IMAGES)
    np.testing.assert_array_equal(result.scores, expected)
    np.testing.assert_array_equal(result.labels, expected.argmax(axis=1))
    assert len(result.cycles) == 39  # 41 images in two processes
    assert seen == sorted(seen)
    assert seen[-1] == (41, 41)
    monkeypatch.setattr(native, "build_native", lambda *_: tmp_path / "native" / "Vaccelerator")
    free = native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", jobs=1, work_dir=tmp_path)
    np.testing.assert_array_equal(free.scores, expected)
    assert free.cycles.tolist() == [free.bound] * 40
    monkeypatch.setattr(native, "_patience", lambda *_: 100)
    with pytest.raises(RuntimeError, match=r"verilator ended with code 3 after 0 of 41 images"):
        native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", jobs=1, work_dir=tmp_path)


@pytest.mark.long
def test_a_score_that_differs_is_noticed() -> None:
    def halves(text: str) -> str:
        changed = re.sub(r"\.i__payload\(i__payload\)", ".i__payload(i__payload >> 1)", text, count=1)
        assert changed != text
        return changed

    result = native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, mutate=halves)
    assert (result.scores != fast.run(NETWORK, IMAGES)).any()


@pytest.mark.parametrize("stalls", [-0.1, 0.95])
def test_stalls_are_a_share(stalls: float) -> None:
    with pytest.raises(InputError, match=rf"stalls: expected a share from 0 to 0.9, found {stalls}"):
        native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, stalls=stalls)
