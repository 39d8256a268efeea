"""The integer network: its nodes, graphs and chains of layers, its file, its descriptions, its export.

Read :mod:`~abc_hw.network.bases`, then :mod:`~abc_hw.network.nodes`, then :mod:`~abc_hw.network.graph`.
"""

from .bases import (
    MAX_BASES,
    Bases,
    BasesKind,
    BoolArray,
    CodeArray,
    IntArray,
    ScaleForm,
    ScaleKind,
)
from .edges import Codes, Integers
from .graph import Graph, chain_of, graph_of
from .spec import Layer, Network

__all__ = [
    "MAX_BASES", "Bases", "BasesKind", "BoolArray", "CodeArray", "Codes", "Graph", "IntArray", "Integers", "Layer",
    "Network", "ScaleForm", "ScaleKind", "chain_of", "graph_of",
]
