"""Many trainings side by side: the variants of one network, their results, and the table of them."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from ..errors import InputError
from ..reading import read_json
from ..validation import shown, validate

DEFAULT_VARIANTS = ("abc:1/1", "abc:2/2", "abc:3/3", "abc:3/3+tied", "residual:2/2", "residual:3/3", "float")

FORM = re.compile(r"(?P<kind>[a-z]+)(:(?P<M>\d+)/(?P<N>\d+))?(x(?P<width>\d+(\.\d+)?))?(?P<more>(\+[^+]+)*)")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to cut the same network into bases, written ``KIND[:M/N][xWIDTH][+tied][+NAME=VALUE ...]``.

    What stands behind a plus is a field of the configuration (:func:`abc_hw.training.recipes.read_setting`).

    Members
    -------
    text : as written, such as ``abc:3/3+tied`` or ``abc:1/1x2``
    changes : fields of :class:`abc_hw.training.recipes.TrainingConfig`
    """

    text: str
    changes: dict[str, Any] = dataclasses.field(hash=False)

    @classmethod
    def parse(cls, text: str) -> Variant:
        """The variant of that text; InputError if it is none."""
        match = FORM.fullmatch(text)
        if not match or (match["kind"] == "float") == (match["M"] is not None):
            form = "KIND:M/N, perhaps with xWIDTH, +tied and +NAME=VALUE behind it, or float"
            raise InputError(f"variant: expected {form}, found {text!r}")
        changes: dict[str, Any] = {"kind": match["kind"]}
        for name, convert in (("M", int), ("N", int), ("width", float)):
            if match[name] is not None:
                changes[name] = convert(match[name])
        for more in match["more"].split("+")[1:]:
            from .recipes import read_setting  # only here, as it needs torch

            name, value = ("tie_steps", True) if more == "tied" else read_setting(more)
            changes[name] = value
        return cls(text, changes)

    @property
    def folder(self) -> str:
        """The text as part of a file's name."""
        return re.sub(r"[^a-z0-9.]+", "-", self.text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What one training came to.

    Members
    -------
    variant, seed : which it was
    validation : share of the held-back training images whose class is right
    right, images : test images whose class is right, of how many: by the golden model on the exported network, or
        by PyTorch for a network in full precision, which has no integers
    xnors, weight_bits : of the network as exported, with as few bases as give the same scores; None in full
        precision
    xnors_before : XNORs before re-encoding
    """

    variant: str
    seed: int
    validation: Annotated[float, pydantic.Field(ge=0, le=1)]
    right: Annotated[int, pydantic.Field(ge=0)]
    images: Annotated[int, pydantic.Field(ge=1)]
    xnors: int | None = None
    xnors_before: int | None = None
    weight_bits: int | None = None

    @property
    def accuracy(self) -> float:
        """Share of the test images, 0 to 1."""
        return self.right / self.images


def read_result(path: Path, variant: str, seed: int) -> Result:
    """The result in a file, as the training of that variant and seed left it there.

    Raises
    ------
    InputError : not readable, damaged, or another training's
    """
    way_out = "; without the file the network is measured again"
    try:
        result = validate(pydantic.RootModel[Result], read_json(path, "a result"), str(path)).root
    except InputError as error:
        raise InputError(f"{error}{way_out}") from None
    if (result.variant, result.seed) != (variant, seed):
        raise InputError(
            f"{path}: expected the result of {variant}, seed {seed}, found that of {shown(result.variant)}, seed "
            f"{result.seed}{way_out}"
        )
    return result


COLUMNS = (
    "variant", "seeds", "test accuracy", "from", "to", "validation", "XNORs for one image", "before re-encoding",
    "weight bits",
)


def rows(results: Iterable[Result]) -> list[list[str]]:
    """One row per variant, in the order of their first result: accuracies are means over the seeds."""
    return [_row(variant, of_seeds) for variant, of_seeds in by_variant(results).items()]


def by_variant(results: Iterable[Result]) -> dict[str, list[Result]]:
    """The results of each variant, in the order of their first one."""
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.variant, []).append(result)
    return grouped


def _row(variant: str, of_seeds: list[Result]) -> list[str]:
    accuracies = [result.accuracy for result in of_seeds]
    numbers = (f"{value:,}" if value is not None else "" for value in (
        of_seeds[0].xnors, of_seeds[0].xnors_before, of_seeds[0].weight_bits
    ))
    return [
        variant,
        ", ".join(str(result.seed) for result in of_seeds),
        *(f"{100 * share:.2f} %" for share in (
            statistics.fmean(accuracies), min(accuracies), max(accuracies),
            statistics.fmean(result.validation for result in of_seeds),
        )),
        *numbers,
    ]


def markdown(results: Iterable[Result]) -> str:
    """The table of :func:`rows` in Markdown."""
    body: list[Sequence[str]] = [COLUMNS, ["---", "---", *["---:"] * (len(COLUMNS) - 2)], *rows(results)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in body)
