"""Random small graphs that between them meet every node, and every option of each, forks and joins among them.

Thresholds and steps are placed by what a few random images give, so that values differ everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from random_networks import random_form

from abc_hw.network import Bases, Codes, Graph, Integers, ScaleForm
from abc_hw.network.edges import Edge, Shape
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT
from abc_hw.network.nodes import (
    ALWAYS,
    NEVER,
    Add,
    Conv,
    Decode,
    Encode,
    MaxPool,
    Node,
    Output,
    Requantise,
    Scores,
    SumPool,
    Table,
    Threshold,
)  # fmt: skip
from abc_hw.rtl_gen.engine.lowering import units_of
from abc_hw.rtl_gen.schedule import LayerFolding, candidates
from abc_hw.sim import golden

SAMPLES = 3


def random_bases(rng: np.random.Generator) -> Bases:
    if rng.random() < 0.6:
        return Bases(kind="thermometer", count=int(rng.choice([1, 2, 3, 5])))
    return Bases(kind="planes", count=int(rng.choice([1, 2, 3])))


def random_codes(rng: np.random.Generator, graph: Graph, count: int = 3) -> npt.NDArray[Any]:
    """Images for a graph: the first all the least number, the second all the greatest, the others random."""
    levels = graph.input.bases.levels
    images = rng.integers(levels, size=(count, *graph.input_shape))
    images[0] = 0
    if count > 1:
        images[1] = levels - 1
    return (images - levels // 2).astype(np.int8) if graph.signed else images.astype(np.uint8)


def random_foldings(rng: np.random.Generator, graph: Graph) -> dict[str, LayerFolding]:
    """Of each convolution one that wastes no lane."""
    found = {}
    for unit in units_of(graph):
        if isinstance(unit.does, Fused):
            every = candidates(unit.does)
            found[unit.name] = every[int(rng.integers(len(every)))].folding
    return found


def random_graph(rng: np.random.Generator, *, steps: int = 6) -> Graph:
    """A graph of about 3 to 20 nodes on an image, a signal or a vector."""
    maker = _Maker(rng)
    for _ in range(int(rng.integers(1, steps + 1))):
        maker.grow()
    if rng.random() < 0.6:
        maker.classify()
    else:
        maker.put(Output(name=maker.name("out"), inputs=maker.last))
    edge = maker.edges[maker.last]
    classes = tuple(f"class {index}" for index in range(edge.shape[2])) if maker.is_classifier else ()
    return Graph(
        name="random", input=maker.input, signed=maker.signed, nodes=tuple(maker.nodes), classes=classes
    )


class _Maker:
    """A graph in the making: its nodes, their edges, and their values for a few random images."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        kind = rng.choice(["image", "image", "signal", "vector"])
        sides = {
            "image": tuple(int(side) for side in rng.integers(2, 9, size=2)),
            "signal": (1, int(rng.integers(4, 16))),
            "vector": (1, 1),
        }[str(kind)]
        bases = Bases(kind="planes", count=int(rng.integers(1, 9))) if rng.random() < 0.6 else random_bases(rng)
        self.input = Codes(bases, (*sides, int(rng.choice([1, 2, 3, 4, 6]))))
        self.signed = bases.kind == "planes" and bool(rng.random() < 0.4)
        self.nodes: list[Node] = []
        self.edges: dict[str, Edge] = {INPUT: self.input}
        codes = rng.integers(bases.levels, size=(SAMPLES, *self.input.shape)).astype(np.uint8)
        self.values: dict[str, npt.NDArray[Any]] = {INPUT: codes}
        self.last = INPUT
        self.is_classifier = False
        if rng.random() < 0.2:
            out = random_bases(rng)
            entries = rng.integers(out.levels, size=bases.levels)
            self.put(Table(name="table", inputs=INPUT, entries=entries, bases=out))

    def name(self, kind: str) -> str:
        return f"{self.rng.choice(['', 'block.', 'a.b.'])}{kind}{len(self.nodes)}"

    def put(self, node: Node) -> str:
        """Add a node; its output is what the next one takes unless told otherwise."""
        arriving = [self.edges[name] for name in node.inputs]
        self.edges[node.name] = node.output(*arriving)
        self.values[node.name] = golden.NODES[node.kind](node, *(self.values[name] for name in node.inputs))
        self.nodes.append(node)
        self.last = node.name
        return node.name

    @property
    def edge(self) -> Edge:
        return self.edges[self.last]

    def grow(self) -> None:
        """A few nodes more."""
        rng, edge = self.rng, self.edge
        if isinstance(edge, Codes):
            choices = [self.conv, self.conv, self.two_convs, self.decode, self.max_pool]
        else:
            choices = [self.cut, self.cut, self.requantise, self.max_pool, self.sum_pool, self.skip, self.encode]
        choices[int(rng.integers(len(choices)))]()

    def classify(self) -> None:
        if isinstance(self.edge, Integers) and self.edge.shape[:2] != (1, 1) and self.rng.random() < 0.4:
            self.put(SumPool(name=self.name("mean"), inputs=self.last, size=self.edge.shape[:2], stride=(1, 1)))
        if isinstance(self.edge, Integers) and self.edge.shape[:2] != (1, 1):
            self.cut()
        if isinstance(self.edge, Codes):
            self.conv(kernel=self.edge.shape[:2], stride=(1, 1), padding=(0, 0, 0, 0))
        bias = self.rng.integers(-50, 50, self.edge.shape[2])
        scale = float(self.rng.choice([1.0, 0.125]))
        self.put(Scores(name=self.name("scores"), inputs=self.last, bias=bias, scale=scale))
        self.is_classifier = True

    # -- single nodes -----------------------------------------------------------------------------------------

    def window(self, shape: Shape) -> dict[str, Any]:
        """Size, stride and padding of a window that fits."""
        rng = self.rng
        size = tuple(int(rng.integers(1, min(side, 4) + 1)) for side in shape[:2])
        padding = tuple(int(rng.integers(0, size[axis])) if rng.random() < 0.4 else 0 for axis in (0, 0, 1, 1))
        stride = tuple(int(step) for step in rng.integers(1, 4, size=2))
        return {"size": size, "stride": stride, "padding": padding}

    def conv(self, **fixed: Any) -> None:
        rng, edge, bases = self.rng, self.edge, random_bases(self.rng)
        assert isinstance(edge, Codes)
        groups = int(rng.choice([g for g in range(1, edge.shape[2] + 1) if edge.shape[2] % g == 0]))
        groups = groups if rng.random() < 0.4 else 1
        out = groups * int(rng.integers(1, 4))
        window = self.window(edge.shape)
        options = {"kernel": window.pop("size"), **window, **fixed}
        if "channels" in options:
            out, groups = options.pop("channels"), 1
        alpha_scale, beta_scale = random_form(rng), random_form(rng)
        code = None if rng.random() < 0.4 else int(rng.integers(edge.bases.levels))
        size = (out, *options["kernel"], edge.shape[2] // groups)
        self.put(
            Conv(
                name=self.name("conv"), inputs=self.last, groups=groups, padding_code=code, weight_bases=bases,
                input_bases=edge.bases, weights=rng.integers(bases.levels, size=size),
                alpha=rng.choice(alpha_scale.allowed, (out, bases.count)), alpha_scale=alpha_scale,
                beta=rng.choice(beta_scale.allowed, edge.bases.count), beta_scale=beta_scale, **options,
            )
        )

    def cut(self) -> None:
        rng, bases = self.rng, random_bases(self.rng)
        seen = self.values[self.last].reshape(-1, self.edge.shape[2])
        share = np.sort(rng.random((bases.levels - 1, 1)), axis=0)
        thresholds = np.quantile(seen, share[:, 0], axis=0, method="higher").T.astype(np.int64)
        thresholds[rng.random(thresholds.shape) < 0.05] = ALWAYS
        thresholds[rng.random(thresholds.shape) < 0.05] = NEVER
        thresholds.sort(axis=1)
        self.put(Threshold(name=self.name("cut"), inputs=self.last, thresholds=thresholds, bases=bases))

    def decode(self) -> None:
        assert isinstance(self.edge, Codes)
        form = random_form(self.rng)
        beta = self.rng.choice(form.allowed, self.edge.bases.count)
        bases = self.edge.bases
        self.put(Decode(name=self.name("value"), inputs=self.last, input_bases=bases, beta=beta, beta_scale=form))

    def requantise(self, reach: int | None = None) -> None:
        rng, edge = self.rng, self.edge
        assert isinstance(edge, Integers)
        channels, form = edge.shape[2], ScaleForm(kind="csd", bits=6)
        factor = rng.choice(form.allowed[form.allowed != 0], channels)
        greatest = int(np.abs(self.values[self.last]).max())
        reach = reach or int(rng.choice([1, 7, 100, 3000]))
        shift = max(0, (greatest * int(np.abs(factor).max()) // reach).bit_length() - int(rng.integers(0, 3)))
        offset = rng.integers(-(1 << shift), 1 << shift, channels) + (1 << shift >> 1)
        low = -reach if rng.random() < 0.7 else 0
        self.put(
            Requantise(
                name=self.name("step"), inputs=self.last, factor=factor, factor_scale=form, offset=offset,
                shift=shift, low=low, high=reach,
            )
        )

    def encode(self) -> None:
        edge = self.edge
        assert isinstance(edge, Integers)
        if edge.greatest - edge.least > 255:
            self.requantise(reach=int(self.rng.choice([1, 5, 127])))
            edge = self.edge
        bits = max(1, (edge.greatest - edge.least).bit_length())
        slack = (1 << bits) - 1 - (edge.greatest - edge.least)
        low = edge.least - int(self.rng.integers(slack + 1))
        self.put(Encode(name=self.name("planes"), inputs=self.last, low=low, bits=bits))

    def max_pool(self) -> None:
        least = self.rng.random(self.edge.shape[2]) < 0.5 if self.rng.random() < 0.4 else None
        window = self.window(self.edge.shape)
        self.put(MaxPool(name=self.name("pool"), inputs=self.last, least=least, **window))

    def sum_pool(self) -> None:
        self.put(SumPool(name=self.name("sums"), inputs=self.last, **self.window(self.edge.shape)))

    # -- forks and joins --------------------------------------------------------------------------------------

    def join(self, one: str, other: str) -> None:
        inputs = (one, other) if self.rng.random() < 0.5 else (other, one)
        self.put(Add(name=self.name("sum"), inputs=inputs))

    def two_convs(self) -> None:
        """Codes to two convolutions whose sums are added."""
        before, window = self.last, self.window(self.edge.shape)
        options = {"kernel": window.pop("size"), **window, "channels": int(self.rng.integers(1, 5))}
        self.conv(**options)
        one = self.last
        self.last = before
        self.conv(**options)
        self.join(one, self.last)

    def skip(self) -> None:
        """Integers past a threshold and a convolution, as they are or in a step of their own."""
        before, channels = self.last, self.edge.shape[2]
        self.cut()
        kernel, ends = (1, 1), (0, 0, 0, 0)
        if min(self.edge.shape[:2]) >= 3 and self.rng.random() < 0.6:
            kernel, ends = (3, 3), (1, 1, 1, 1)
        self.conv(kernel=kernel, stride=(1, 1), padding=ends, channels=channels)
        if self.rng.random() < 0.5:
            self.requantise()
        inner = self.last
        self.last = before
        if self.rng.random() < 0.5:
            self.requantise()
        self.join(inner, self.last)


# -- a residual block ---------------------------------------------------------------------------------------


def residual_block(size: int = 5, channels: int = 2) -> Graph:
    """A convolution whose codes go through another one and past it; the sum is cut and goes through a third."""
    rng = np.random.default_rng(0)
    two, one = (Bases(kind="planes", count=count) for count in (2, 1))
    fixed, pow2 = ScaleForm(kind="fixed", bits=4), ScaleForm(kind="pow2", bits=8)

    def conv(name: str, source: str, kernel: int) -> Conv:
        return Conv(
            name=name, inputs=(source,), kernel=(kernel, kernel), padding=(kernel // 2,) * 4, padding_code=1,
            weight_bases=one, input_bases=two, alpha=np.ones((channels, 1), np.int64), alpha_scale=fixed,
            beta=np.array([1, 2]), beta_scale=pow2,
            weights=rng.integers(0, 2, (channels, kernel, kernel, channels)).astype(np.uint8),
        )

    def cut(name: str, source: str) -> Threshold:
        thresholds = np.sort(rng.integers(-20, 20, (channels, 3)), axis=1)
        return Threshold(name=name, inputs=(source,), thresholds=thresholds, bases=two)

    decode = Decode(name="skip", inputs=("cut1",), input_bases=two, beta=np.array([1, 2]), beta_scale=pow2)
    return Graph(name="block", input=Codes(two, (size, size, channels)), nodes=(
        conv("enter", "input", 3), cut("cut1", "enter"), conv("inner", "cut1", 3), decode,
        Add(name="sum", inputs=("inner", "skip")), cut("cut2", "sum"), conv("leave", "cut2", 1),
        Output(name="out", inputs=("leave",)),
    ))
