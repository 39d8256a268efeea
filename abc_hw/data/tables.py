"""Tables of numbers with a column of classes, in .csv files: features, or the pixels of square images."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..reading import check_regular
from ..validation import shown
from .features import Features, Numbers
from .parts import Labels, Split, check_labels

LABELS = ("label", "class", "target")
"""Names of the column with the classes, where none is given."""

PIXEL = re.compile(r"(pixel\d+|\d+x\d+)", re.IGNORECASE)
"""What columns are called that hold the pixels of an image, row by row."""

ROWS = 1000
"""Turned into numbers at once."""


@dataclass(frozen=True, eq=False)
class Table:
    """Members
    -------
    path : it came from
    names : of the columns besides the one with the classes
    values : float64 [rows, columns], all finite
    labels : the class of each row as it is written there
    """

    path: Path
    names: tuple[str, ...]
    values: Numbers
    labels: list[str]

    def __getitem__(self, rows: Labels) -> Table:
        return Table(self.path, self.names, self.values[rows], [self.labels[row] for row in rows.tolist()])

    @property
    def is_pixels(self) -> bool:
        """Are the rows square images of grey pixels?"""
        return (
            all(PIXEL.fullmatch(name) for name in self.names)
            and math.isqrt(len(self.names)) ** 2 == len(self.names)
            and bool((self.values == self.values.round()).all())
            and self.values.min(initial=0) >= 0 and self.values.max(initial=0) <= 255
        )

    def images(self, features: Features | None) -> Split:
        """Images: square ones, or with ``features`` 1 x 1 x columns of codes; every label is still 0."""
        none = np.zeros(len(self.values), np.int64)
        if features is not None:
            return Split(features.codes(self.values), none)
        side = math.isqrt(len(self.names))
        return Split(self.values.astype(np.uint8).reshape(-1, side, side, 1), none)


def read_table(path: Path, label: str | None = None) -> Table:
    """A .csv file with names of columns in line 1, separated by comma, semicolon or tab.

    Parameters
    ----------
    label : the column with the classes; None: the first of :data:`LABELS` there is

    Raises
    ------
    InputError : not readable, no such column, a row of another length, or a value that is no finite number; the
        line starts with the path and names the line of the file
    """
    check_regular(path, "a .csv file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            rows = _rows(path, csv.reader(file, delimiter=delimiter))
            _, names = next(rows, (1, []))
            column = _label_column(path, names, label)
            blocks, labels = [np.empty((0, len(names) - 1))], list[str]()
            for block in _blocks(rows):
                labels += [row.pop(column).strip() for _, row in block]
                blocks.append(_numbers(path, block, names[:column] + names[column + 1 :]))
    except OSError as error:
        raise InputError(f"{path}: expected a readable .csv file, found {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected text of comma-separated values, found {error}") from None
    if not labels:
        raise InputError(f"{path}: expected rows of numbers below the names, found none")
    return Table(path, (*names[:column], *names[column + 1 :]), np.concatenate(blocks), labels)


def read_pixel_tables(paths: Sequence[Path], classes: int) -> list[Split]:
    """Square grey images with labels 0 .. classes - 1 from each file; InputError for anything else."""
    parts = []
    for path in paths:
        table = read_table(path, "label")
        if not table.is_pixels:
            raise InputError(f"{path}: expected columns of pixels, 0 to 255, found others")
        if not all(text.isdecimal() for text in table.labels):
            raise InputError(f"{path}: expected labels below {classes}, found others")
        labels: Labels = np.array([int(text) for text in table.labels], np.int64)
        check_labels(str(path), labels, classes)
        parts.append(Split(table.images(None).images, labels))
    return parts


def read_listing(path: Path) -> list[tuple[str, str]]:
    """Name and class of each image, from a .csv file of two columns with names in line 1.

    Raises
    ------
    InputError : not readable, or no such table; the line starts with the path
    """
    check_regular(path, "a .csv file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for _, row in _rows(path, csv.reader(file))]
    except OSError as error:
        raise InputError(f"{path}: expected a readable .csv file, found {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected text of comma-separated values, found {error}") from None
    if len(rows) < 2 or len(rows[0]) != 2:
        found = f"{len(rows[0])} columns" if rows else "nothing"
        raise InputError(f"{path}: expected two columns, name and class of each image, found {found}")
    return [(row[0].strip(), row[1].strip()) for row in rows[1:]]


def _rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    wanted = 0
    for row in reader:
        line = reader.line_num
        if not row:
            continue
        wanted = wanted or len(row)
        if len(row) != wanted:
            raise InputError(f"{path}: line {line}: expected {wanted} values, found {len(row)}")
        yield line, row


def _label_column(path: Path, names: list[str], label: str | None) -> int:
    names[:] = [name.strip() for name in names]
    if names and all(_is_number(name) for name in names):
        raise InputError(f"{path}: line 1: expected names of columns, found numbers")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: line 1: expected names that differ, found {shown(twice)} twice")
    if len(names) < 2:
        raise InputError(f"{path}: line 1: expected at least two columns, found {len(names)}")
    if label is not None:
        if label not in names:
            raise InputError(f"{path}: line 1: expected a column {label!r}, found {shown(', '.join(names))}")
        return names.index(label)
    lower = [name.lower() for name in names]
    for known in LABELS:
        if known in lower:
            return lower.index(known)
    raise InputError(
        f"{path}: line 1: expected a column {', '.join(LABELS)}, or the one that --label names, "
        f"found {shown(', '.join(names))}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blocks(rows: Iterator[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    block: list[tuple[int, list[str]]] = []
    for item in rows:
        block.append(item)
        if len(block) == ROWS:
            yield block
            block = []
    if block:
        yield block


def _numbers(path: Path, block: list[tuple[int, list[str]]], names: Sequence[str]) -> Numbers:
    try:
        values = np.array([row for _, row in block], str).astype(np.float64)
    except ValueError:
        values = np.full((len(block), len(names)), np.nan)
    if np.isfinite(values).all():
        return values
    for line, row in block:
        for name, text in zip(names, row, strict=True):
            if not _is_number(text) or not math.isfinite(float(text)):
                raise InputError(f"{path}: line {line}: {name}: expected a number, found {shown(text)}")
    return values
