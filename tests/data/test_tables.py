"""Tables of one's own, read and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_own import line, pixels

from abc_hw import data
from abc_hw.data import Features, Reading

RNG = np.random.default_rng(0)


def write_table(path: Path, rows: int = 30, header: str = "width;height;label") -> None:
    values = RNG.normal(size=(rows, 2)) * [1, 1000]
    lines = [f"{a!r};{b!r};{'big' if a > 0 else 'small'}" for a, b in values.tolist()]
    path.write_text("\n".join([header, *lines, ""]))


def test_a_table_becomes_codes_by_edges_of_its_training_rows(tmp_path: Path) -> None:
    write_table(tmp_path / "set.csv", 200)
    found = data.load(tmp_path / "set.csv")
    assert (found.classes, found.shape) == (("big", "small"), (1, 1, 2))
    assert found.features is not None
    assert found.features.names == ("width", "height")
    values = np.loadtxt(tmp_path / "set.csv", delimiter=";", skiprows=1, usecols=(0, 1))
    codes = {row.tobytes() for row in found.features.codes(values)}
    assert {row.tobytes() for part in (found.train, found.validation, found.test) for row in part.images} <= codes
    narrow = Features(names=found.features.names, low=(-9.0, -9000.0), high=(9.0, 9000.0))
    again = data.load(tmp_path / "set.csv", features=narrow)
    assert again.features == narrow
    assert again.test.images.max() < found.test.images.max()


def test_codes_are_the_numbers_of_edges_reached() -> None:
    features = Features(names=("a",), low=(0.0,), high=(254.0,))
    np.testing.assert_allclose(features.edges[0], np.arange(255))
    values = np.array([[-1.0], [0.0], [0.5], [1.0], [253.9], [254.0], [1e9]])
    assert features.codes(values).ravel().tolist() == [0, 1, 1, 2, 254, 255, 255]
    flat = Features.fit(("a", "b"), np.array([[3.0, 0.0]] * 400 + [[3.0, 1.0]]))
    assert (flat.low, flat.high) == ((3.0, 0.0), (4.0, 1.0))


def test_tables_of_pixels_are_images(tmp_path: Path) -> None:
    images, labels = pixels(20, 4, 4), np.arange(20) % 2
    names = ",".join(["label", *(f"pixel{index}" for index in range(16))])
    for part in ("train", "test"):
        np.savetxt(
            tmp_path / f"{part}.csv", np.column_stack([labels, images.reshape(20, 16)]), "%d", ",", header=names,
            comments="",
        )
    found = data.load(tmp_path)
    assert (found.shape, found.features, found.classes) == ((4, 4, 1), None, ("0", "1"))
    np.testing.assert_array_equal(found.test.images[..., 0], images)
    (tmp_path / "mnist").mkdir()
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").rename(tmp_path / "mnist" / f"mnist_{part}.csv")
    kaggle = data.load("mnist", tmp_path)
    assert (kaggle.shape, len(kaggle.classes)) == ((4, 4, 1), 10)
    np.testing.assert_array_equal(kaggle.test.labels, labels)


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n1,2\n", "line 1: expected a column label, class, target, or the one that --label names, found 'a, b'"),
    ("1,2\n3,4\n", "line 1: expected names of columns, found numbers"),
    ("a,label\n1,x\n\n2,y,3\n", "line 4: expected 2 values, found 3"),
    ("a,label\n1,x\ntwo,y\n", "line 3: a: expected a number, found 'two'"),
    ("a,label\n1,x\n,y\n", "line 3: a: expected a number, found ''"),
    ("a,label\n1,x\nnan,y\n", "line 3: a: expected a number, found 'nan'"),
    ("a,a,label\n1,2,x\n", "line 1: expected names that differ, found 'a' twice"),
    ("label\nx\n", "line 1: expected at least two columns, found 1"),
    ("a,label\n", "expected rows of numbers below the names, found none"),
    ("", "line 1: expected at least two columns, found 0"),
    ("a,label\n1,x\n2,x\n3,x\n4,x\n", "expected training images of at least 2 classes, found only 'x'"),
    ("a,label\n1,x\n2,x\n3,x\n4,y\n", "expected at least 2 images of each class, one of them for the test, "),
    ("a,label\n1,x\xff\n", "expected text of comma-separated values, found "),
])
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "set.csv"
    path.write_bytes(text.encode("latin1"))
    assert line(path).startswith(message)


def test_other_columns_than_were_asked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "set.csv", header="width;height;size")
    assert line(tmp_path / "set.csv", Reading(label="kind")) == (
        "line 1: expected a column 'kind', found 'width, height, size'"
    )
    assert data.load(tmp_path / "set.csv", None, Reading(label="size")).classes == ("big", "small")
    other = Features(names=("a", "b"), low=(0.0, 0.0), high=(1.0, 1.0))
    assert line(tmp_path / "set.csv", Reading(label="size"), features=other) == (
        "expected the columns a, b ..., found others"
    )
    write_table(tmp_path / "train.csv")
    assert line(tmp_path) == "expected test.csv beside train.csv, found none"
    write_table(tmp_path / "test.csv", header="width;depth;label")
    assert line(tmp_path) == f"{tmp_path}/test.csv: expected the columns of train.csv, found otherwise: depth"
