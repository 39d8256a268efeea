"""A reader and evaluator written from docs/format.md alone: it shares no code with the program."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from places import ROOT
from random_networks import random_images, random_network

from abc_hw import sources
from abc_hw.network import Network, files
from abc_hw.sim import golden

TYPES = {"U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}


class Reader:
    """A file taken apart: ``document``, and ``tensors`` as (type, shape, bytes)."""

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        self.document = json.loads(header.pop("__metadata__")["abc_hw"])
        self.tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            self.tensors[name] = TYPES[entry["dtype"]], entry["shape"], data[8 + size + begin : 8 + size + end]

    def numbers(self, name: str) -> list[Any]:
        """A tensor's elements in nested lists."""
        kind, shape, data = self.tensors[name]
        size = int(kind.lstrip("uint")) // 8
        flat: list[Any] = [
            int.from_bytes(data[place : place + size], "little", signed=True)
            for place in range(0, len(data), size)
        ]
        for side in reversed(shape[1:]):
            flat = [flat[start : start + side] for start in range(0, len(flat), side)]
        return flat

    def weights(self, layer: dict[str, Any]) -> list[int]:
        """The codes, one after the other."""
        bits = code_bits(layer["weight_bases"])
        stream = int.from_bytes(self.tensors[f"{layer['name']}.weights"][2], "little")
        count = layer["out_channels"] * layer["kernel"][0] * layer["kernel"][1] * layer["in_shape"][2]
        assert stream >> bits * count == 0
        return [stream >> bits * index & (1 << bits) - 1 for index in range(count)]

    def scores(self, image: list[Any]) -> list[int]:
        values = image
        for layer in self.document["layers"]:
            values = self.layer(layer, values)
        return values[0][0]

    def layer(self, layer: dict[str, Any], x: list[Any]) -> list[Any]:
        name, (height, width, channels) = layer["name"], layer["in_shape"]
        (kh, kw), stride, padding = layer["kernel"], layer["stride"], layer["padding"]
        length = kh * kw * channels
        codes, alpha = self.weights(layer), self.numbers(f"{name}.alpha")
        rows = [
            [value(code, layer["weight_bases"], alpha[c]) for code in codes[c * length : (c + 1) * length]]
            for c in range(layer["out_channels"])
        ]
        beta = self.numbers(f"{name}.beta")
        matrix = np.array(rows, np.int64)

        def seen(y: int, x_: int, c: int) -> int:
            inside = 0 <= y < height and 0 <= x_ < width
            return value(x[y][x_][c] if inside else 0, layer["input_bases"], beta)

        accs = [
            [
                (matrix @ np.array([
                    seen(oy * stride - padding + ky, ox * stride - padding + kx, c)
                    for ky in range(kh) for kx in range(kw) for c in range(channels)
                ], np.int64)).tolist()
                for ox in range((width + 2 * padding - kw) // stride + 1)
            ]
            for oy in range((height + 2 * padding - kh) // stride + 1)
        ]
        if layer["levels"] is None:
            bias = self.numbers(f"{name}.bias")
            return [[[acc + b for acc, b in zip(accs[0][0], bias, strict=True)]]]
        thresholds = self.numbers(f"{name}.thresholds")
        levels = [
            [[sum(acc >= t for t in ts) for acc, ts in zip(pixel, thresholds, strict=True)] for pixel in row]
            for row in accs
        ]
        side = layer["pool"]
        return [
            [
                [
                    max(levels[y * side + dy][x_ * side + dx][c] for dy in range(side) for dx in range(side))
                    for c in range(layer["out_channels"])
                ]
                for x_ in range(len(levels[0]) // side)
            ]
            for y in range(len(levels) // side)
        ]

    def digest(self) -> str:
        sha = hashlib.sha256()
        fields = (
            "in_shape", "kernel", "stride", "padding", "weight_bases", "input_bases", "weights", "alpha", "beta",
            "pool", "thresholds", "bias",
        )
        for layer in self.document["layers"]:
            for field in fields:
                name = f"{layer['name']}.{field}"
                if field == "weights":
                    shape = [layer["out_channels"], *layer["kernel"], layer["in_shape"][2]]
                    sha.update(json.dumps([field, shape]).encode() + bytes(self.weights(layer)))
                elif name in self.tensors:
                    numbers = np.array(self.numbers(name), "<i8")
                    sha.update(json.dumps([field, self.tensors[name][1]]).encode() + numbers.tobytes())
                else:
                    bases = layer.get(field)
                    if field.endswith("bases"):
                        bases = {"kind": bases["kind"], "count": bases["count"]}
                    sha.update(json.dumps([field, bases]).encode())
        return sha.hexdigest()

    def checksum(self) -> str:
        rest = {key: value for key, value in self.document.items() if key != "checksum"}
        sha = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
        for name, (kind, shape, data) in sorted(self.tensors.items()):
            sha.update(json.dumps([name, kind, shape]).encode() + data)
        return sha.hexdigest()


def code_bits(bases: dict[str, Any]) -> int:
    return bases["count"].bit_length() if bases["kind"] == "thermometer" else bases["count"]


def value(code: int, bases: dict[str, Any], coefficients: list[int]) -> int:
    plus = (code > n if bases["kind"] == "thermometer" else code >> n & 1 for n in range(bases["count"]))
    return sum(c if up else -c for c, up in zip(coefficients, plus, strict=True))


def check(network: Network, images: np.ndarray) -> None:
    reader = Reader(files.to_bytes(network))
    trace = golden.run(network, images)
    for image, scores, label in zip(images.tolist(), trace.scores.tolist(), trace.classes.tolist(), strict=True):
        found = reader.scores(image)
        assert found == scores
        assert found.index(max(found)) == label
    assert reader.digest() == reader.document["digest"] == network.digest
    assert reader.checksum() == reader.document["checksum"]


@pytest.mark.parametrize("seed", range(16))
def test_random_networks_are_read_by_the_page(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, side=7)
    check(network, random_images(rng, network, 3))


def test_a_trained_network_is_read_by_the_page() -> None:
    network = sources.load("zoo:digits-lenet-m3n3")
    check(network, random_images(np.random.default_rng(0), network, 2))


def test_the_page_names_all_that_a_file_holds() -> None:
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    reader = Reader(files.to_bytes(sources.load("zoo:digits-lenet-m3n3")))
    keys = {*reader.document, *reader.document["layers"][0], *(name.split(".")[1] for name in reader.tensors)}
    assert {key for key in keys if f"`{key}`" not in page and f"`name.{key}`" not in page} == set()
