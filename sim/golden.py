"""The golden model: what every node of a network and every block of the accelerator computes.

One pure function for each node of :mod:`abc_hw.network.nodes`, of the name of its ``kind``; a network is run as it
is written. Where one node is several blocks of hardware, each block has a function too. The codes of an image go
through a layer like this (B images, OH x OW output pixels, K = kernel height x width x C)::

    codes [B, H, W, C]                      uint8, what streams between layers
      windows     -> [B, OH, OW, K]         codes under the kernel, order (ky, kx, c)
      popcounts   -> [B, OH, OW, C_out, M, N]   p = matches between weight basis m and input basis n
      scale       -> [B, OH, OW, C_out]     acc = sum_m alpha[c, m] sum_n beta[n] (2 p - K)
      threshold   -> [B, OH, OW, C_out]     level = #{j : acc >= thresholds[c, j]}
      max_pool    -> [B, H', W', C_out]     greatest level of each window

the first three of which are the node ``conv``; the last layer ends with ``scores`` (acc + bias) and ``classify``
(lowest index among the maxima). All numbers are integers: codes are uint8, all others int64, which the bounds of
:mod:`abc_hw.network` guarantee to suffice. Lin, Zhao, Pan, arXiv 1711.11294, equations 1 to 12;
:mod:`abc_hw.sim.fast` computes the same numbers faster.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.errors import InputError
from abc_hw.network import BoolArray, CodeArray, Graph, IntArray, Layer, Network
from abc_hw.network.edges import swept
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT
from abc_hw.network.node import PointwiseNode
from abc_hw.network.nodes import (
    Add,
    Conv,
    Decode,
    Encode,
    MaxPool,
    Output,
    Requantise,
    Scores,
    SumPool,
    Table,
    Threshold,
)  # fmt: skip

WordArray = npt.NDArray[np.uint64]

WORD = 64
"""Bits in a packed word."""

CHUNK_WORDS = 1 << 21
"""XNOR words held at once; it bounds memory and changes no result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerTrace:
    """All that one layer computed.

    Members
    -------
    name : the layer's
    popcounts : int64 [B, OH, OW, C_out, M, N], or None where they were not asked for
    acc : int64 [B, OH, OW, C_out]
    levels : uint8 [B, OH, OW, C_out] before pooling, None in the classifier
    output : uint8 [B, H', W', C_out], the next layer's codes; in the classifier int64 scores [B, classes]
    """

    name: str
    popcounts: IntArray | None
    acc: IntArray
    levels: CodeArray | None
    output: npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """All that a chain computed: the layers in order, int64 scores [B, classes] and int64 classes [B]."""

    layers: tuple[LayerTrace, ...]
    scores: IntArray
    classes: IntArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphTrace:
    """All that a graph computed.

    Members
    -------
    values : by the name of the node, and "input": uint8 codes or int64, [B, H, W, C]
    output : what the last node hands out: int64 scores [B, classes], or its map
    """

    values: Mapping[str, npt.NDArray[Any]]
    output: npt.NDArray[Any]

    @property
    def classes(self) -> IntArray:
        """Lowest index among the greatest scores: int64 [B]."""
        return classify(self.output)


# -- convolution: one function per block --------------------------------------------------------------------


def windows(node: Conv, codes: CodeArray, group: int = 0) -> CodeArray:
    """Codes under the kernel at every output pixel: ``[B, H, W, C] -> [B, OH, OW, K]``, order (ky, kx, c).

    Of the channels of one group. Positions outside the image are the padding code, or code 0 if there is none.
    """
    depth = node.in_channels // node.groups
    seen = codes[..., group * depth : (group + 1) * depth]
    code = node.padding_codes[group * depth : (group + 1) * depth]
    under = _swept(_padded(seen, node.padding, code), node.kernel, node.stride)
    return under.reshape(*under.shape[:3], node.dot_length)


def pack(bits: BoolArray) -> WordArray:
    """Bits as words, lowest bit first, the last word filled up with 0: ``[..., K] -> [..., ceil(K / 64)]``."""
    missing = -bits.shape[-1] % WORD
    filled = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    packed = np.ascontiguousarray(np.packbits(filled, axis=-1, bitorder="little"))
    return packed.view("<u8").astype(np.uint64, copy=False)


def xnor_popcount(weight_words: WordArray, input_words: WordArray, length: int) -> IntArray:
    """In how many of ``length`` (K) positions do packed weights and inputs agree?

    ``[..., words]`` against ``[..., words]``, broadcast, ``-> int64 [...]``. A dot product of the +-1 they
    stand for is ``2 p - K``.
    """
    return length - np.bitwise_count(weight_words ^ input_words).sum(axis=-1, dtype=np.int64)


def popcounts(node: Conv, codes: CodeArray) -> IntArray:
    """Matches of each weight basis with each input basis: ``[B, H, W, C] -> [B, OH, OW, C_out, M, N]``."""
    counts = np.concatenate(list(_popcount_chunks(node, codes)))
    return counts.reshape(len(codes), *_places(node, codes), *counts.shape[1:])


def scale(node: Conv, counts: IntArray) -> IntArray:
    """Weighted sum of the bases' dot products: ``[..., C_out, M, N] -> acc [..., C_out]``."""
    dots = 2 * counts - node.dot_length
    return ((dots @ node.beta) * node.alpha).sum(axis=-1)


def outside(node: Conv, codes: CodeArray) -> IntArray:
    """What positions outside add to acc when they are read as code 0: ``[B, H, W, C] -> [1, OH, OW, C_out]``."""
    parts = []
    for group, weights in enumerate(np.split(node.weight_values, node.groups)):
        beyond = windows(node, np.ones_like(codes[:1]), group) == 0
        parts.append(int(node.input_values[0]) * (beyond @ weights.reshape(len(weights), -1).T))
    return np.concatenate(parts, axis=-1)


# -- one function per node ----------------------------------------------------------------------------------


def table(node: Table, codes: CodeArray) -> CodeArray:
    """The entry of each code: uint8, any shape."""
    return node.entries[codes]


def conv(node: Conv, codes: CodeArray) -> IntArray:
    """acc of each window: ``uint8 [B, H, W, C] -> int64 [B, OH, OW, C_out]``.

    Without a padding code, positions outside count nothing.
    """
    flat = np.concatenate([scale(node, chunk) for chunk in _popcount_chunks(node, codes)])
    acc = flat.reshape(len(codes), *_places(node, codes), node.out_channels)
    return acc - outside(node, codes) if node.padding_code is None else acc


def threshold(node: Threshold, values: IntArray) -> CodeArray:
    """How many thresholds each value reaches (``>=``): ``int64 [..., C] -> uint8 [..., C]``."""
    reached = np.zeros(values.shape, np.uint8)
    for column in node.thresholds.T:
        reached += values >= column
    return reached


def encode(node: Encode, values: IntArray) -> CodeArray:
    """``x - low``: int64 -> uint8, any shape."""
    return (values - node.low).astype(np.uint8)


def decode(node: Decode, codes: CodeArray) -> IntArray:
    """``sum_n beta[n] A_n`` of each code: uint8 -> int64, any shape."""
    return node.values[codes]


def requantise(node: Requantise, values: IntArray) -> IntArray:
    """``clip((x factor[c] + offset[c]) >> shift, low, high)``: int64 [..., C]; the shift rounds down."""
    return np.clip((values * node.factor + node.offset) >> node.shift, node.low, node.high)


def add(node: Add, values: IntArray, others: IntArray) -> IntArray:
    """The sum: int64, equal shapes."""
    return values + others


def max_pool(node: MaxPool, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Greatest value of each window, least where ``node.least``: ``[B, H, W, C] -> [B, OH, OW, C]``.

    Positions outside never win; rows and columns that fill no window are dropped.
    """
    signs = 1 if node.least is None else np.where(node.least, -1, 1)
    under = _swept(_padded(values.astype(np.int64) * signs, node.padding, -(1 << 62)), node.size, node.stride)
    return (under.max(axis=(3, 4)) * signs).astype(values.dtype)


def sum_pool(node: SumPool, values: IntArray) -> IntArray:
    """Sum of each window, positions outside 0: ``int64 [B, H, W, C] -> int64 [B, OH, OW, C]``."""
    return _swept(_padded(values, node.padding, 0), node.size, node.stride).sum(axis=(3, 4))


def scores(node: Scores, values: IntArray) -> IntArray:
    """``x + bias`` of the one pixel: ``int64 [B, 1, 1, C] -> int64 [B, classes]``."""
    return values[:, 0, 0] + node.bias


def output(node: Output, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What arrives, as it is."""
    return values


def classify(values: IntArray) -> IntArray:
    """Lowest index among the greatest scores: ``[B, classes] -> int64 [B]``."""
    return values.argmax(axis=1).astype(np.int64)


NODES: Mapping[str, Callable[..., npt.NDArray[Any]]] = {
    function.__name__: function
    for function in (table, conv, threshold, encode, decode, requantise, add, max_pool, sum_pool, scores, output)
}
"""The function of each node's kind: the node and its inputs in, its output out."""


def _offered(node: PointwiseNode, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A node of another package."""
    return node.compute(values)


# -- layers and networks ------------------------------------------------------------------------------------


def run_layer(layer: Layer | Fused, codes: CodeArray, *, keep_popcounts: bool = False) -> LayerTrace:
    """Compute one layer for uint8 codes [B, H, W, C]; popcounts are kept on request, for they are large."""
    layer = layer.fused
    counts = popcounts(layer.conv, codes) if keep_popcounts else None
    acc = conv(layer.conv, codes) if counts is None else scale(layer.conv, counts)
    if layer.hands_on_integers:
        result = acc if layer.bias is None else scores(layer.scores, acc)
        return LayerTrace(name=layer.name, popcounts=counts, acc=acc, levels=None, output=result)
    levels = threshold(layer.threshold, acc)
    pooled = max_pool(layer.max_pool, levels)
    return LayerTrace(name=layer.name, popcounts=counts, acc=acc, levels=levels, output=pooled)


def run(network: Network, images: npt.NDArray[Any], *, keep_popcounts: bool = False) -> Trace:
    """Compute a chain for images, uint8 [B, H, W, C], keeping what every layer computed.

    Raises
    ------
    InputError : the images do not fit, see :func:`check_images`
    """
    codes = check_images(network, images)
    layers = []
    for layer in network.layers:
        layers.append(run_layer(layer, codes, keep_popcounts=keep_popcounts))
        codes = layers[-1].output
    return Trace(layers=tuple(layers), scores=layers[-1].output, classes=classify(layers[-1].output))


def run_graph(graph: Graph, images: npt.NDArray[Any]) -> GraphTrace:
    """Compute a graph for images, keeping what every node computed.

    Raises
    ------
    InputError : the images do not fit, see :func:`check_images`
    """
    values: dict[str, npt.NDArray[Any]] = {INPUT: check_images(graph, images)}
    for node in graph.nodes:
        function = NODES.get(node.kind, _offered)
        values[node.name] = function(node, *(values[name] for name in node.inputs))
    return GraphTrace(values=values, output=values[graph.nodes[-1].name])


def check_images(network: Network | Graph, images: npt.NDArray[Any]) -> CodeArray:
    """The images as codes uint8 [B, H, W, C], if the network can take them.

    They are arrays of uint8, or of int8 where the network's are signed: then the codes are the numbers with their
    sign bit inverted. Sides of 1 may be left out: [B, W, C] where H is 1, [B, C] where W is 1 as well.

    Raises
    ------
    InputError : another type, shape or value, or no image at all; the message says which
    """
    kind = np.int8 if network.signed else np.uint8
    shape = network.input_shape
    expected = " x ".join(map(str, shape))
    if not isinstance(images, np.ndarray) or images.dtype != kind:
        found = str(images.dtype) if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(f"images: expected an array of {np.dtype(kind)}, found {found}")
    accepted = [shape[ones:] for ones in range(3) if shape[:ones] == (1,) * ones]
    if not images.ndim or images.shape[1:] not in accepted or not len(images):
        found = " x ".join(map(str, images.shape)) or "a single number"
        raise InputError(f"images: expected shape B x {expected} with B >= 1, found {found}")
    levels = network.input.bases.levels
    lowest = -(levels // 2) if network.signed else 0
    greatest, least = int(images.max()), int(images.min())
    if greatest >= lowest + levels:
        raise InputError(f"images: expected values below {lowest + levels}, found {greatest}")
    if least < lowest:
        raise InputError(f"images: expected values from {lowest} on, found {least}")
    codes = images.view(np.uint8) - np.uint8(lowest % 256) if network.signed else images
    return codes.reshape(len(images), *shape)


# -- windows and words --------------------------------------------------------------------------------------


def _padded(
    values: npt.NDArray[Any], padding: tuple[int, int, int, int], fill: int | CodeArray
) -> npt.NDArray[Any]:
    """``fill`` outside: one number, or one for each channel."""
    (count, height, width, channels), (top, bottom, left, right) = values.shape, padding
    padded = np.empty((count, top + height + bottom, left + width + right, channels), values.dtype)
    padded[...] = fill
    padded[:, top : top + height, left : left + width] = values
    return padded


def _swept(values: npt.NDArray[Any], size: tuple[int, int], stride: tuple[int, int]) -> npt.NDArray[Any]:
    """All windows: ``[B, H, W, C] -> [B, OH, OW, size, size, C]``."""
    view = np.lib.stride_tricks.sliding_window_view(values, size, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def _places(node: Conv, codes: CodeArray) -> tuple[int, int]:
    """(OH, OW)"""
    height, width, channels = codes.shape[1:]
    return swept(node.name, (height, width, channels), node.kernel, node.stride, node.padding)


def _popcount_chunks(node: Conv, codes: CodeArray) -> Iterator[IntArray]:
    """Popcounts [pixels, C_out, M, N] of consecutive pixels of all images, a bounded number at a time."""
    m, n, channels = node.weight_bases.count, node.input_bases.count, node.out_channels
    bits = node.weight_bases.expand(node.weights.reshape(channels, node.dot_length)).transpose(0, 2, 1)
    by_group = np.split(pack(bits), node.groups)  # [C_out / groups, M, words] each
    step = max(1, CHUNK_WORDS // (channels * m * n * by_group[0].shape[-1]))
    pixels = math.prod(_places(node, codes))
    images_at_once = max(1, step // pixels)
    for image in range(0, len(codes), images_at_once):
        some = codes[image : image + images_at_once]
        under = [windows(node, some, group).reshape(-1, node.dot_length) for group in range(node.groups)]
        for start in range(0, len(under[0]), step):
            counts = []
            for words, seen in zip(by_group, under, strict=True):
                inputs = pack(node.input_bases.expand(seen[start : start + step]).transpose(0, 2, 1))
                counts.append(xnor_popcount(words[:, :, None], inputs[:, None, None], node.dot_length))
            yield np.concatenate(counts, axis=1)
