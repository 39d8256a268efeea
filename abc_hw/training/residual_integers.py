"""The integers of a residual network: their exact evaluation in PyTorch, and their graph.

Both read the numbers of :func:`quantise_residual`. The evaluation compares real numbers ``a acc + b >= t`` and
``steps * STEP >= t`` in float64, exactly; the graph compares integers with thresholds from rational arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..data import Images
from ..errors import InputError
from ..network import Bases, Codes, Graph, ScaleForm
from ..network.nodes import Add, Conv, Encode, MaxPool, Node, Requantise, Scores, SumPool, Threshold
from .activation_bases import PixelBases, Unquantised
from .lowering import coded, thresholds
from .models import ABCBlock
from .quantised import (
    BATCH,
    Progress,
    QuantisedLayer,
    accumulate,
    check_finite,
    check_images,
    classifier_bias,
    quantise_layer,
    quantise_stage,
)  # fmt: skip
from .residual import REACH, STEP, ResidualNet, StreamBlock, factor_form
from .tracing import Stage

PLANES = Bases(kind="planes", count=8)
"""How the averaged stream enters the classifier."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ToStream:
    """A convolution whose output goes to the stream: ``clip((pooled acc factor + offset) >> shift)``.

    Members
    -------
    cut : the real thresholds of the stream that it reads, float64 ascending; None for the image
    layer : its convolution
    pool : size, stride, padding of its max-pool, or None
    factor, offset, shift : int64 [C] each and the shift
    """

    cut: Tensor | None
    layer: QuantisedLayer
    pool: tuple[int, int, int] | None
    factor: Tensor
    offset: Tensor
    shift: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedBlock:
    """One residual block; ``cut`` are the thresholds of the stream that ``inner`` reads."""

    name: str
    cut: Tensor
    inner: QuantisedLayer
    outer: ToStream
    skip: ToStream | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedResidual:
    """All numbers of a residual network, on the CPU; ``mean`` is (factor, shift) of the average."""

    stem: ToStream
    blocks: tuple[QuantisedBlock, ...]
    mean: tuple[int, int]
    classifier: QuantisedLayer


@torch.no_grad()
def quantise_residual(model: ResidualNet) -> QuantisedResidual:
    """The integers of the model, whether or not it computes with them at present.

    Raises
    ------
    InputError : a number is not finite, or the model is in full precision
    """
    check_finite(model)
    blocks = []
    for name, block in model.named_blocks:
        inner, outer, skip = block.inner, block.outer, block.skip
        past = None if skip is None else _to_stream(skip, _cut(skip.layer))
        added, numbers = _to_stream(outer, None), quantise_stage(_stage(inner), _stage(outer))
        blocks.append(QuantisedBlock(name=name, cut=_cut(inner.layer), inner=numbers, outer=added, skip=past))
    classifier, scale = quantise_layer(model.classifier.layer, "classifier", model.classifier.in_shape)
    classifier = dataclasses.replace(classifier, bias=classifier_bias(model.classifier.layer, scale))
    return QuantisedResidual(
        stem=_to_stream(model.stem, None), blocks=tuple(blocks), mean=model.mean_factor(), classifier=classifier
    )


def _stage(block: ABCBlock) -> Stage:
    """A convolution and its batch norm as what stands between two of them."""
    name, norm = block.block.name, block.norm
    norms: list[Any] = [] if norm is None else [(f"{name}.norm", norm)]
    return Stage(name=name, path=name, in_shape=block.in_shape, layer=block.layer, norms=norms)


def _cut(layer: Any) -> Tensor:
    bases = layer.input_bases
    if isinstance(bases, PixelBases | Unquantised):
        raise InputError("kind: expected activations on learned bases, found others, which cut no stream")
    return bases.t.detach().cpu().double().sort(stable=True).values


def _to_stream(block: StreamBlock, cut: Tensor | None) -> ToStream:
    layer, _ = quantise_layer(block.layer, block.block.name, block.in_shape)
    factor, offset, shift = block.integers()
    return ToStream(
        cut=cut, layer=layer, pool=block.overlapping, factor=factor.cpu(), offset=offset.cpu(), shift=shift
    )


# -- exact evaluation ---------------------------------------------------------------------------------------


def trace_residual(
    model: ResidualNet, images: Images, names: Sequence[str] | None = None, *, progress: Progress | None = None
) -> dict[str, npt.NDArray[Any]]:
    """What the network computes, exactly, by the names of the nodes of :func:`to_graph` (None: of all).

    Codes are uint8, integers int64, both [B, H, W, C]; "scores" are int64 [B, classes].

    Raises
    ------
    InputError : images of another shape or type
    """
    check_images(images, model.in_shape)
    numbers = quantise_residual(model)
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for start in range(0, max(1, len(images)), BATCH):
        found = _evaluate(numbers, torch.tensor(images[start : start + BATCH]))
        for name in found if names is None else names:
            value = found[name]
            kept = value.permute(0, 2, 3, 1) if value.ndim == 4 else value
            parts.setdefault(name, []).append(kept.contiguous().numpy())
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
    return {name: np.concatenate(found) for name, found in parts.items()}


@torch.no_grad()
def _evaluate(numbers: QuantisedResidual, images: Tensor) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}

    def cut(name: str, x: Tensor, t: Tensor) -> Tensor:
        values[name] = sum(((x >= edge) for edge in t), torch.zeros_like(x)).to(torch.uint8)
        return values[name]

    def convolve(name: str, layer: QuantisedLayer, codes: Tensor) -> Tensor:
        table = torch.from_numpy(layer.input_bases.values(layer.beta.numpy()))
        values[name] = accumulate(layer, table[codes.long()])
        return values[name]

    def stream(name: str, part: ToStream, codes: Tensor) -> Tensor:
        acc = convolve(name, part.layer, codes)
        if part.pool is not None:
            acc = values[f"{name}.pool"] = functional.max_pool2d(acc.double(), *part.pool).long()
        scaled = acc * part.factor.view(-1, 1, 1) + part.offset.view(-1, 1, 1)
        values[f"{name}.step"] = (scaled >> part.shift).clamp(-REACH, REACH - 1)
        return values[f"{name}.step"]

    x = stream("stem", numbers.stem, images.permute(0, 3, 1, 2))
    for block in numbers.blocks:
        name, before = block.name, x
        acc = convolve(f"{name}.inner", block.inner, cut(f"{name}.cut", x.double() * STEP, block.cut))
        step = block.inner.step
        assert step is not None  # the outer convolution reads it
        real = acc.double() * step.a.view(-1, 1, 1) + step.b.view(-1, 1, 1)
        added = stream(f"{name}.outer", block.outer, cut(f"{name}.inner.cut", real, step.t))
        if block.skip is not None:
            assert block.skip.cut is not None  # it reads the stream
            codes = cut(f"{name}.skip.cut", x.double() * STEP, block.skip.cut)
            before = stream(f"{name}.skip", block.skip, codes)
        x = values[f"{name}.sum"] = before + added
    factor, shift = numbers.mean
    values["mean"] = x.sum((2, 3), keepdim=True)
    rounded = (values["mean"] * factor + (1 << shift >> 1)) >> shift
    values["mean.step"] = rounded.clamp(-REACH, REACH - 1)
    values["mean.planes"] = (values["mean.step"] + REACH).to(torch.uint8)
    acc = convolve("classifier", numbers.classifier, values["mean.planes"])
    assert numbers.classifier.bias is not None  # a classifier has it
    values["scores"] = acc.flatten(1) + numbers.classifier.bias
    return values


# -- the graph ----------------------------------------------------------------------------------------------


def to_graph(
    model: ResidualNet, *, name: str, classes: Sequence[str], training: Mapping[str, Any] | None = None
) -> Graph:
    """The integer network of a trained residual model.

    Raises
    ------
    InputError : as :func:`quantise_residual`
    """
    numbers = quantise_residual(model)
    nodes: list[Node] = []
    last = _stream_nodes(nodes, "stem", numbers.stem, "input")
    for block in numbers.blocks:
        last = _block_nodes(nodes, block, last)
    factor, shift = numbers.mean
    bias = numbers.classifier.bias
    assert bias is not None  # a classifier has it
    channels, form = model.out_shape[2], ScaleForm(kind="fixed", bits=16)
    nodes += [
        SumPool(name="mean", inputs=(last,), size=model.out_shape[:2], stride=(1, 1)),
        Requantise(
            name="mean.step", inputs=("mean",), factor=np.full(channels, factor), factor_scale=form,
            offset=np.full(channels, 1 << shift >> 1), shift=shift, low=-REACH, high=REACH - 1,
        ),
        Encode(name="mean.planes", inputs=("mean.step",), low=-REACH, bits=8),
        _conv("classifier", numbers.classifier, "mean.planes"),
        Scores(name="scores", inputs=("classifier",), bias=bias.numpy()),
    ]  # fmt: skip
    return Graph(
        name=name, input=Codes(PLANES, model.in_shape), nodes=tuple(nodes), classes=tuple(classes),
        training=dict(training or {}),
    )  # fmt: skip


def _conv(name: str, layer: QuantisedLayer, before: str) -> Conv:
    return Conv(
        name=name, inputs=(before,), kernel=layer.kernel, stride=(layer.stride,) * 2, padding=(layer.padding,) * 4,
        **coded(layer),
    )  # fmt: skip


def _stream_nodes(nodes: list[Node], name: str, part: ToStream, before: str) -> str:
    """The nodes of a convolution that goes to the stream; the name of the last one."""
    nodes.append(_conv(name, part.layer, before))
    if part.pool is not None:
        size, stride, padding = part.pool
        window = {"size": (size, size), "stride": (stride, stride), "padding": (padding,) * 4}
        nodes.append(MaxPool(name=f"{name}.pool", inputs=(name,), **window))  # type: ignore[arg-type]
    nodes.append(
        Requantise(
            name=f"{name}.step", inputs=(nodes[-1].name,), factor=part.factor.numpy(),
            factor_scale=factor_form(part.layer.alpha_scale), offset=part.offset.numpy(), shift=part.shift,
            low=-REACH, high=REACH - 1,
        )
    )  # fmt: skip
    return nodes[-1].name


def _block_nodes(nodes: list[Node], block: QuantisedBlock, before: str) -> str:
    """The nodes of a residual block on the stream ``before``; the name of the last one."""
    name, inner = block.name, block.inner
    nodes.append(_stream_cut(f"{name}.cut", before, block.cut, inner))
    conv = _conv(f"{name}.inner", inner, f"{name}.cut")
    between = thresholds(inner, conv.acc_bounds)
    bases = block.outer.layer.input_bases
    nodes += [conv, Threshold(name=f"{name}.inner.cut", inputs=(conv.name,), thresholds=between, bases=bases)]
    added = _stream_nodes(nodes, f"{name}.outer", block.outer, f"{name}.inner.cut")
    if block.skip is not None:
        assert block.skip.cut is not None  # it reads the stream
        nodes.append(_stream_cut(f"{name}.skip.cut", before, block.skip.cut, block.skip.layer))
        before = _stream_nodes(nodes, f"{name}.skip", block.skip, f"{name}.skip.cut")
    nodes.append(Add(name=f"{name}.sum", inputs=(before, added)))
    return nodes[-1].name


def _stream_cut(name: str, before: str, cut: Tensor, layer: QuantisedLayer) -> Threshold:
    """The least number of steps that reaches each real threshold, the same for all channels."""
    least = [math.ceil(Fraction(t) / Fraction(STEP)) for t in cut.tolist()]
    table = np.tile(np.array(least, np.int64), (layer.in_shape[2], 1))
    return Threshold(name=name, inputs=(before,), thresholds=table, bases=layer.input_bases)
