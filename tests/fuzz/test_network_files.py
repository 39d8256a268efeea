"""Network files of both versions with faults in bytes, headers, documents and tensors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from command_line import TINY
from mutants import Promise, Random, changed_bytes, changed_document
from random_graphs import random_graph

from abc_hw.errors import InputError
from abc_hw.network import description, files
from abc_hw.network.container import METADATA_KEY, checksum, unseal

INTEGERS = ("int8", "int16", "int32", "int64", "uint8")


def originals() -> list[bytes]:
    """Whole files: a chain, and graphs of every node."""
    rng = np.random.default_rng(2)
    graphs = [files.to_bytes(random_graph(rng)) for _ in range(8)]
    return [files.to_bytes(description.load(TINY)[0]), *graphs]


def changed_tensors(tensors: dict[str, Any], rng: Random) -> dict[str, Any]:
    """One tensor of another value, shape, type or name, or none of it, or one more."""
    if not tensors:
        return {"x": np.zeros(3, np.int8)}
    made = dict(tensors)
    name = sorted(made)[int(rng.integers(len(made)))]
    values = made[name].copy()
    match int(rng.integers(7)):
        case 0:
            del made[name]
        case 1:
            made[f"{name}x"] = values
        case 2:
            made[name] = values.astype(str(rng.choice(INTEGERS)))
        case 3:
            made[name] = values[..., :-1]
        case 4:
            made[name] = values.reshape(-1)[: int(rng.integers(values.size + 1))]
        case 5:
            made[name] = np.full_like(values, rng.choice([np.iinfo(values.dtype).max, np.iinfo(values.dtype).min]))
        case _:
            spots = rng.integers(values.size, size=int(rng.integers(1, 5)))
            values.reshape(-1)[spots] = rng.integers(-128, 128, spots.size).astype(values.dtype)
            made[name] = values
    return {key: np.ascontiguousarray(value) for key, value in made.items()}


def resealed(document: Any, tensors: dict[str, Any], rng: Random) -> bytes:
    """A file of that document and those tensors, whose checksum is right nine times in ten."""
    if isinstance(document, dict) and rng.random() < 0.9:
        document = {key: value for key, value in document.items() if key != "checksum"}
        document["checksum"] = checksum(document, tensors)
    return safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(document)})


def mutant(data: bytes, rng: Random) -> bytes:
    """The file with faults."""
    document, tensors = unseal(data)
    match int(rng.integers(6)):
        case 0:
            return changed_bytes(data, rng)
        case 1:
            end = 8 + int.from_bytes(data[:8], "little")
            text = json.dumps(changed_document(json.loads(data[8:end]), rng)).encode()
            return len(text).to_bytes(8, "little") + text + data[end:]
        case 2:
            return resealed(document, changed_tensors(tensors, rng), rng)
        case 3:
            return resealed(changed_document(document, rng), changed_tensors(tensors, rng), rng)
        case _:
            return resealed(changed_document(document, rng), tensors, rng)


def fuzz(count: int, seed: int) -> Promise:
    """Read so many mutants; those that are accepted must be written and read again as the same network."""
    rng, kinds, promise = np.random.default_rng(seed), originals(), Promise()
    for number in range(count):
        data = mutant(kinds[number % len(kinds)], rng)
        made = promise.keep(lambda data=data: files.from_bytes(data, "mutant"), data[:4000])
        if made is not None:
            again = files.from_bytes(files.to_bytes(made), "again")
            assert again.digest == made.digest
            assert (again.name, again.classes) == (made.name, made.classes)
    return promise


def test_a_faulty_file_is_read_or_refused_on_one_line() -> None:
    promise = fuzz(500, seed=1)
    assert promise.refused > 300
    assert promise.accepted > 5


@pytest.mark.long
def test_fifty_thousand_faulty_files() -> None:
    promise = fuzz(50_000, seed=2)
    print(f"\nnetwork files: {promise}")
    assert promise.refused > 30_000


def test_the_originals_are_whole() -> None:
    for data in originals():
        files.from_bytes(data, "original")
    with pytest.raises(InputError):
        files.from_bytes(originals()[0][:-1], "cut")
