"""Quantised ONNX networks of others as integer networks, equal to the last bit or refused.

The operations of the file are walked in order. A tensor is known as the integer on an edge of the network and the
:class:`~abc_hw.conversion.values.Steps` from there to the real number; a quantiser makes thresholds of what has
gathered in front of it, a convolution or matrix product of whole weights makes a node of its own. Nothing is
rounded: what has no exact meaning in integers is refused with the node's name and the reason.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

from ..errors import InputError, NetworkError
from ..network.graph import Graph
from . import onnx_linear, onnx_pointwise
from .onnx_ending import finish
from .onnx_reading import Operation, SourceGraph, read
from .onnx_signs import absorb_signs
from .onnx_state import Number, Walk

__all__ = ["HANDLERS", "Imported", "import_onnx"]

Handler = Callable[[Walk, Operation], str]
"""Takes an operation; returns what became of it, for the report."""

HANDLERS: Mapping[str, Handler] = {
    **onnx_pointwise.HANDLERS,
    **onnx_linear.HANDLERS,
}
"""What is done with each operator."""

ENDINGS = ("Softmax", "LogSoftmax", "TopK", "ArgMax")
"""Operators at the end that leave the order of the scores alone; the hardware has its own way to the class."""


@dataclasses.dataclass(frozen=True)
class Imported:
    """What came of a file.

    Members
    -------
    graph : the network
    report : for each node of the file its name, operator, and what became of it
    pixels : are images bytes, taken for ``byte / 255``? Otherwise they are codes of the file's first quantiser
    quantised : tensors of the file that are codes here, with the real numbers that these stand for
    """

    graph: Graph
    report: Sequence[tuple[str, str, str]]
    pixels: bool
    quantised: Mapping[str, Number]


def import_onnx(
    path: str | os.PathLike[str], *, name: str | None = None, pixels: bool | None = None,
    classes: Sequence[str] | None = None,
) -> Imported:
    """The network in a QONNX file.

    Parameters
    ----------
    name : of the network; that of the file otherwise
    pixels : do images come as bytes, for which the file expects ``byte / 255``? By default they do where the input
        has one or three channels and more than one pixel in each direction and is not quantised to 8 bits at once
    classes : names of the classes; numbers otherwise

    Raises
    ------
    InputError
        if the file cannot be read or holds what is not exact in integers; the message names file and node.
    """
    source = read(path)
    title = name or os.path.splitext(os.path.basename(os.fspath(path)))[0]
    report = []
    try:
        walk = Walk(source, pixels=_takes_pixels(source) if pixels is None else pixels)
        for operation in source.operations:
            report.append((operation.name, operation.kind, _take(walk, operation)))
        nodes, end = finish(walk)
        graph = Graph(
            name=_identifier(title), input=walk.input_edge(), signed=False, nodes=absorb_signs(nodes),
            classes=_classes(classes, end.classes), training=end.record | walk.record,
        )
    except NetworkError as error:
        raise InputError(f"{os.fspath(path)}: {error}") from None
    except InputError as error:
        raise InputError(f"{os.fspath(path)}: {error}") from None
    return Imported(graph, tuple(report), walk.pixels, walk.quantised())


def _take(walk: Walk, operation: Operation) -> str:
    if operation.kind in ENDINGS and not walk.source.consumers(operation.outputs[0]):
        walk.alias(operation.outputs[-1 if operation.kind == "TopK" else 0], operation.inputs[0])
        return "left out: the class is that of the greatest score"
    handler = HANDLERS.get(operation.kind)
    if handler is None:
        raise InputError(
            f"{operation.place}: expected one of {', '.join(sorted(HANDLERS))}; nothing here computes it"
        )
    return handler(walk, operation)


def _takes_pixels(source: SourceGraph) -> bool:
    """Are images bytes? Told by the shape of the input and what takes it first."""
    shape = source.input_shape
    if len(shape) != 4 or shape[1] not in (1, 3) or 1 in shape[2:]:
        return False
    first = source.consumers(source.input)
    at_once = [operation for operation in first if operation.kind in ("Quant", "IntQuant")]
    return not any(float(source.constants[operation.inputs[3]].max()) >= 8 for operation in at_once)


def _identifier(title: str) -> str:
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in title)
    return kept if kept[:1].isalpha() else f"n{kept}"


def _classes(given: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if given is None:
        return tuple(map(str, range(count)))
    if len(given) != count:
        raise InputError(f"classes: expected {count} names, one per score, found {len(given)}")
    return tuple(given)
