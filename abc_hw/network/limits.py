"""How large a network may be: asked before anything of that size is made, wherever a network is read or made.

The limits lie far above what fits a device; they keep a file of a few bytes from taking all memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ..errors import NetworkError

MAX_LAYERS = 512

MAX_NODES = 4 * MAX_LAYERS
"""Of a graph."""

MAX_SIDE = 1 << 15
"""Of an image or kernel, and channels, classes, strides and pools."""

MAX_VALUES = 1 << 24
"""Of a feature map: H x W x C."""

MAX_DOT = 1 << 20
"""Weights of one output channel of a layer."""

MAX_WEIGHTS = 1 << 25
"""Of all layers together."""

MAX_NAME = 1000
"""Letters of a name."""

MAX_FILE = 1 << 26
"""Bytes of a network file."""

MAX_HEADER = 1 << 23
"""Bytes of its header."""

Side = Annotated[int, Field(ge=1, le=MAX_SIDE, strict=True)]
Name = Annotated[str, Field(strict=True, max_length=MAX_NAME)]


def check_name(where: str, name: str) -> None:
    """NetworkError if the name is too long."""
    if len(name) > MAX_NAME:
        raise NetworkError(where, f"a name of at most {MAX_NAME} letters", f"one of {len(name)}")


def check_shape(where: str, shape: Sequence[int]) -> None:
    """NetworkError if the feature map [H, W, C] is too large."""
    if max(shape) > MAX_SIDE:
        raise NetworkError(where, f"sides and channels of at most {MAX_SIDE}", max(shape))
    if math.prod(shape) > MAX_VALUES:
        raise NetworkError(where, f"at most {MAX_VALUES} values", math.prod(shape))


def check_weights(name: str, shape: Sequence[int], before: int = 0) -> int:
    """Weights so far, those of this layer included.

    Parameters
    ----------
    name : of the layer
    shape : [C_out, kernel height, kernel width, C_in] of its weights
    before : weights of the layers before it

    Raises
    ------
    NetworkError : too many
    """
    if max(shape) > MAX_SIDE:
        raise NetworkError(f"{name}.weights", f"sides and channels of at most {MAX_SIDE}", max(shape))
    if math.prod(shape[1:]) > MAX_DOT:
        raise NetworkError(f"{name}.weights", f"at most {MAX_DOT} weights for a channel", math.prod(shape[1:]))
    weights = before + math.prod(shape)
    if weights > MAX_WEIGHTS:
        raise NetworkError(f"{name}.weights", f"at most {MAX_WEIGHTS} weights up to here", weights)
    return weights


def check_nodes(count: int) -> None:
    """NetworkError if there are too many nodes."""
    if count > MAX_NODES:
        raise NetworkError("nodes", f"at most {MAX_NODES} of them", count)


def check_layers(count: int) -> None:
    """NetworkError if there are too many layers."""
    if count > MAX_LAYERS:
        raise NetworkError("layers", f"at most {MAX_LAYERS} of them", count)
