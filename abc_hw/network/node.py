"""What all nodes have, and what windows and coefficients of nodes must keep to."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy.typing as npt

from ..errors import NetworkError
from . import rules
from .bases import Bases, ScaleForm
from .edges import Codes, Edge, Integers


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """What all nodes have.

    Members
    -------
    name : lower-case identifiers joined by dots, unique in the network
    inputs : names of the nodes whose outputs it takes; "input" is the network's
    """

    kind: ClassVar[str]
    arity: ClassVar[int] = 1

    name: str
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        rules.name("node name", self.name)
        inputs = (self.inputs,) if isinstance(self.inputs, str) else tuple(self.inputs)
        if len(inputs) != self.arity:
            raise NetworkError(f"{self.name}.inputs", f"{self.arity} of them", len(inputs))
        object.__setattr__(self, "inputs", inputs)

    def output(self, *edges: Any) -> Edge:
        """The edge that leaves the node when ``edges`` arrive.

        Raises
        ------
        NetworkError : they do not fit; the message names node and field
        """
        raise NotImplementedError

    def _freeze(self, field: str, dtype: type) -> None:
        object.__setattr__(self, field, rules.frozen(f"{self.name}.{field}", getattr(self, field), dtype))

    def _refuse(self, field: str, expected: str, found: object) -> None:
        raise NetworkError(f"{self.name}.{field}", expected, found)

    def _codes(self, edge: Edge, bases: Bases | None = None) -> Codes:
        expected = "codes" if bases is None else f"codes of {bases.count} {bases.kind} bases"
        if not isinstance(edge, Codes) or (bases is not None and edge.bases != bases):
            raise NetworkError(f"{self.name}.inputs", expected, edge)
        return edge

    def _integers(self, edge: Edge, channels: int | None = None) -> Integers:
        if not isinstance(edge, Integers):
            raise NetworkError(f"{self.name}.inputs", "integers", edge)
        if channels is not None and edge.shape[2] != channels:
            raise NetworkError(f"{self.name}.inputs", f"{channels} channels", edge)
        return edge


class PointwiseNode(Node):
    """A node of another package that acts on each number by itself (:data:`abc_hw.network.nodes.KINDS`).

    Its fields are integers of Python and arrays of int64. Golden model, fast path and hardware ask it.
    """

    def compute(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The function of integers or codes [B, H, W, C], in that shape: int64 for integers, uint8 for codes."""
        raise NotImplementedError

    def express(self, value: Any) -> Any:
        """The same of one Amaranth value, in operators; a register follows."""
        raise NotImplementedError


def check_window(node: Any, size_field: str) -> None:
    """The window's size, stride and padding as tuples; padding is less than the size on each side."""
    name, size = node.name, rules.sides(f"{node.name}.{size_field}", getattr(node, size_field), 2)
    stride = rules.sides(f"{name}.stride", node.stride, 2)
    padding = rules.sides(f"{name}.padding", node.padding, 4, least=0)
    if any(pad >= size[side // 2] for side, pad in enumerate(padding)):
        raise NetworkError(f"{name}.padding", f"less than the window's sides {size}", padding)
    for field, value in ((size_field, size), ("stride", stride), ("padding", padding)):
        object.__setattr__(node, field, value)


def check_form(node: Node, field: str, form: ScaleForm) -> None:
    """NetworkError unless the scale form holds every value of the field."""
    values = getattr(node, field)
    allowed = form.allows(values)
    if not allowed.all():
        expected = f"values of form {form.kind} with {form.bits} bits"
        raise NetworkError(f"{node.name}.{field}", expected, int(values[~allowed].flat[0]))
