"""From a module with skip paths to the pieces of its network: what its forward does, read off by ``torch.fx``.

The module's layers on bases read pixels, each other, or a stream of integers (:mod:`abc_hw.training.stream`),
whose paths may be added. What else a forward does is refused by its path in the module.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError
from . import pieces
from .activation_bases import PixelBases, Unquantised
from .forward import NodeReader, Row, Shape, where
from .layers import ABCConv2d, ABCLinear
from .pieces import Piece
from .quantised import classifier_bias, quantise_layer, quantise_stage
from .stream import StreamBlock, StreamMean, factor_form, mean_factor
from .tracing import ADDITIONS, ALIKE, FLATTENS, INSTEAD, POOLS, RELUS, SAME, VIEWS, Stage, check_last, square_pool

Layer = ABCConv2d | ABCLinear
"""A layer on bases."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Value:
    """What a node of the forward gives: the piece that makes it, and its shape (H, W, C).

    ``stage`` is the layer whose real output it is, with all that follows it; None for the image, the stream, and
    its mean, which ``kind`` tells apart.
    """

    kind: str
    name: str
    shape: Shape
    stage: Stage | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Paths:
    """The pieces of a module in order, and what became of every node of its forward."""

    pieces: list[Piece]
    rows: list[Row]


@torch.no_grad()
def trace_paths(model: nn.Module, in_shape: Shape, *, refuse: bool = True) -> Paths:
    """The pieces of a module that takes images (H, W, C) as uint8 [B, C, H, W], in integers.

    Parameters
    ----------
    refuse : stop at the first node that no network has; else list it, and go on as if it were not there

    Raises
    ------
    InputError
        as :func:`abc_hw.training.tracing.trace`; sums of what is no stream; numbers that become no integers
    """
    reader = _Reader(model, in_shape)
    reader.read(refuse=refuse)
    return Paths(reader.pieces, reader.rows)


class _Reader(NodeReader):
    """Makes the pieces that the values of nodes need."""

    def __init__(self, model: nn.Module, in_shape: Shape) -> None:
        super().__init__(model, in_shape)
        self.in_shape = in_shape
        self.pieces: list[Piece] = []
        self.values: dict[fx.Node, _Value] = {}
        self._sums: dict[int, str] = {}
        self._names: set[str] = set()

    # -- nodes --------------------------------------------------------------------------------------------------

    def take(self, node: fx.Node) -> str:
        """What became of the node, nothing if that is of no interest; InputError if no network has it."""
        if node.op == "placeholder":
            self.values[node] = _Value("image", "input", self.in_shape)
            return "the image"
        if node.op == "output":
            return self._output(node)
        if node.op == "get_attr" or self.shapes.get(node) is None:
            return ""
        given = [self.values[before] for before in node.all_input_nodes if before in self.values]
        key, called = self._key(node), self._called(node)
        if key in ADDITIONS:
            value = self._add(node, given)
        elif len(given) != 1:
            self._refuse(node, "one input")
        elif isinstance(called, StreamBlock):
            value = self._stream(node, called, given[0])
        elif isinstance(called, StreamMean):
            value = self._mean(node, given[0])
        elif isinstance(called, Layer):
            value = self._layer(node, called, given[0])
        elif isinstance(called, _BatchNorm) or key in RELUS or key in POOLS:
            value = self._behind(node, called, key, given[0])
        elif key in FLATTENS or key in VIEWS:
            value = self._flatten(node, given[0])
        elif key in SAME:
            value = given[0]
        else:
            self._refuse(node, INSTEAD.get(ALIKE.get(key, key), "a layer on bases, or what may stand behind one"))
        self.values[node] = value
        return f"{value.kind} {value.name}"

    def pass_by(self, node: fx.Node) -> None:
        """Go on as if the node were not there."""
        before = next((b for b in node.all_input_nodes if b in self.values), None)
        if before is not None:
            self.values[node] = self.values[before]

    def _add(self, node: fx.Node, given: list[_Value]) -> _Value:
        if len(given) != 2 or any(value.kind != "stream" for value in given):
            self._refuse(node, INSTEAD[ALIKE.get(node.target, node.target)])
        if given[0].shape != given[1].shape:
            self._refuse(node, f"paths of one shape, {given[0].shape}", str(given[1].shape))
        path = "" if where(node).endswith("forward") else where(node)
        name = self._name(f"{path}.sum" if path else "sum")
        self._emit(pieces.Plus(name=name, inputs=(given[0].name, given[1].name)))
        return _Value("stream", name, given[0].shape)

    def _stream(self, node: fx.Node, block: StreamBlock, given: _Value) -> _Value:
        name = self._name(str(node.target))
        codes = self._codes(node, block.layer, given, name)
        layer, _ = quantise_layer(block.layer, name, given.shape)
        self._emit(pieces.Convolve(name=name, inputs=(codes,), layer=layer))
        last = name
        if block.overlapping is not None:
            last = f"{name}.pool"
            self._emit(pieces.Pool(name=last, inputs=(name,), window=block.overlapping))
        factor, offset, shift = block.integers()
        self._emit(pieces.Rescale(
            name=f"{name}.step", inputs=(last,), factor=factor.cpu(), offset=offset.cpu(), shift=shift,
            form=factor_form(layer.alpha_scale),
        ))  # fmt: skip
        return _Value("stream", f"{name}.step", self._shape(node))

    def _mean(self, node: fx.Node, given: _Value) -> _Value:
        if given.kind != "stream":
            self._refuse(node, "a stream before it", given.kind)
        name, (height, width, channels) = self._name(str(node.target)), given.shape
        factor, shift = mean_factor(height * width)
        factors = torch.full((channels,), factor)
        self._emit(pieces.Total(name=name, inputs=(given.name,), size=(height, width)))
        self._emit(pieces.Rescale(
            name=f"{name}.step", inputs=(name,), factor=factors, offset=torch.full((channels,), 1 << shift >> 1),
            shift=shift, form=pieces.MEAN_FORM,
        ))  # fmt: skip
        self._emit(pieces.Planes(name=f"{name}.planes", inputs=(f"{name}.step",)))
        return _Value("planes", f"{name}.planes", (1, 1, channels))

    def _layer(self, node: fx.Node, layer: Layer, given: _Value) -> _Value:
        path = str(node.target)
        name = self._name(path.removesuffix(".layer"))
        codes = self._codes(node, layer, given, name)
        stage = Stage(name=name, path=path, in_shape=given.shape, layer=layer)
        self._sums[id(stage)] = codes  # its convolution waits for what follows it
        return _Value("sums", name, self._shape(node), stage)

    def _behind(self, node: fx.Node, called: nn.Module | None, key: Any, given: _Value) -> _Value:
        """Batch norm, ReLU or max-pool behind a layer; a ReLU of the stream."""
        if given.kind == "stream" and key in RELUS:
            name = self._name(f"{given.name}.relu")
            self._emit(pieces.relu(name, given.name, given.shape[2]))
            return _Value("stream", name, given.shape)
        stage = given.stage
        if stage is None or id(stage) not in self._sums:
            self._refuse(node, "a layer on bases before it, which nothing else reads")
        if isinstance(called, _BatchNorm):
            if stage.relu or called.running_mean is None:
                self._refuse(node, "running statistics, and batch norm before the ReLU")
            stage.norms.append((where(node), called))
            if stage.pool > 1:
                stage.pooled_norms.append(where(node))
        elif key in RELUS:
            stage.relu = True
        else:
            side, found = square_pool(node, called)
            if side is None or stage.pool > 1:
                self._refuse(node, "one max-pool of squares side by side without padding", found)
            stage.pool = side
        return dataclasses.replace(given, shape=self._shape(node))

    def _flatten(self, node: fx.Node, given: _Value) -> _Value:
        self._check_flat(node)
        return given

    def _output(self, node: fx.Node) -> str:
        given = node.args[0]
        value = self.values.get(given) if isinstance(given, fx.Node) else None
        stage = None if value is None or value.shape[:2] != (1, 1) else value.stage
        if stage is None or stage.norms or stage.relu or stage.pool > 1:
            raise InputError("output: expected the scores of a last layer with nothing behind it, found others")
        check_last(stage)
        layer, scale = quantise_layer(stage.layer, stage.name, stage.in_shape)
        self._emit(pieces.Convolve(name=stage.name, inputs=(self._sums[id(stage)],), layer=layer))
        self._emit(pieces.Tell(name="scores", inputs=(stage.name,), bias=classifier_bias(stage.layer, scale)))
        return f"scores of {stage.name}"

    # -- what a layer reads -------------------------------------------------------------------------------------

    def _codes(self, node: fx.Node, layer: Layer, given: _Value, name: str) -> str:
        """The piece that gives the codes which a layer reads."""
        bases = layer.input_bases
        if isinstance(layer, ABCLinear) and len(self.shapes[node.all_input_nodes[0]] or ()) != 2:
            self._refuse(node, "a flatten before it")
        if isinstance(bases, Unquantised):
            raise InputError("kind: expected activations on learned bases, found others, which cut no stream")
        if given.kind in ("image", "planes"):
            if not isinstance(bases, PixelBases):
                self._refuse(node, f"activation_kind pixels behind {given.name}", "others")
            return given.name
        if isinstance(bases, PixelBases):
            self._refuse(node, f"activation_kind abc or residual behind {given.name}", "pixels")
        if given.stage is not None:
            return self._cut_sums(node, given, layer, name)
        parent = name.rpartition(".")[0]
        free = parent and f"{parent}.cut" not in self._names
        cut = self._name(f"{parent}.cut" if free else f"{name}.cut")
        t = bases.t.detach().cpu().double().sort(stable=True).values
        self._emit(
            pieces.CutStream(name=cut, inputs=(given.name,), t=t, channels=given.shape[2], bases=bases.bases)
        )
        return cut

    def _cut_sums(self, node: fx.Node, given: _Value, reader: Layer, name: str) -> str:
        stage = given.stage
        assert stage is not None  # the caller says so
        layer = quantise_stage(stage, Stage(name=name, path=name, in_shape=given.shape, layer=reader))
        codes = self._sums.pop(id(stage), None)
        if codes is None:
            self._refuse(node, "a stream before what several layers read", given.name)
        self._emit(pieces.Convolve(name=stage.name, inputs=(codes,), layer=layer))
        last = stage.name
        if stage.pool > 1:
            last = f"{stage.name}.pool"
            self._emit(pieces.Pool(name=last, inputs=(stage.name,), window=(stage.pool, stage.pool, 0)))
        cut = self._name(f"{stage.name}.cut")
        bases = reader.input_bases
        assert not isinstance(bases, Unquantised)  # checked before
        self._emit(pieces.CutSums(name=cut, inputs=(last,), layer=layer, bases=bases.bases))
        return cut

    # -- names and shapes ---------------------------------------------------------------------------------------

    def _emit(self, piece: Piece) -> None:
        self._names.add(piece.name)
        self.pieces.append(piece)

    def _name(self, path: str) -> str:
        """A path as identifiers joined by dots, not taken yet."""
        parts = path.removeprefix("blocks.").lower().split(".")
        name = ".".join(part if part.isidentifier() else f"n{part}" for part in parts)
        number = 2
        free = name
        while free in self._names:
            free, number = f"{name}_{number}", number + 1
        self._names.add(free)
        return free

    def _shape(self, node: fx.Node) -> Shape:
        shape = self.shapes[node] or ()
        return (shape[2], shape[3], shape[1]) if len(shape) == 4 else (1, 1, shape[-1])
