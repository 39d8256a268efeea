"""Descriptions, folding files, cards and results with faults in values, lines and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY
from mutants import Promise, changed_bytes, changed_document, changed_lines
from places import ROOT

from abc_hw.cli.inputs import load_folding
from abc_hw.network import description
from abc_hw.reading import read_json
from abc_hw.training.sweep import read_result
from abc_hw.validation import validate
from abc_hw.zoo import FOLDER, Card

RESULT = {"variant": "abc:1/1", "seed": 1, "validation": 0.5, "right": 5, "images": 10, "xnors": None}


def descriptions(count: int, seed: int) -> Promise:
    """Read so many faulty descriptions, and make the networks of those that are accepted."""
    rng, promise = np.random.default_rng(seed), Promise()
    text = TINY.read_text()
    for number in range(count):
        made = changed_lines(text, rng)
        if number % 4 == 0:
            made = changed_bytes(text.encode(), rng).decode(errors="surrogateescape")
        promise.keep(lambda made=made: description.parse(made, "mutant").network(), made)
    return promise


def others(count: int, seed: int, folder: Path) -> Promise:
    """Read so many faulty folding files, cards and results."""
    rng, promise = np.random.default_rng(seed), Promise()
    foldings = sorted((ROOT / "examples").rglob("foldings/*.toml")) or sorted(ROOT.rglob("foldings/*.toml"))
    folding = foldings[0].read_text()
    card = json.loads(next(FOLDER.glob("*.json")).read_bytes())
    path = folder / "mutant"
    for number in range(count):
        if number % 3 == 0:
            made = changed_lines(folding, rng)
        else:
            made = json.dumps(changed_document(card if number % 3 == 1 else RESULT, rng))
        data = made.encode(errors="surrogateescape")
        path.write_bytes(changed_bytes(data, rng) if number % 5 == 0 else data)
        readers = (
            lambda: load_folding(path),
            lambda: validate(Card, read_json(path, "a card"), str(path)),
            lambda: read_result(path, "abc:1/1", 1),
        )
        promise.keep(readers[number % 3], data)
    return promise


def test_a_faulty_document_is_read_or_refused_on_one_line(tmp_path: Path) -> None:
    for promise in (descriptions(300, seed=1), others(300, 1, tmp_path)):
        assert promise.refused > 50
        assert promise.accepted > 5


@pytest.mark.long
def test_thousands_of_faulty_documents(tmp_path: Path) -> None:
    for name, promise in (("descriptions", descriptions(5000, 2)), ("others", others(5000, 2, tmp_path))):
        print(f"\n{name}: {promise}")
