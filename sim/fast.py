"""The golden model's numbers, fast: one ordinary integer convolution per layer.

The sum over all pairs of bases factors, so one product of summed values replaces M x N popcounts::

    acc = sum_m sum_n alpha_m beta_n (B_m . A_n) = (sum_m alpha_m B_m) . (sum_n beta_n A_n)

It runs as a matrix product in float32 or float64, whichever holds every partial sum of the layer exactly, so
the results are the integers of :mod:`abc_hw.sim.golden`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.network import CodeArray, IntArray, Layer, Network

from .golden import check_images

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

FloatArray = npt.NDArray[Any]
"""float32 or float64 that hold integers."""

CHUNK_VALUES = 1 << 22
"""Values under the kernels held at once; it bounds memory and changes no result."""


def run(network: Network, images: npt.NDArray[Any], *, progress: Progress | None = None) -> IntArray:
    """Scores of images: ``uint8 [B, H, W, C] -> int64 [B, classes]``.

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    return np.concatenate([batch[-1] for batch in _batches(network, images, progress)])


def codes(
    network: Network, images: npt.NDArray[Any], *, progress: Progress | None = None
) -> tuple[list[CodeArray], IntArray]:
    """Output codes of every layer before the classifier, uint8 [B, H', W', C_out] each, and the scores.

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    *hidden, scores = (np.concatenate(parts) for parts in zip(*_batches(network, images, progress), strict=True))
    return hidden, scores


def _batches(
    network: Network, images: npt.NDArray[Any], progress: Progress | None
) -> Iterator[list[npt.NDArray[Any]]]:
    """Every layer's output, the scores last, for a bounded number of images at a time."""
    checked = check_images(network, images)
    layers = [_FastLayer(layer) for layer in network.layers]
    widest = max(layer.dots // layer.out_channels * layer.dot_length for layer in network.layers)
    step = max(1, CHUNK_VALUES // widest)
    for start in range(0, len(checked), step):
        outputs: list[npt.NDArray[Any]] = [checked[start : start + step]]
        for layer in layers:
            outputs.append(layer(outputs[-1]))
        yield outputs[1:]
        if progress is not None:
            progress(min(start + step, len(checked)), len(checked))


class _FastLayer:
    """One layer with its tables laid out for the matrix product."""

    def __init__(self, layer: Layer) -> None:
        flat = layer.weights.reshape(layer.out_channels, -1).astype(np.int64)
        weights = np.take_along_axis(layer.weight_bases.values(layer.alpha), flat, axis=1)
        inputs = layer.input_bases.values(layer.beta)
        bound = int(np.abs(weights).sum(axis=1).max()) * int(np.abs(inputs).max()) + 1
        dtype = np.float32 if bound < 1 << 24 else np.float64
        # A layer keeps |acc| < 2**46 at its extremes; partial sums are at most twice that with lopsided betas.
        self.layer = layer
        self.input_values: FloatArray = inputs.astype(dtype)
        self.weight_values: FloatArray = np.ascontiguousarray(weights.T.astype(dtype))
        self.thresholds = None if layer.thresholds is None else layer.thresholds.astype(dtype)

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        acc = self._pool(self._convolve(values))
        if self.thresholds is None:
            return acc[:, 0, 0].astype(np.int64) + np.asarray(self.layer.bias)
        levels = np.zeros(acc.shape, np.uint8)
        for column in self.thresholds.T:
            levels += acc >= column
        return levels

    def _convolve(self, codes: CodeArray) -> FloatArray:
        layer, pad = self.layer, self.layer.padding
        padded = np.pad(codes, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        values = self.input_values[padded]
        view = np.lib.stride_tricks.sliding_window_view(values, layer.kernel, axis=(1, 2))
        view = view[:, :: layer.stride, :: layer.stride].transpose(0, 1, 2, 4, 5, 3)
        acc = view.reshape(-1, layer.dot_length) @ self.weight_values
        return acc.reshape(len(codes), *layer.conv_shape)

    def _pool(self, acc: FloatArray) -> FloatArray:
        """Greatest acc, hence greatest level: thresholds ascend, so pooling may go first."""
        side = self.layer.pool
        if side == 1:
            return acc
        height, width = (size * side for size in self.layer.out_shape[:2])
        pooled = acc[:, 0:height:side, 0:width:side]
        for y in range(side):
            for x in range(side):
                pooled = np.maximum(pooled, acc[:, y:height:side, x:width:side])
        return pooled
