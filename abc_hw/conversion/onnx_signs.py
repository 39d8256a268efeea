"""Falling functions: a channel that is negated in front of its thresholds, negated by the convolution instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..network.bases import ScaleForm
from ..network.nodes import Conv, MaxPool, Node, Requantise

__all__ = ["SIGN_FORM", "absorb_signs"]

SIGN_FORM = ScaleForm(kind="pow2", bits=1)
"""+1 or -1."""


def absorb_signs(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The same function without negations that a convolution's alphas can take.

    A requantisation by +-1 is dropped where a convolution stands in front of it, with at most max-pools between,
    and nobody else takes their outputs: the alphas of its negated channels change sign, and a max-pool takes the
    least where it took the greatest.
    """
    found = {node.name: node for node in nodes}
    renamed: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, Requantise) and _is_sign(node) and (chain := _chain(found, node)) is not None:
            negative = node.factor < 0
            for link in chain:
                found[link.name] = _negate(found[link.name], negative)
            renamed[node.name] = node.inputs[0]
            del found[node.name]
            for other in list(found.values()):
                inputs = tuple(renamed.get(name, name) for name in other.inputs)
                if inputs != other.inputs:
                    found[other.name] = dataclasses.replace(other, inputs=inputs)
    return tuple(found[node.name] for node in nodes if node.name in found)


def _is_sign(node: Requantise) -> bool:
    return bool(node.factor_scale == SIGN_FORM and not node.shift and not node.offset.any())


def _chain(nodes: dict[str, Node], node: Node) -> list[Node] | None:
    """The convolution in front of a node and the max-pools between, if nobody else takes their outputs."""
    chain: list[Node] = []
    while True:
        name = node.inputs[0]
        if name not in nodes or sum(name in other.inputs for other in nodes.values()) > 1:
            return None
        node = nodes[name]
        chain.append(node)
        if isinstance(node, Conv):
            return chain
        if not isinstance(node, MaxPool):
            return None


def _negate(node: Node, negative: np.ndarray) -> Node:
    if isinstance(node, Conv):
        return dataclasses.replace(node, alpha=np.where(negative[:, None], -node.alpha, node.alpha))
    assert isinstance(node, MaxPool)
    least = np.zeros(negative.shape, bool) if node.least is None else node.least
    return dataclasses.replace(node, least=least ^ negative)
