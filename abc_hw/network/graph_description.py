"""Graphs without training: a TOML description of nodes becomes a graph with random weights.

Like :mod:`abc_hw.network.description`, but with ``[[nodes]]`` in the place of ``[[layers]]``. A node takes from
the one before it, or from the names in ``from``; coefficients are random, and thresholds and steps lie where they
make all codes about equally frequent. A residual block reads::

    [[nodes]]
    kind = "requantise"         # the stream: integers of 8 bits
    name = "stream"

    [[nodes]]
    kind = "threshold"

    [[nodes]]
    kind = "conv"
    out_channels = 16
    kernel = 3
    padding = 1

    [[nodes]]
    kind = "requantise"
    name = "added"

    [[nodes]]
    kind = "add"
    from = ["stream", "added"]

A last node ``dense`` gets scores behind it, one per class; any other is what the network hands out.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import InputError, NetworkError
from ..reading import read_toml
from ..validation import validate
from . import limits
from .bases import MAX_BASES, Bases, ScaleForm
from .description import Count, ScaleDescription, names
from .edges import Codes, Edge, Integers
from .graph import INPUT, Graph
from .limits import Name, Side
from .nodes import Add, Conv, Decode, Encode, MaxPool, Node, Output, Requantise, Scores, SumPool, Threshold

FACTOR = ScaleForm(kind="csd", bits=8, terms=2)
"""The form of random factors."""

Pad = Annotated[int, Field(ge=0, le=limits.MAX_SIDE, strict=True)]


def _pair(sides: Any) -> Any:
    return (sides, sides) if type(sides) is int else sides


def _ends(padding: Any) -> Any:
    return (padding,) * 4 if type(padding) is int else padding


Pair = Annotated[tuple[Side, Side], BeforeValidator(_pair)]
Ends = Annotated[tuple[Pad, Pad, Pad, Pad], BeforeValidator(_ends)]


class NodeDescription(BaseModel):
    """One node; what a kind does not have is refused.

    Members
    -------
    kind : one of those of :mod:`abc_hw.network.nodes`, or ``dense`` for a convolution over all of its input
    name : the kind and its place when not given
    from : names of the nodes that it takes from
    out_channels : of ``conv`` and ``dense``; the last ``dense`` has one per class
    kernel : side, or [height, width], of ``conv``
    size : likewise of a pool
    stride : side, or [vertical, horizontal]
    padding : rows and columns on all sides, or [above, below, left, right]
    groups : of ``conv``
    M : weight bases;  N : bases of the codes behind a ``threshold``;  scale : form of coefficients
    bits : of the integers behind ``requantise``
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: Literal["conv", "dense", "threshold", "requantise", "encode", "decode", "add", "max_pool", "sum_pool"]
    name: Name | None = None
    sources: Annotated[tuple[Name, ...] | None, Field(alias="from", max_length=2)] = None
    out_channels: Side | None = None
    kernel: Pair | None = None
    size: Pair | None = None
    stride: Pair | None = None
    padding: Ends = (0, 0, 0, 0)
    groups: Side = 1
    M: Count | None = None
    N: Count | None = None
    scale: ScaleDescription | None = None
    bits: Annotated[int, Field(ge=2, le=16, strict=True)] = 8


FIELDS = {
    "conv": {"out_channels", "kernel", "stride", "padding", "groups", "M", "scale"},
    "dense": {"out_channels", "M", "scale"},
    "threshold": {"N"},
    "requantise": {"bits"},
    "decode": {"scale"},
    "max_pool": {"size", "stride", "padding"},
    "sum_pool": {"size", "stride", "padding"},
}
"""The fields that a kind has besides kind, name and from."""


class GraphDescription(BaseModel):
    """A whole graph; fields as :class:`abc_hw.network.description.Description`, with nodes for layers.

    ``signed`` images are numbers of two's complement; ``classes`` are left out where no ``dense`` comes last.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    input_shape: tuple[Side, Side, Side]
    input_bits: Count = 8
    signed: Annotated[bool, Field(strict=True)] = False
    classes: Annotated[tuple[Name, ...], Field(max_length=limits.MAX_SIDE), BeforeValidator(names)] = ()
    seed: Annotated[int, Field(ge=0, lt=1 << 63, strict=True)] = 1
    M: Count = 3
    N: Count = 3
    scale: ScaleDescription = ScaleDescription()
    nodes: Annotated[tuple[NodeDescription, ...], Field(min_length=1, max_length=limits.MAX_NODES)]

    def graph(self) -> Graph:
        """The graph with random weights, coefficients, thresholds and steps.

        Raises
        ------
        InputError : nodes that do not fit each other; the message names node and field
        """
        maker = _Maker(self)
        for place, node in enumerate(self.nodes, 1):
            maker.add(node, place)
        return maker.finish()


def load(path: str | Path) -> Graph:
    """Read a TOML description of nodes and make its graph.

    Raises
    ------
    InputError : not readable, no TOML, a field that breaks its rule, or nodes that do not fit each other
    """
    description = validate(GraphDescription, read_toml(path, "a readable description"), str(path))
    try:
        return description.graph()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


# -- random weights -----------------------------------------------------------------------------------------

Spread = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""About what mean and standard deviation the integers of each channel have: float64 [C] each."""


class _Maker:
    """A graph in the making: its nodes, their edges, and about how integers are spread."""

    def __init__(self, said: GraphDescription) -> None:
        self.said, self.rng = said, np.random.default_rng(said.seed)
        limits.check_shape("input_shape", said.input_shape)
        bases = Bases(kind="planes", count=said.input_bits)
        self.edges: dict[str, Edge] = {INPUT: Codes(bases, said.input_shape)}
        self.spreads: dict[str, Spread] = {}
        self.nodes: list[Node] = []
        self.weights = 0

    def add(self, node: NodeDescription, place: int) -> None:
        """The node of a description."""
        name = node.name or f"{node.kind}{place}"
        before = self.nodes[-1].name if self.nodes else INPUT
        sources = node.sources or (before,)
        allowed = FIELDS.get(node.kind, set()) | {"kind", "name", "sources"}
        for field in sorted(node.model_fields_set - allowed):
            raise NetworkError(f"{name}.{field}", f"no such field in {node.kind}", getattr(node, field))
        for source in sources:
            if source not in self.edges:
                raise NetworkError(f"{name}.from", "names of nodes before it", repr(source))
        getattr(self, f"_{node.kind}")(node, name, sources)

    def finish(self) -> Graph:
        """The graph, with scores behind a last dense node."""
        said, last = self.said, self.nodes[-1]
        if said.nodes[-1].kind == "dense":
            spread = int(self.spreads[last.name][1].max()) + 1
            bias = self.rng.integers(-spread, spread + 1, self.edges[last.name].shape[2])
            self.nodes.append(Scores(name="scores", inputs=(last.name,), bias=bias))
        else:
            self.nodes.append(Output(name="output", inputs=(last.name,)))
        codes = self.edges[INPUT]
        assert isinstance(codes, Codes)  # put there so
        training = {"note": "random weights, not trained", "seed": said.seed}
        return Graph(
            name=said.name, input=codes, signed=said.signed, nodes=tuple(self.nodes), classes=said.classes,
            training=training,
        )  # fmt: skip

    def _put(self, node: Node, spread: Spread | None = None) -> None:
        self.edges[node.name] = node.output(*(self.edges[name] for name in node.inputs))
        limits.check_shape(node.name, self.edges[node.name].shape)
        if spread is not None:
            self.spreads[node.name] = spread
        self.nodes.append(node)

    def _integers(self, name: str, source: str) -> tuple[Integers, Spread]:
        edge = self.edges[source]
        if not isinstance(edge, Integers):
            raise NetworkError(f"{name}.from", "integers", edge)
        return edge, self.spreads[source]

    def _codes(self, name: str, source: str) -> Codes:
        edge = self.edges[source]
        if not isinstance(edge, Codes):
            raise NetworkError(f"{name}.from", "codes, such as a threshold hands on", edge)
        return edge

    def _coefficients(self, form: ScaleForm, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        return self.rng.choice(form.allowed[form.allowed != 0], shape)

    def _beta(self, bases: Bases, form: ScaleForm) -> tuple[npt.NDArray[np.int64], ScaleForm]:
        if bases.kind == "planes":
            return 1 << np.arange(bases.count), ScaleForm(kind="pow2", bits=MAX_BASES)
        return self._coefficients(form, (bases.count,)), form

    # -- kinds ------------------------------------------------------------------------------------------------

    def _dense(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        last = node is self.said.nodes[-1]
        channels = node.out_channels or (len(self.said.classes) if last else None)
        sides = self.edges[sources[0]].shape[:2]
        self._conv(node.model_copy(update={"kernel": sides, "out_channels": channels}), name, sources)

    def _conv(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        codes = self._codes(name, sources[0])
        if not node.kernel or not node.out_channels:
            field = "kernel" if node.out_channels else "out_channels"
            raise NetworkError(f"{name}.{field}", "a number", "none")
        if codes.shape[2] % node.groups:
            raise NetworkError(f"{name}.groups", f"a divisor of {codes.shape[2]} input channels", node.groups)
        size = (node.out_channels, *node.kernel, codes.shape[2] // node.groups)
        self.weights = limits.check_weights(name, size, self.weights)
        form, bases = (node.scale or self.said.scale).form, Bases(kind="thermometer", count=node.M or self.said.M)
        beta, beta_scale = self._beta(codes.bases, form)
        conv = Conv(
            name=name, inputs=sources, kernel=node.kernel, stride=node.stride or (1, 1), padding=node.padding,
            groups=node.groups, weight_bases=bases, input_bases=codes.bases,
            weights=self.rng.integers(bases.levels, size=size, dtype=np.uint8),
            alpha=self._coefficients(form, (node.out_channels, bases.count)), alpha_scale=form, beta=beta,
            beta_scale=beta_scale,
        )  # fmt: skip
        values, weights = conv.input_values, conv.weight_values.astype(np.float64)
        mean = values.mean() * weights.sum(axis=(1, 2, 3))
        self._put(conv, (mean, values.std() * np.sqrt(np.square(weights).sum(axis=(1, 2, 3)))))

    def _threshold(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        _, (mean, deviation) = self._integers(name, sources[0])
        bases = Bases(kind="thermometer", count=node.N or self.said.N)
        normal = statistics.NormalDist()
        cuts = np.array([normal.inv_cdf(level / bases.levels) for level in range(1, bases.levels)])
        thresholds = np.sort(np.rint(mean[:, None] + deviation[:, None] * cuts).astype(np.int64), axis=1)
        self._put(Threshold(name=name, inputs=sources, thresholds=thresholds, bases=bases))

    def _requantise(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        edge, (mean, deviation) = self._integers(name, sources[0])
        factor = self.rng.choice(FACTOR.allowed[FACTOR.allowed > FACTOR.allowed.max() // 2], edge.shape[2])
        reach = 1 << (node.bits - 1)
        shift = max(0, round(math.log2(max(1.0, float((factor * (deviation + 1)).max()) / (reach / 3)))))
        offset = np.rint(-mean * factor).astype(np.int64) + (1 << shift >> 1)
        step = Requantise(
            name=name, inputs=sources, factor=factor, factor_scale=FACTOR, offset=offset, shift=shift, low=-reach,
            high=reach - 1,
        )  # fmt: skip
        self._put(step, (np.zeros_like(mean), deviation * factor / (1 << shift)))

    def _encode(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        edge, _ = self._integers(name, sources[0])
        bits = max(1, (edge.greatest - edge.least).bit_length())
        if bits > MAX_BASES:
            raise NetworkError(f"{name}.from", "at most 256 values", edge)
        self._put(Encode(name=name, inputs=sources, low=edge.least, bits=bits))

    def _decode(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        codes = self._codes(name, sources[0])
        beta, form = self._beta(codes.bases, (node.scale or self.said.scale).form)
        decode = Decode(name=name, inputs=sources, input_bases=codes.bases, beta=beta, beta_scale=form)
        flat = np.ones(codes.shape[2])
        self._put(decode, (flat * decode.values.mean(), flat * decode.values.std()))

    def _add(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        add = Add(name=name, inputs=sources)
        (_, (one, width)), (_, (other, more)) = (self._integers(name, source) for source in sources)
        if one.shape != other.shape:
            add.output(*(self.edges[source] for source in sources))  # refuses it
        self._put(add, (one + other, np.hypot(width, more)))

    def _max_pool(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        size = self._size(node, name)
        pool = MaxPool(name=name, inputs=sources, size=size, stride=node.stride or size, padding=node.padding)
        self._put(pool, self.spreads.get(sources[0]))

    def _sum_pool(self, node: NodeDescription, name: str, sources: tuple[str, ...]) -> None:
        _, (mean, deviation) = self._integers(name, sources[0])
        size = self._size(node, name)
        pool = SumPool(name=name, inputs=sources, size=size, stride=node.stride or size, padding=node.padding)
        count = math.prod(size)
        self._put(pool, (mean * count, deviation * math.sqrt(count)))

    def _size(self, node: NodeDescription, name: str) -> tuple[int, int]:
        if node.size is None:
            raise NetworkError(f"{name}.size", "a side or [height, width]", "none")
        return node.size
