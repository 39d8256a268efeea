"""Image files and data sets with faults in their bytes."""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import Promise, changed_bytes
from PIL import Image, features

from abc_hw.data.arrays import load_file
from abc_hw.data.images import read_image
from abc_hw.data.packed import read_cifar_pickle
from abc_hw.data.published import read_cifar, read_idx
from abc_hw.data.reading import Reading
from abc_hw.data.tables import read_table

Reader = Callable[[Path], Any]

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("RGB", {}), "png16": ("I;16", {"format": "PNG"}), "palette.png": ("P", {"format": "PNG"}),
    "alpha.png": ("RGBA", {"format": "PNG"}), "gif": ("P", {}), "bmp": ("RGB", {}), "ppm": ("RGB", {}),
    "pgm": ("L", {"format": "PPM"}), "tiff": ("RGB", {}),
    "lzw.tiff": ("L", {"format": "TIFF", "compression": "tiff_lzw"}),
    "jpg": ("RGB", {}), "tga": ("RGB", {}), "ico": ("RGBA", {}), "pcx": ("L", {}), "webp": ("RGB", {}),
    "jp2": ("RGB", {}), "avif": ("RGB", {}),
}  # fmt: skip
"""Name of the file -> its mode and how Pillow saves it."""

OPTIONAL = {"webp": "webp", "jp2": "jpg_2000", "avif": "avif"}
"""Formats that not every Pillow knows."""


def images() -> dict[str, bytes]:
    """A small whole image of each format."""
    pixels = np.random.default_rng(4).integers(256, size=(9, 11, 4), dtype=np.uint8)
    made = {}
    for name, (mode, options) in FORMATS.items():
        if name in OPTIONAL and not features.check(OPTIONAL[name]):
            continue
        image = Image.fromarray(pixels).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
        buffer = io.BytesIO()
        kind = options.get("format") or {"jpg": "JPEG", "jp2": "JPEG2000"}.get(name, name.upper())
        image.save(buffer, **{**options, "format": kind})
        made[name] = buffer.getvalue()
    return made


def data_sets() -> dict[str, tuple[bytes, Reader]]:
    """A small whole file of each kind of data, and its reader."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(256, size=(3, 4, 4), dtype=np.uint8)
    idx = bytes([0, 0, 8, 3]) + b"".join(side.to_bytes(4, "big") for side in pixels.shape) + pixels.tobytes()
    cifar = b"".join(bytes([label]) + rng.integers(256, size=3072, dtype=np.uint8).tobytes() for label in (1, 9))
    batch = {b"data": rng.integers(256, size=(2, 3072), dtype=np.uint8), b"labels": [1, 9]}
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, pixels)
    np.savez_compressed(npz, images=pixels, labels=np.arange(3))
    rows = "label,a,b\n" + "".join(f"{row % 2},{row * 0.5},{-row}\n" for row in range(20))
    return {
        "train-images-idx3-ubyte": (idx, lambda path: read_idx(path, 3)),
        "train-images-idx3-ubyte.gz": (gzip.compress(idx), lambda path: read_idx(path, 3)),
        "batch.bin": (cifar, read_cifar),
        "batch": (pickle.dumps(batch, 2), lambda path: read_cifar_pickle(path, path.read_bytes(), 3072)),
        "images.npy": (npy.getvalue(), load_file),
        "images.npz": (npz.getvalue(), load_file),
        "table.csv": (rows.encode(), lambda path: read_table(path)),
    }


def fuzz(kinds: dict[str, tuple[bytes, Reader]], count: int, seed: int, folder: Path) -> Promise:
    """Read so many faulty files, each kind in turn."""
    rng, promise = np.random.default_rng(seed), Promise()
    for number in range(count):
        name = list(kinds)[number % len(kinds)]
        data, read = kinds[name]
        path = folder / name
        path.write_bytes(changed_bytes(data, rng))
        promise.keep(lambda read=read, path=path: read(path), (name, path.read_bytes()[:3000]))
    return promise


def image_readers() -> dict[str, tuple[bytes, Reader]]:
    readings = [Reading(background="white", **more) for more in ({}, {"grey": True}, {"size": (8, 8)})]
    return {
        name: (data, lambda path, number=number: read_image(path, readings[number % 3]))
        for number, (name, data) in enumerate(images().items())
    }


def test_the_originals_are_whole(tmp_path: Path) -> None:
    for name, (data, read) in {**image_readers(), **data_sets()}.items():
        (tmp_path / name).write_bytes(data)
        read(tmp_path / name)


def test_a_faulty_image_is_read_or_refused_on_one_line(tmp_path: Path) -> None:
    promise = fuzz(image_readers(), 340, 1, tmp_path)
    assert promise.refused > 100
    assert promise.accepted > 50


def test_a_faulty_data_set_is_read_or_refused_on_one_line(tmp_path: Path) -> None:
    promise = fuzz(data_sets(), 210, 1, tmp_path)
    assert promise.refused > 50
    assert promise.accepted > 10


@pytest.mark.long
def test_twenty_thousand_faulty_images(tmp_path: Path) -> None:
    print(f"\nimages: {fuzz(image_readers(), 20_000, 2, tmp_path)}")


@pytest.mark.long
def test_thousands_of_faulty_data_sets(tmp_path: Path) -> None:
    print(f"\ndata sets: {fuzz(data_sets(), 5000, 2, tmp_path)}")
