"""The integer network: what it is (:mod:`~abc_hw.network.spec`), its file, its descriptions, its export."""

from .spec import (
    MAX_BASES,
    Bases,
    BasesKind,
    BoolArray,
    CodeArray,
    IntArray,
    Layer,
    Network,
    ScaleForm,
    ScaleKind,
)

__all__ = [
    "MAX_BASES", "Bases", "BasesKind", "BoolArray", "CodeArray", "IntArray", "Layer", "Network", "ScaleForm",
    "ScaleKind",
]
