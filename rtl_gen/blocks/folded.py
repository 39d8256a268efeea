"""What the plans of a layer's blocks begin with."""

import dataclasses

from ..parts.matches import LayerNumbers
from ..parts.memory_mapping import GENERIC, Technology
from ..schedule import Schedule

__all__ = ["FoldedLayer"]


@dataclasses.dataclass(frozen=True)
class FoldedLayer:
    """A layer under a folding, in a technology.

    Members
    -------
    numbers : of the layer; what of them is loaded has no contents
    schedule : layer and folding
    technology : of memories
    """

    numbers: LayerNumbers
    schedule: Schedule
    technology: Technology = GENERIC
