"""Convolutions of a float module that give what is added up or averaged: on bases they give a stream's steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError
from ..training.forward import what, where
from ..training.stream import REACH, STEP, StreamConv2d, StreamMean
from ..training.tracing import ADDITIONS, FLATTENS, RELUS, SAME, VIEWS

__all__ = ["MEAN_OF_STREAM", "Streams", "find_streams", "geometry", "one", "put_streams"]

MEAN_OF_STREAM = (REACH / 255, 1 / (255 * STEP))
"""(code / 255 - mean) / deviation is the number that a code of a StreamMean stands for."""


@dataclasses.dataclass(frozen=True)
class _Place:
    """A convolution whose batch norm, and max-pool if there is one, go into a stream."""

    norm: str
    pool: str | None


@dataclasses.dataclass
class Streams:
    """What gives a stream, and what reads the mean of one.

    Members
    -------
    convs : by the path of each convolution, what follows it
    means : paths of the averages
    readers : paths of the linear layers behind them
    """

    convs: dict[str, _Place] = dataclasses.field(default_factory=dict)
    means: list[str] = dataclasses.field(default_factory=list)
    readers: list[str] = dataclasses.field(default_factory=list)


def find_streams(module: fx.GraphModule) -> Streams:
    """All of a traced float module; none where it neither adds nor averages.

    Raises
    ------
    InputError : what is added or averaged does not come from a convolution with batch norm
    """
    found = Streams()
    for node in module.graph.nodes:
        part = _part(node, module)
        if _adds(node):
            for given in node.all_input_nodes:
                _follow(given, module, found, None)
        elif isinstance(part, nn.AdaptiveAvgPool2d):
            if part.output_size not in (1, (1, 1)):
                raise InputError(f"{node.target}: expected the mean of all pixels, found {part.output_size}")
            found.means.append(str(node.target))
            _follow(node.all_input_nodes[0], module, found, None)
        elif isinstance(part, nn.Linear) and _reads_mean(node.all_input_nodes[0], module):
            found.readers.append(str(node.target))
    return found


def _part(node: fx.Node, module: fx.GraphModule) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _adds(node: fx.Node) -> bool:
    return node.op != "call_module" and node.target in ADDITIONS and len(node.all_input_nodes) == 2


def _passes(node: fx.Node, module: fx.GraphModule, kinds: tuple[Any, ...]) -> bool:
    """Is a node, a module or a function, one of these?"""
    part = _part(node, module)
    return type(part) in kinds if part is not None else node.target in kinds


def _reads_mean(node: fx.Node, module: fx.GraphModule) -> bool:
    while _passes(node, module, (*SAME, *FLATTENS, *VIEWS)):
        node = node.all_input_nodes[0]
    return isinstance(_part(node, module), nn.AdaptiveAvgPool2d)


def _follow(node: fx.Node, module: fx.GraphModule, found: Streams, pool: fx.Node | None) -> None:
    """From what is added back to the convolution that gives it."""
    while _passes(node, module, (*SAME, *RELUS)) and not (pool is not None and len(node.users) > 1):
        node = node.all_input_nodes[0]
    part = _part(node, module)
    if isinstance(part, nn.MaxPool2d) and pool is None:
        _follow(node.all_input_nodes[0], module, found, node)
        return
    if _adds(node) and pool is None:
        return  # what goes into that sum is followed by itself
    before = node.all_input_nodes[0] if isinstance(part, _BatchNorm) else None
    conv = None if before is None else _part(before, module)
    if before is None or not isinstance(conv, nn.Conv2d) or (pool is not None and len(node.users) > 1):
        raise InputError(
            f"{where(node)}: expected a convolution with batch norm before what is added or averaged, found "
            f"{what(node, module)}"
        )
    found.convs[str(before.target)] = _Place(str(node.target), None if pool is None else str(pool.target))


# -- on bases -----------------------------------------------------------------------------------------------


def geometry(layer: nn.Conv2d) -> tuple[int, int]:
    """(stride, padding) of a convolution; InputError if no layer on bases has them."""
    stride, padding = one("stride", layer.stride), one("padding", _padding(layer))
    for name, value, plain in (
        ("groups", layer.groups, 1), ("dilation", one("dilation", layer.dilation), 1),
        ("padding_mode", layer.padding_mode, "zeros"),
    ):
        if value != plain:
            raise InputError(f"{name}: expected {plain}, found {value}")
    return stride, padding


def _padding(layer: nn.Conv2d) -> Any:
    if layer.padding == "same":
        if any(side % 2 == 0 for side in layer.kernel_size):
            raise InputError(f"padding: expected an odd kernel for same, found {layer.kernel_size}")
        return [side // 2 for side in layer.kernel_size]
    return 0 if layer.padding == "valid" else layer.padding


def one(name: str, value: Any) -> int:
    """The number for both directions; InputError if they differ."""
    sides = set(value) if isinstance(value, tuple | list) else {value}
    if len(sides) > 1:
        raise InputError(f"{name}: expected the same for both directions, found {tuple(value)}")
    return int(sides.pop())


def put_streams(
    model: nn.Module, streams: Streams, options: dict[str, dict[str, Any]]
) -> tuple[dict[str, StreamConv2d], list[str]]:
    """Put what gives streams, and means of them, in the place of float modules, of which a copy is given.

    Parameters
    ----------
    options : of each layer on bases, by path

    Returns
    -------
    (the new ones by the paths of the convolutions, what is otherwise than before in words)
    """
    made: dict[str, StreamConv2d] = {}
    lines: list[str] = []
    for path, place in streams.convs.items():
        conv, norm = model.get_submodule(path), model.get_submodule(place.norm)
        pool = None if place.pool is None else model.get_submodule(place.pool)
        try:
            made[path] = _stream(conv, norm, pool, options[path])
        except InputError as error:
            raise InputError(f"{path}.{error}") from None
        replace(model, path, made[path])
        for gone in (place.norm, place.pool):
            if gone is not None:
                replace(model, gone, nn.Identity())
        lines.append(f"{path}: gives whole steps of {STEP:g} within {REACH * STEP:g} of 0, which can be added")
    for path in streams.means:
        replace(model, path, StreamMean())
        lines.append(f"{path}: the mean is rounded to steps of {STEP:g}")
    return made, lines


@torch.no_grad()
def _stream(conv: Any, norm: Any, pool: Any, options: dict[str, Any]) -> StreamConv2d:
    stride, padding = geometry(conv)
    kept = {name: options[name] for name in ("M", "N", "weight_kind", "activation_kind", "scale")}
    window = None
    if pool is not None:
        size = one("kernel_size", pool.kernel_size)
        window = size, one("stride", pool.stride), one("padding", pool.padding)
        if bool((norm.weight < 0).any()):
            raise InputError("norm: expected positive slopes before a max-pool, found negative ones")
    made = StreamConv2d(
        conv.in_channels, conv.out_channels, one("kernel_size", conv.kernel_size), stride, padding, pool=window,
        **kept,
    )
    made.layer.weight.copy_(conv.weight)
    assert made.norm is not None  # each has one
    made.norm.load_state_dict({**made.norm.state_dict(), **norm.state_dict()})
    made.norm.eps = norm.eps
    return made


def replace(model: nn.Module, path: str, part: nn.Module) -> None:
    """Put a module in the place of the one at ``path``."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, part.train(model.training))
