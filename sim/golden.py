"""The golden model: what every block of the accelerator computes, one pure function per block.

An image goes through a layer like this (B images, OH x OW output pixels, K = kernel height x width x C)::

    codes [B, H, W, C]                      uint8, what streams between layers
      windows     -> [B, OH, OW, K]         codes under the kernel, order (ky, kx, c), padding = code 0
      popcounts   -> [B, OH, OW, C_out, M, N]   p = matches between weight basis m and input basis n
      scale       -> [B, OH, OW, C_out]     acc = sum_m alpha[c, m] sum_n beta[n] (2 p - K)
      threshold   -> [B, OH, OW, C_out]     level = #{j : acc >= thresholds[c, j]}
      pool        -> [B, H', W', C_out]     greatest level of each pool x pool square

and the classifier ends with ``scores`` (acc + bias) and ``classify`` (lowest index among the maxima). All
numbers are integers; ``acc`` and scores are int64, which :class:`abc_hw.network.Layer` guarantees to suffice.
Lin, Zhao, Pan, arXiv 1711.11294, equations 1 to 12; :mod:`abc_hw.sim.fast` computes the same numbers faster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.errors import InputError
from abc_hw.network import BoolArray, CodeArray, IntArray, Layer, Network

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
    """All that a network computed: the layers in order, int64 scores [B, classes] and int64 classes [B]."""

    layers: tuple[LayerTrace, ...]
    scores: IntArray
    classes: IntArray


# -- one function per block ---------------------------------------------------------------------------------


def windows(layer: Layer, codes: CodeArray) -> CodeArray:
    """Codes under the kernel at every output pixel: ``[B, H, W, C] -> [B, OH, OW, K]``, order (ky, kx, c).

    Positions outside the image are code 0, every basis at -1.
    """
    pad = layer.padding
    padded = np.pad(codes, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(1, 2))
    view = view[:, :: layer.stride, :: layer.stride].transpose(0, 1, 2, 4, 5, 3)
    return view.reshape(*view.shape[:3], layer.dot_length)


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


def popcounts(layer: Layer, codes: CodeArray) -> IntArray:
    """Matches of each weight basis with each input basis: ``[B, H, W, C] -> [B, OH, OW, C_out, M, N]``."""
    counts = np.concatenate(list(_popcount_chunks(layer, codes)))
    return counts.reshape(len(codes), *layer.conv_shape, *counts.shape[2:])


def scale(layer: Layer, counts: IntArray) -> IntArray:
    """Weighted sum of the bases' dot products: ``[..., C_out, M, N] -> acc [..., C_out]``."""
    dots = 2 * counts - layer.dot_length
    return ((dots @ layer.beta) * layer.alpha).sum(axis=-1)


def threshold(layer: Layer, acc: IntArray) -> CodeArray:
    """How many thresholds each acc reaches (``>=``): ``[..., C_out] -> uint8 [..., C_out]``."""
    if layer.thresholds is None:
        raise ValueError(f"{layer.name} is the classifier and has no thresholds")
    return (acc[..., None] >= layer.thresholds).sum(axis=-1, dtype=np.uint8)


def pool(layer: Layer, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Greatest value of each pool x pool square: ``[B, OH, OW, C] -> [B, H', W', C]``.

    Rows and columns that fill no square are dropped.
    """
    side = layer.pool
    height, width, channels = layer.out_shape
    whole = values[:, : height * side, : width * side]
    return whole.reshape(-1, height, side, width, side, channels).max(axis=(2, 4))


def scores(layer: Layer, acc: IntArray) -> IntArray:
    """The classifier's result: ``acc [B, OH, OW, C_out] -> acc + bias [B, C_out]``, its one (pooled) pixel."""
    return pool(layer, acc)[:, 0, 0] + layer.bias


def classify(values: IntArray) -> IntArray:
    """Lowest index among the greatest scores: ``[B, classes] -> int64 [B]``."""
    return values.argmax(axis=1).astype(np.int64)


# -- layers and networks ------------------------------------------------------------------------------------


def run_layer(layer: Layer, codes: CodeArray, *, keep_popcounts: bool = False) -> LayerTrace:
    """Compute one layer for uint8 codes [B, H, W, C]; popcounts are kept on request, for they are large."""
    if keep_popcounts:
        counts = popcounts(layer, codes)
        acc = scale(layer, counts)
    else:
        counts = None
        flat = np.concatenate([scale(layer, chunk) for chunk in _popcount_chunks(layer, codes)])
        acc = flat.reshape(len(codes), *layer.conv_shape)
    if layer.is_classifier:
        return LayerTrace(name=layer.name, popcounts=counts, acc=acc, levels=None, output=scores(layer, acc))
    levels = threshold(layer, acc)
    return LayerTrace(name=layer.name, popcounts=counts, acc=acc, levels=levels, output=pool(layer, levels))


def run(network: Network, images: npt.NDArray[Any], *, keep_popcounts: bool = False) -> Trace:
    """Compute the network for images, uint8 [B, H, W, C], keeping what every layer computed.

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


def check_images(network: Network, images: npt.NDArray[Any]) -> CodeArray:
    """The images, if the network can take them: uint8 [B, H, W, C], every value a code of its first layer.

    Raises
    ------
    InputError : another type, shape or value, or no image at all; the message says which
    """
    expected = " x ".join(map(str, network.input_shape))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = str(images.dtype) if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(f"images: expected an array of uint8, found {found}")
    if images.ndim != 4 or images.shape[1:] != network.input_shape or not len(images):
        found = " x ".join(map(str, images.shape)) or "a single number"
        raise InputError(f"images: expected shape B x {expected} with B >= 1, found {found}")
    levels = network.layers[0].input_bases.levels
    greatest = int(images.max())
    if greatest >= levels:
        raise InputError(f"images: expected values below {levels}, found {greatest}")
    return images


def _popcount_chunks(layer: Layer, codes: CodeArray) -> Iterator[IntArray]:
    """Popcounts [pixels, C_out, M, N] of consecutive pixels of all images, a bounded number at a time."""
    m, n, channels = layer.weight_bases.count, layer.input_bases.count, layer.out_channels
    flat_weights = layer.weights.reshape(channels, layer.dot_length)
    weight_words = pack(layer.weight_bases.expand(flat_weights).transpose(0, 2, 1))  # [C_out, M, words]
    pixels = layer.conv_shape[0] * layer.conv_shape[1]
    words = weight_words.shape[-1]
    step = max(1, CHUNK_WORDS // (channels * m * n * words))
    images_at_once = max(1, step // pixels)
    for image in range(0, len(codes), images_at_once):
        under = windows(layer, codes[image : image + images_at_once]).reshape(-1, layer.dot_length)
        for start in range(0, len(under), step):
            bits = layer.input_bases.expand(under[start : start + step]).transpose(0, 2, 1)
            input_words = pack(bits)  # [pixels, N, words]
            yield xnor_popcount(weight_words[:, :, None], input_words[:, None, None], layer.dot_length)
