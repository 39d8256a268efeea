"""What is known while an ONNX file is walked: tensors so far, nodes so far."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..network.bases import Bases, IntArray, ScaleForm
from ..network.edges import Codes, Edge, Integers, Shape
from ..network.graph import INPUT
from ..network.nodes import Decode, Encode, Node
from .onnx_reading import FloatArray, Operation, SourceGraph
from .onnx_weights import Weights
from .values import Affine, Clip, Factors, Steps

__all__ = ["Number", "Walk", "channels_first", "one_or_all", "planes"]

BETA_FORM = ScaleForm(kind="pow2", bits=8)


def planes(levels: int) -> Bases:
    """The fewest bit-planes with so many codes."""
    return Bases(kind="planes", count=max((levels - 1).bit_length(), 1))


def one_or_all(values: Factors) -> Factors:
    """One number where all channels have the same."""
    return values[:1] if len(set(values)) == 1 else values


def channels_first(shape: Shape, axes: int) -> IntArray:
    """``place`` of a map H x W x C as a tensor C x H x W, of one row as C x L, of one pixel as C."""
    height, width, channels = shape
    order = np.arange(height * width * channels).reshape(shape).transpose(2, 0, 1)
    return order.reshape({1: (channels,), 2: (channels, -1), 3: order.shape}[axes])


@dataclasses.dataclass(frozen=True)
class Number:
    """A tensor: the integers of an edge, and the steps to the real numbers.

    Members
    -------
    node : whose output it is; None for the input before its quantiser, which then makes the codes
    edge : that output
    place : for each element of the tensor (without the batch) its place in the flat H x W x C map
    steps : from integer to real number
    pads : zeros (rows above and below, columns left and right) that stand around it
    """

    node: str | None
    edge: Edge
    place: IntArray
    steps: Steps
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def channels(self) -> int:
        return self.edge.shape[2]

    def then(self, step: Affine | Clip) -> Number:
        return dataclasses.replace(self, steps=self.steps.then(step))

    def real(self, values: npt.NDArray[Any]) -> FloatArray:
        """The tensor of real numbers for values of the edge [H, W, C], float64 of the tensor's shape.

        Only of a tensor without a ReLU or clip behind the edge.
        """
        affine = self.steps.affine
        if affine is None:
            raise ValueError("A tensor behind a ReLU or clip must be quantised before it is compared")
        factor, offset = (np.array([float(value) for value in part]) for part in (affine.factor, affine.offset))
        return np.asarray(values.astype(np.float64) * factor + offset).reshape(-1)[self.place]

    def spatial(self, operation: Operation) -> int:
        """How many axes a map C x H x W or C x L has besides its channels; InputError if it is none."""
        axes = self.place.ndim
        if axes < 2 or not np.array_equal(self.place, channels_first(self.edge.shape, axes)):
            raise InputError(f"{operation.place}: expected a map with its channels first")
        return axes - 1


class Walk:
    """Tensors and nodes while a file is walked.

    Parameters
    ----------
    source : the file
    pixels : is the input ``byte / 255``?
    """

    def __init__(self, source: SourceGraph, *, pixels: bool) -> None:
        self.source, self.pixels = source, pixels
        self.nodes: list[Node] = []
        self.record: dict[str, Any] = {}
        self._known: dict[str, Number | Weights | FloatArray] = dict(source.constants)
        self._input: Codes | None = None
        shape = source.input_shape[1:]
        place, map_shape = _map_of(shape)
        levels = Codes(planes(256), map_shape)
        if pixels:
            self._input = levels
        steps = Steps((Affine((Fraction(1, 255),), (Fraction(0),)),)) if pixels else Steps()
        self._known[source.input] = Number(INPUT if pixels else None, levels, place, steps)

    # -- tensors --------------------------------------------------------------------------------------------

    def alias(self, tensor: str, of: str) -> None:
        """Another name for a tensor."""
        self._known[tensor] = self._known[of]

    def put(self, tensor: str, value: Number | Weights | FloatArray) -> None:
        self._known[tensor] = value

    def quantised(self) -> dict[str, Number]:
        """Tensors that stand on edges of codes."""
        found = {tensor: value for tensor, value in self._known.items() if isinstance(value, Number)}
        return {
            tensor: value for tensor, value in found.items()
            if value.node is not None and isinstance(value.edge, Codes) and value.steps.affine is not None
        }

    def get(self, tensor: str) -> Number | Weights | FloatArray:
        return self._known[tensor]

    @property
    def end(self) -> Number | None:
        """The output; None if it does not depend on the image."""
        value = self._known.get(self.source.output)  # a constant is not kept where no node takes it
        return value if isinstance(value, Number) else None

    def number(self, operation: Operation, index: int = 0) -> Number:
        """An input that depends on the image.

        Raises
        ------
        InputError
            if it does not, or padding stands around it that only a convolution can take.
        """
        value = self._known[operation.inputs[index]]
        if not isinstance(value, Number):
            raise InputError(f"{operation.place}: expected an input that depends on the image, found a constant")
        if any(value.pads) and operation.kind not in ("Conv", "Pad"):
            raise InputError(f"{operation.place}: expected padding in front of a convolution only")
        return value

    def constant(self, operation: Operation, index: int) -> FloatArray:
        """An input that is known, float64.

        Raises
        ------
        InputError
            if it depends on the image, or is not there.
        """
        value = self._known.get(operation.inputs[index]) if len(operation.inputs) > index else None
        if isinstance(value, Weights):
            return np.asarray(value.whole * value.scale, np.float64)
        if not isinstance(value, np.ndarray):
            raise InputError(f"{operation.place}: expected a constant as input {index + 1}")
        return value

    def per_channel(self, operation: Operation, number: Number, values: FloatArray) -> Factors:
        """A constant that meets a tensor, as one number for each channel or one for all.

        Raises
        ------
        InputError
            if it differs within a channel, or is not finite.
        """
        if not np.isfinite(values).all():
            raise InputError(f"{operation.place}: expected finite constants")
        if values.size == 1:
            return (Fraction(float(values.reshape(-1)[0])),)
        try:
            spread = np.broadcast_to(values, (1, *number.place.shape))[0]
        except ValueError:
            found = " x ".join(map(str, values.shape))
            raise InputError(f"{operation.place}: expected constants for its input, found {found}") from None
        ordered = np.empty(number.place.size)
        ordered[number.place.reshape(-1)] = spread.reshape(-1)
        rows = ordered.reshape(-1, number.channels)
        if (rows != rows[:1]).any():
            raise InputError(f"{operation.place}: expected one constant per channel, found several in one")
        return one_or_all(tuple(Fraction(float(value)) for value in rows[0]))

    # -- nodes ----------------------------------------------------------------------------------------------

    def name(self, kind: str) -> str:
        """A name for the next node of a kind."""
        return f"{kind}{1 + sum(node.kind == kind for node in self.nodes)}"

    def emit(self, node: Node, *edges: Edge) -> Edge:
        """Append a node; the edge that leaves it."""
        self.nodes.append(node)
        return node.output(*edges)

    def integers(self, number: Number) -> Number:
        """The same real numbers on an edge of integers."""
        if isinstance(number.edge, Integers):
            return number
        bases = number.edge.bases
        node = Decode(
            name=self.name("decode"), inputs=(self.source_of(number),), input_bases=bases, beta=plane_betas(bases),
            beta_scale=BETA_FORM,
        )
        edge = self.emit(node, number.edge)
        # the node gives 2 code - (levels - 1)
        half = Affine((Fraction(1, 2),), (Fraction(bases.levels - 1, 2),))
        steps = Steps((half,))
        for step in number.steps.steps:
            steps = steps.then(step)
        return dataclasses.replace(number, node=node.name, edge=edge, steps=steps)

    def codes(self, operation: Operation, number: Number) -> Number:
        """The same real numbers on an edge of codes.

        Raises
        ------
        InputError
            if they have more than 256 values, or are not quantised at all.
        """
        if number.node is None:
            raise InputError(f"{operation.place}: expected a quantiser in front of it, found the input itself")
        if isinstance(number.edge, Codes):
            return number
        low, count = number.edge.least, number.edge.greatest - number.edge.least + 1
        if count > 256:
            raise InputError(
                f"{operation.place}: expected an input of at most 256 values, found {count}; quantise it first"
            )
        bits = planes(count).count
        node = Encode(name=self.name("encode"), inputs=(self.source_of(number),), low=low, bits=bits)
        edge = self.emit(node, number.edge)
        steps = Steps((Affine((Fraction(1),), (Fraction(low),)),))
        for step in number.steps.steps:
            steps = steps.then(step)
        return dataclasses.replace(number, node=node.name, edge=edge, steps=steps)

    def source_of(self, number: Number) -> str:
        if number.node is None:
            raise InputError("input: expected a quantiser behind the network's input, found none")
        return number.node

    # -- input ----------------------------------------------------------------------------------------------

    def set_input(self, operation: Operation, codes: Codes, edges: list[float]) -> None:
        """The codes of an image and the edges that cut them, known when the input's quantiser is met.

        Raises
        ------
        InputError
            if another quantiser of the input was met before.
        """
        if self.record.setdefault("input_edges", edges) != edges:
            raise InputError(
                f"{operation.place}: expected one quantiser behind the network's input, found another before it"
            )
        self._input = codes

    def input_edge(self) -> Codes:
        if self._input is None:
            raise InputError("input: expected a quantiser behind the network's input, found none")
        return self._input


def plane_betas(bases: Bases) -> IntArray:
    """``2**n`` for each of the planes."""
    return np.left_shift(np.int64(1), np.arange(bases.count))


def _map_of(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], Shape]:
    """Places and H x W x C of an input tensor C x H x W, C x L or F, without its batch."""
    if not 1 <= len(shape) <= 3:
        raise InputError(f"input: expected a shape of 2 to 4 dimensions with the batch, found {len(shape) + 1}")
    channels, *rest = shape
    height, width = {0: (1, 1), 1: (1, *rest), 2: tuple(rest)}[len(rest)]
    found = height, width, channels
    return channels_first(found, len(shape)), found
