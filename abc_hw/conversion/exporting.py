"""From a module on bases, of one's own or of :mod:`abc_hw.training.models`, to the integer network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..errors import InputError
from ..network import Graph, Network
from ..training.activation_bases import PixelBases
from ..training.forward import Row
from ..training.layers import abc_layers
from ..training.lowering import to_network
from ..training.models import ABCNet
from ..training.paths import trace_paths
from ..training.residual import ResidualNet
from ..training.stream import has_stream
from ..training.tracing import trace

NORMALISATION = "normalisation"
"""What a network's training record calls the mean and deviation that were folded into its first layer."""


def export(
    model: nn.Module, example: Any = None, *, name: str, classes: Sequence[str],
    training: Mapping[str, Any] | None = None,
) -> Network | Graph:
    """The integer network of a module of ``ABCConv2d`` and ``ABCLinear``, batch norm, ReLU, max-pool and flatten.

    What ``StreamConv2d`` gives may be added up, and averaged by ``StreamMean``; the network is a graph then. All
    may stand in the forward as modules or as functions. PyTorch's
    :func:`~abc_hw.training.quantised.evaluate_integer` gives the same scores, to the last bit.

    Parameters
    ----------
    example : images uint8 [B, C, H, W] or one [C, H, W], of which only the shape counts; an
        :class:`~abc_hw.training.models.ABCNet` needs none
    name : of the network
    classes : one name per output
    training : what is to be kept about the training, JSON values

    Raises
    ------
    InputError
        the module cannot be traced, does what no network does, or has numbers that are not finite; the line names
        the part of the module, what would be right and what was found. :func:`report` lists all of them
    """
    in_shape = None if example is None and isinstance(model, ABCNet | ResidualNet) else shape_of(model, example)
    record = dict(training or {})
    layers = abc_layers(model)
    if layers and isinstance(layers[0].input_bases, PixelBases) and layers[0].input_bases.normalisation:
        record.setdefault(NORMALISATION, layers[0].input_bases.normalisation)
    return to_network(model, name=name, classes=classes, training=record, in_shape=in_shape)


def report(model: nn.Module, example: Any = None) -> list[Row]:
    """What becomes of every node of the module's forward, refused ones among them.

    Raises
    ------
    InputError : the module cannot be traced at all, or fails on the example
    """
    read = trace_paths if has_stream(model) else trace
    return read(model, shape_of(model, example), refuse=False).rows


def shape_of(model: nn.Module, example: Any) -> tuple[int, int, int]:
    """(H, W, C) of the images that a module takes; InputError if the example is none."""
    if example is None and isinstance(model, ABCNet | ResidualNet):
        return model.in_shape
    shape = tuple(example.shape) if isinstance(example, Tensor | np.ndarray) else ()
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(f"example: expected images [B, C, H, W], found {shape or type(example).__name__}")
    channels, height, width = shape[-3:]
    return height, width, channels
