"""Data sets: files written here and read back, the fixed split, and files that cannot be used."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abc_hw import data
from abc_hw.errors import InputError

RNG = np.random.default_rng(0)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, compress: bool, train: int = 40, test: int = 12) -> dict[str, np.ndarray]:
    folder.mkdir()
    written = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays = {"images-idx3": RNG.integers(0, 256, (count, 5, 4)), "labels-idx1": RNG.integers(0, 10, count)}
        for kind, array in arrays.items():
            written[f"{part}-{kind}"] = array
            content = idx_bytes(array)
            name = f"{part}-{kind}-ubyte"
            if compress:
                name, content = name + ".gz", gzip.compress(content)
            (folder / name).write_bytes(content)
    return written


@pytest.mark.parametrize(("name", "compress"), [("mnist", False), ("fashion-mnist", True)])
def test_idx_files_are_read_plain_and_compressed(tmp_path: Path, name: str, compress: bool) -> None:
    written = write_mnist(tmp_path / name, compress=compress)
    dataset = data.load(name, tmp_path)
    assert dataset.shape == (5, 4, 1)
    assert len(dataset.classes) == 10
    assert np.array_equal(dataset.test.images[..., 0], written["t10k-images-idx3"])
    assert np.array_equal(dataset.test.labels, written["t10k-labels-idx1"])
    assert (len(dataset.train), len(dataset.validation)) == (38, 2)
    rows = {image.tobytes(): label for image, label in zip(
        written["train-images-idx3"].astype(np.uint8), written["train-labels-idx1"], strict=True)}
    for split in (dataset.train, dataset.validation):
        for image, label in zip(split.images, split.labels, strict=True):
            assert rows.pop(image.tobytes()) == label
    assert rows == {}


def test_the_split_is_the_same_every_time(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", compress=False)
    one, two = data.load("mnist", tmp_path), data.load("mnist", tmp_path)
    assert np.array_equal(one.validation.images, two.validation.images)
    assert np.array_equal(one.train.images, two.train.images)


def test_cifar_records_are_label_and_planes(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    pixels = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        pixels[name] = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        records = [bytes([i]) + image.transpose(2, 0, 1).tobytes() for i, image in enumerate(pixels[name])]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    dataset = data.load("cifar-10", tmp_path)
    assert np.array_equal(dataset.test.images, pixels["test_batch"])
    assert dataset.test.labels.tolist() == [0, 1, 2, 3]
    assert (len(dataset.train), len(dataset.validation), dataset.shape) == (19, 1, (32, 32, 3))
    written = {image.tobytes() for name in pixels if name != "test_batch" for image in pixels[name]}
    read = {image.tobytes() for split in (dataset.train, dataset.validation) for image in split.images}
    assert read == written


def test_digits_come_with_scikit_learn() -> None:
    dataset = data.load("digits")
    assert dataset.shape == (8, 8, 1)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [1366, 72, 359]
    images = np.concatenate([dataset.train.images, dataset.validation.images, dataset.test.images])
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.unique(images).size == 17
    assert set(dataset.test.labels.tolist()) == set(range(10))


# -- refusals -----------------------------------------------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[:-3]


def foreign(content: bytes) -> bytes:
    return b"PK\3\4" + content[4:]


def header_only(content: bytes) -> bytes:
    return content[:6]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("damage", [cut, foreign, header_only])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_idx_files_are_refused_by_name(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], compress: bool
) -> None:
    write_mnist(tmp_path / "mnist", compress=compress)
    path = tmp_path / "mnist" / (name + ".gz" if compress else name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"^\S*{name}\S*: expected .*, found .*$"):
        data.load("mnist", tmp_path)


def test_labels_that_do_not_match_the_images_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", compress=False)
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.zeros(39)))
    with pytest.raises(InputError, match="expected 40 labels, one per image, found 39"):
        data.load("mnist", tmp_path)
    path.write_bytes(idx_bytes(np.full(40, 10)))
    with pytest.raises(InputError, match="mnist: expected labels below 10, found 10"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "expected a multiple of 3073 bytes, found 0"),
    (bytes(3072), "expected a multiple of 3073 bytes, found 3072"),
    (bytes([10]) + bytes(3072), "expected labels below 10, found 10"),
])
def test_damaged_cifar_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"data_batch_1.bin: {message}"):
        data.read_cifar(path)


def test_missing_files_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-images-idx3-ubyte: expected this file in the data folder"):
        data.load("mnist", tmp_path)
    with pytest.raises(InputError, match=r"data_batch_1\.bin: expected this file in the data folder"):
        data.load("cifar-10", tmp_path)
    with pytest.raises(InputError, match=r"dataset: expected one of digits, mnist, .*, found 'x'"):
        data.load("x")


def test_a_failed_download_is_one_line_that_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def fail(url: str, *args: object, **options: object) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(InputError, match=r"^mnist: .*train-images.*name a folder.* no route to host$"):
        data.load("mnist")
