"""Data of one's own: folders and arrays written here and read back, and those that cannot be used."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_data import idx_bytes, write_mnist

from abc_hw import data
from abc_hw.data import Reading, read_image
from abc_hw.data.arrays import load_file, read_images_file
from abc_hw.data.packed import MOST_BYTES
from abc_hw.data.published import read_cifar, read_idx
from abc_hw.data.tables import read_listing, read_table
from abc_hw.errors import InputError

RNG = np.random.default_rng(0)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_classes(folder: Path, counts: dict[str, int], shape: tuple[int, ...] = (6, 5), seed: int = 0) -> None:
    for index, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(pixels(count, *shape, seed=seed + index)):
            Image.fromarray(image).save(folder / name / f"{number:02}.png")


def line(source: Any, reading: Reading | None = None, **options: Any) -> str:
    """The one line with which the data at that place are refused, without the place."""
    with pytest.raises(InputError) as refusal:
        data.load(source, None, reading, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value).removeprefix(f"{source}: ")


# -- folders ------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders_is_divided_by_share_and_seed(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", {"cat": 10, "10": 20, "2": 5})
    (tmp_path / "pets" / "cat" / ".DS_Store").write_text("clutter")
    (tmp_path / "pets" / "cat" / "more").mkdir()
    Image.fromarray(pixels(6, 5, seed=9)).save(tmp_path / "pets" / "cat" / "more" / "deep.png")
    found = data.load(tmp_path / "pets")
    assert (found.name, found.classes, found.shape) == ("pets", ("2", "10", "cat"), (6, 5, 1))
    assert np.bincount(found.test.labels).tolist() == [1, 4, 2]
    parts = (found.train, found.validation, found.test)
    assert sum(map(len, parts)) == 36
    assert len({image.tobytes() for part in parts for image in part.images}) == 36
    again = data.load(tmp_path / "pets")
    np.testing.assert_array_equal(again.test.images, found.test.images)
    other = data.load(tmp_path / "pets", None, Reading(split_seed=5, test_share=0.5))
    assert np.bincount(other.test.labels).tolist() == [2, 10, 6]


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("train", "val")])
def test_parts_may_be_folders_of_their_own(tmp_path: Path, names: tuple[str, str]) -> None:
    write_classes(tmp_path / names[0], {"a": 20, "b": 21})
    write_classes(tmp_path / names[1], {"a": 3, "b": 2}, seed=50)
    found = data.load(tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (38, 3, 5)
    assert found.test.labels.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(found.test.images[0, ..., 0], pixels(3, 6, 5, seed=50)[0])


def test_classes_may_stand_in_a_table_beside_the_images(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for index, image in enumerate(pixels(20, 6, 5)):
        Image.fromarray(image).save(tmp_path / "train" / f"{index}.png")
    rows = [f"{index},{'frog' if index % 2 else 'cat'}" for index in range(20)]
    (tmp_path / "trainLabels.csv").write_text("\n".join(["id,label", *rows, ""]))
    found = data.load(tmp_path)
    assert (found.classes, found.shape, len(found.test)) == (("cat", "frog"), (6, 5, 1), 4)
    by_pixels = {image.tobytes(): index % 2 for index, image in enumerate(pixels(20, 6, 5))}
    for part in (found.train, found.validation, found.test):
        assert [by_pixels[image.tobytes()] for image in part.images] == part.labels.tolist()
    (tmp_path / "trainLabels.csv").write_text("id,label\n77,cat\n")
    assert line(tmp_path) == (
        f"{tmp_path}/trainLabels.csv: expected an image of each name in {tmp_path}/train, found none of '77'"
    )
    (tmp_path / "trainLabels.csv").write_text("id\n1\n")
    assert line(tmp_path) == (
        f"{tmp_path}/trainLabels.csv: expected two columns, name and class of each image, found 1 columns"
    )


def test_validation_images_may_be_given_too(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "val", "test")):
        write_classes(tmp_path / part, {"a": 3, "b": 2}, seed=10 * seed)
    found = data.load(tmp_path)
    np.testing.assert_array_equal(found.validation.images[0, ..., 0], pixels(3, 6, 5, seed=10)[0])
    assert [len(part) for part in (found.train, found.validation, found.test)] == [5, 5, 5]


def test_grey_and_colour_images_together_are_colours_unless_grey_is_wanted(tmp_path: Path) -> None:
    write_classes(tmp_path, {"grey": 4}, (6, 5))
    write_classes(tmp_path, {"colour": 4}, (6, 5, 3))
    assert data.load(tmp_path).shape == (6, 5, 3)
    assert data.load(tmp_path, None, Reading(grey=True, size=(3, 4))).shape == (3, 4, 1)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_classes(folder, {"a": 4})
    assert line(folder) == "set: expected training images of at least 2 classes, found only 'a'"
    write_classes(folder, {"b": 1})
    one = "expected at least 2 images of each class, one of them for the test, found 1 of 'b'"
    assert line(folder) == f"set: {one}"
    Image.fromarray(pixels(6, 4)).save(folder / "b" / "wide.png")
    assert line(folder) == (
        f"{folder}/b/wide.png: expected 6 x 5 pixels, as {folder}/a/00.png (or --resize), found 6 x 4"
    )
    assert data.load(folder, None, Reading(size=(6, 5))).shape == (6, 5, 1)
    (folder / "b" / "notes.txt").write_text("cats")
    assert line(folder, Reading(size=(6, 5))) == f"{folder}/b/notes.txt: expected an image, found something else"
    (folder / "c").mkdir()
    (folder / "b" / "notes.txt").unlink()
    assert line(folder, Reading(size=(6, 5))) == f"{folder}/c: expected images, found none"
    (tmp_path / "empty").mkdir()
    assert line(tmp_path / "empty") == "expected a folder for each class, found none"
    assert line(tmp_path / "nowhere") == "expected a folder, .npz or .csv file, found none"


def test_parts_that_do_not_fit_each_other(tmp_path: Path) -> None:
    write_classes(tmp_path / "set" / "train", {"a": 4, "b": 4})
    assert line(tmp_path / "set") == "expected a folder test beside train, found none"
    write_classes(tmp_path / "set" / "test", {"a": 4})
    assert line(tmp_path / "set") == (
        "set: expected test images of every class of the training images, found none of 'b'"
    )
    write_classes(tmp_path / "set" / "test", {"c": 1})
    assert line(tmp_path / "set") == (
        f"{tmp_path}/set/test/c: expected a class of the training images, found another"
    )
    (tmp_path / "set" / "test" / "c").rename(tmp_path / "set" / "test" / "b")
    Image.fromarray(pixels(9, 9)).save(tmp_path / "set" / "test" / "b" / "00.png")
    assert line(tmp_path / "set") == (
        f"{tmp_path}/set/test/b/00.png: expected 6 x 5 pixels, as {tmp_path}/set/test/a/00.png (or --resize), "
        "found 9 x 9"
    )


# -- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [
    ("train_images", "train_labels", "test_images", "test_labels"), ("x_train", "y_train", "x_test", "y_test"),
])
def test_npz_files_with_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    labels = np.arange(20) % 4
    arrays = pixels(20, 6, 5, 3), labels[:, None], pixels(8, 6, 5, 3, seed=1), labels[:8, None]
    np.savez(tmp_path / "set.npz", **dict(zip(names, arrays, strict=True)))
    found = data.load(str(tmp_path / "set.npz"))
    assert (found.classes, found.shape) == (("0", "1", "2", "3"), (6, 5, 3))
    np.testing.assert_array_equal(found.test.images, arrays[2])
    np.testing.assert_array_equal(found.test.labels, labels[:8])


def test_npz_files_of_one_part_with_names_of_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=pixels(40, 6, 5), labels=np.arange(40) % 2, classes=["off", "on"])
    found = data.load(tmp_path / "set.npz")
    assert (found.classes, len(found.test), found.shape) == (("off", "on"), 8, (6, 5, 1))
    np.savez(tmp_path / "named.npz", images=pixels(40, 6, 5), labels=np.array(["on", "off"] * 20))
    assert data.load(tmp_path / "named.npz").classes == ("off", "on")


def test_pixels_may_come_as_floats_of_them_and_with_channels_first() -> None:
    images, labels = pixels(12, 6, 7, 3), np.arange(12) % 2
    expected = data.from_arrays((images, labels))
    for form in (images.astype(np.float64), images.astype(np.float32) / 255, images.transpose(0, 3, 1, 2)):
        found = data.from_arrays((form, labels))
        np.testing.assert_array_equal(found.test.images, expected.test.images)


def test_torch_data_sets_give_images_and_names_of_classes() -> None:
    class Pets(torch.utils.data.Dataset[Any]):
        classes = ("cat", "dog")

        def __init__(self, count: int) -> None:
            self.images = pixels(count, 3, 6, 7)

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.from_numpy(self.images[index]).float() / 255, index % 2

    train, test = Pets(20), Pets(6)
    found = data.from_torch(train, test, name="pets")
    assert (found.name, found.classes, found.shape) == ("pets", ("cat", "dog"), (6, 7, 3))
    np.testing.assert_array_equal(found.test.images, test.images.transpose(0, 2, 3, 1))
    plain = [(Image.fromarray(image), "ab"[index % 2]) for index, image in enumerate(pixels(9, 6, 7))]
    assert data.from_torch(plain).shape == (6, 7, 1)


@pytest.mark.parametrize(("arrays", "message"), [
    ({"images": pixels(4, 3, 3), "labels": np.arange(3)}, "expected 4 train labels, one per image, found 3"),
    ({"images": pixels(4, 3, 3), "labels": np.eye(4)}, "expected labels [B] of whole numbers or names, found"),
    ({"pictures": pixels(4, 3, 3)}, "expected arrays images and labels, or train_images, train_labels, "),
    ({"images": pixels(4, 3, 3) / 100, "labels": np.arange(4) % 2}, "train: expected whole numbers 0..255, or"),
    ({"images": pixels(4, 3, 3) * 9, "labels": np.arange(4)}, "expected at least 2 images of each class"),
    ({"images": np.full((4, 3, 3), 300), "labels": np.arange(4) % 2}, "train: expected whole numbers 0..255, "),
    ({"images": np.full((4, 3, 3), np.nan), "labels": np.arange(4) % 2}, "train: expected finite numbers, found"),
    ({"images": pixels(4, 3, 3), "labels": np.array([0, 1, 2, 0]), "classes": ["a", "b"]},
     "train: expected labels below 2, found 2"),
    ({"images": pixels(4, 3, 3), "labels": np.array([0, 1, -1, 0]), "classes": ["a", "b"]},
     "train: expected labels below 2, found -1"),
    ({"images": pixels(4, 3, 3), "labels": np.zeros(4, int)}, "expected training images of at least 2 classes"),
    ({"images": pixels(2, 3, 3), "labels": np.zeros(2, int)}, "expected at least 3 training images, found 1"),
    ({"x_train": pixels(4, 3, 3), "y_train": np.arange(4) % 2, "x_test": pixels(2, 3, 4), "y_test": np.arange(2)},
     "expected test images of 3 x 3 x 1, as the training images, found 3 x 4 x 1"),
    ({"x_train": pixels(4, 3, 3), "y_train": np.arange(4) % 2, "x_test": pixels(1, 3, 3), "y_test": np.arange(1)},
     "expected test images of every class of the training images, found none of '1'"),
    ({"images": np.array([None] * 3), "labels": np.arange(3)}, "expected NumPy arrays, found Python objects"),
])
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    assert message in line(path)


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    """Whatever reads images or data refuses at once what is no file, or a folder where a file should be."""
    for name, found in (("pipe", "a pipe or device"), ("folder", "a folder")):
        path = tmp_path / name
        os.mkfifo(path) if name == "pipe" else path.mkdir()
        for read in (read_image, read_table, read_listing, load_file, read_cifar, lambda it: read_idx(it, 3)):
            with pytest.raises(InputError, match=rf"^{path}: expected .*, found {found}$"):
                read(path)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(b"PK\3\4 no zip")
    assert line(path).startswith("expected NumPy arrays, found ")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("images.npy", "w") as member:
        for _ in range(1 << 5):
            member.write(bytes(1 << 20))
    assert line(path).startswith("expected NumPy arrays, found ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abc_hw.data.arrays.MOST_BYTES", 1 << 20)
        assert line(path) == "expected arrays of at most 1,048,576 bytes, found 33,554,432"


def test_files_of_images_as_a_network_takes_them(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", pixels(4, 6, 5))
    images, labels = read_images_file(tmp_path / "images.npy", (6, 5, 1))
    np.testing.assert_array_equal(images[..., 0], pixels(4, 6, 5))
    assert labels is None
    np.savez(tmp_path / "both.npz", images=pixels(4, 6, 5), labels=np.arange(4))
    assert read_images_file(tmp_path / "both.npz", (6, 5, 1))[1].tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]
    with pytest.raises(InputError, match="expected images of 5 x 6 x 1, as the network wants, found 6 x 5 x 1"):
        read_images_file(tmp_path / "both.npz", (5, 6, 1))


# -- files of the published sets, in other places -----------------------------------------------------------


@pytest.mark.parametrize("place", ["MNIST/raw", "."])
def test_mnist_lies_where_torchvision_puts_it_or_in_the_folder_itself(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    folder = tmp_path / place / "files"
    (tmp_path / place).mkdir(exist_ok=True)
    written = write_mnist(folder, compress=False)
    for path in folder.iterdir():
        path.rename(tmp_path / place / path.name.replace("-idx", ".idx"))  # as Kaggle names them
    folder.rmdir()
    found = data.load("mnist", tmp_path)
    np.testing.assert_array_equal(found.test.images[..., 0], written["t10k-images-idx3"])
    own = data.load(tmp_path / place)
    np.testing.assert_array_equal(own.test.images, found.test.images)


def python_batch(images: np.ndarray, labels: list[int]) -> bytes:
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    said = {b"data": rows, b"labels": labels, b"batch_label": b"one", b"filenames": [b"x"]}
    return pickle.dumps(said, protocol=2)


def test_the_python_version_of_cifar_is_read_without_running_it(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = pixels(4, 32, 32, 3)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(python_batch(images, [0, 1, 2, 9]))
    found = data.load("cifar-10", tmp_path)
    np.testing.assert_array_equal(found.test.images, images)
    assert found.test.labels.tolist() == [0, 1, 2, 9]
    np.testing.assert_array_equal(data.load(folder).test.images, images)

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "touched",)

    path = folder / "data_batch_1"
    for content, message in (
        (pickle.dumps({b"data": Evil(), b"labels": [1]}), "expected arrays and plain values only, found pathlib"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}), "expected rows of 3072 pixels "),
        (pickle.dumps({b"data": [1], b"labels": [1, 2]}), "expected a file of CIFAR-10's Python version, found "),
        (python_batch(images, [1]), "expected rows of 3072 pixels with a label each, found (4, 3072) and (1,)"),
        (python_batch(images, [1, 2, 3, 10]), "expected labels below 10, found 10"),
        (python_batch(images, [0] * 4)[:-9], "expected a file of CIFAR-10's Python version, found "),
        (b"", "expected a file of CIFAR-10's Python version, found Ran out of input"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
            data.read_cifar(path)
    assert not (tmp_path / "touched").exists()


def test_a_gzip_file_is_unpacked_no_further_than_it_announces(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as packed:
        packed.write(idx_bytes(pixels(2, 3, 3)))
        for _ in range(64):
            packed.write(bytes(1 << 20))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"expected 34 bytes for \(2, 3, 3\), found 35$"):
        data.read_idx(path, 3)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\x00\x01\x00\x00" * 3))
    with pytest.raises(InputError, match=f"expected an IDX file of at most {MOST_BYTES:,} bytes, found 281,474,"):
        data.read_idx(path, 3)


def test_files_of_no_image_are_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(idx_bytes(np.zeros((0, 4, 4))))
    with pytest.raises(InputError, match=r"none: expected at least one image or label, found none: \(0, 4, 4\)$"):
        read_idx(tmp_path / "none", 3)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_are_too_few(tmp_path: Path, count: int) -> None:
    write_mnist(tmp_path / "mnist", compress=False, train=count)
    with pytest.raises(InputError, match=f"^mnist: expected at least 3 training images, found {count}$"):
        data.load("mnist", tmp_path)


def test_sizes_and_colours_of_published_sets_change_on_request() -> None:
    found = data.load("digits", None, Reading(size=(16, 12), invert=True))
    assert found.shape == (16, 12, 1)
    inverted = data.load("digits", None, Reading(invert=True))
    np.testing.assert_array_equal(255 - data.load("digits").test.images, inverted.test.images)


def test_names_of_data_are_fit_for_networks_and_folders() -> None:
    assert [data.name_of(text) for text in ("mnist", "my data/pets.v2", "x.csv", "/tmp/2 cats/", "ü.npz")] == [
        "mnist", "pets-v2", "x", "data-2-cats", "data"
    ]
