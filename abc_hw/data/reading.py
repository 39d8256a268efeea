"""How files become pixels: what a user asks for beside the place of the data, kept with what is trained on it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ..validation import validate
from .parts import SPLIT_SEED

Side = Annotated[int, Field(ge=1, le=1 << 14)]


class Reading(BaseModel):
    """How images and tables are read.

    Members
    -------
    size : (H, W) that images are scaled to; None: as they are
    grey : colours become grey
    background : colour behind transparent pixels; None: images with such pixels are refused
    invert : 255 - pixel, after everything else
    label : the column of a table with the classes; None: label, class or target
    test_share, split_seed : of data without test part: what share of each class is held out, and which images
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[Side, Side] | None = None
    grey: bool = False
    background: str | None = None
    invert: bool = False
    label: str | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    split_seed: Annotated[int, Field(ge=0)] = SPLIT_SEED

    def but(self, **changes: Any) -> Reading:
        """The same with ``changes``, of which None changes nothing; InputError names a field that cannot be."""
        wanted = {name: value for name, value in changes.items() if value is not None}
        return validate(Reading, {**self.model_dump(), **wanted}, "images")
