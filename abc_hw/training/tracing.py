"""From any module to the layers that hardware has: what its forward does, read off by ``torch.fx``.

A network is a chain of layers on bases; between two of them stand at most a max-pool, batch norms and a ReLU. What
else a forward does is either without effect in evaluation, or refused by its path in the module.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError
from .activation_bases import PixelBases, Unquantised
from .forward import NodeReader, Row, Shape, run_once, where
from .layers import ABCConv2d, ABCLinear, abc_layers
from .models import ABCBlock
from .normalise import Normalise
from .stream import has_stream


@dataclasses.dataclass(kw_only=True, eq=False)
class Stage:
    """A layer and all that follows it up to the next one.

    Members
    -------
    name : lower-case identifier;  path : of the layer in the module
    in_shape : (H, W, C) of its input
    layer : ABCConv2d or ABCLinear
    pool : side and stride of the max-pool, 1 for none
    norms : batch norms behind it, in order, each with its path
    pooled_norms : those of them that stand behind the pool, whose slope must not be negative
    relu : whether a ReLU follows
    """

    name: str
    path: str
    in_shape: Shape
    layer: ABCConv2d | ABCLinear
    pool: int = 1
    norms: list[tuple[str, _BatchNorm]] = dataclasses.field(default_factory=list)
    pooled_norms: list[str] = dataclasses.field(default_factory=list)
    relu: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """The layers of a module, and what became of every node of its forward."""

    stages: list[Stage]
    rows: list[Row]


# -- from nodes to layers -----------------------------------------------------------------------------------

SAME = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout,
    functional.dropout, functional.dropout1d, functional.dropout2d,
    "contiguous", "clone", "detach", "float", "double", "to",
)
"""Without effect on the numbers in evaluation."""

ENDINGS = (nn.Softmax, nn.LogSoftmax, functional.softmax, functional.log_softmax, "softmax", "log_softmax",
           torch.softmax, torch.log_softmax)
"""What may stand behind the scores: it rises with them, so the class is the same without it."""

RELUS = (nn.ReLU, functional.relu, torch.relu, torch.relu_, "relu", "relu_")
FLATTENS = (nn.Flatten, torch.flatten, "flatten")
VIEWS = ("view", "reshape", torch.reshape)
POOLS = (nn.MaxPool2d, functional.max_pool2d, torch.max_pool2d)

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")

ARITHMETIC = (
    operator.truediv, operator.sub, operator.mul, torch.div, torch.sub, torch.mul, "div", "sub", "mul", "div_",
    "sub_", "mul_",
)

INSTEAD: dict[Any, str] = {
    operator.add: "sums of streams only, which abc_hw.StreamConv2d gives",
    nn.Conv2d: "ABCConv2d, which abc_hw.convert makes of it",
    nn.Linear: "ABCLinear, which abc_hw.convert makes of it",
    nn.AvgPool2d: "a max-pool",
    torch.cat: "one path, for layers come one after another",
    operator.truediv: "abc_hw.Normalise in front, which abc_hw.convert puts into the first layer",
    Normalise: "pixels as they are, which layers on bases take",
    nn.GELU: "a ReLU, or no activation before layers on bases",
}
"""What to do in the place of operators that are often met."""

ALIKE: dict[Any, Any] = {
    **dict.fromkeys(ADDITIONS, operator.add),
    functional.conv2d: nn.Conv2d, torch.conv2d: nn.Conv2d, functional.linear: nn.Linear,
    nn.AdaptiveAvgPool2d: nn.AvgPool2d, functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AvgPool2d, "mean": nn.AvgPool2d, torch.mean: nn.AvgPool2d,
    **dict.fromkeys(ARITHMETIC, operator.truediv), torch.concat: torch.cat,
    functional.gelu: nn.GELU, nn.SiLU: nn.GELU, functional.silu: nn.GELU,
    nn.LeakyReLU: nn.GELU, functional.leaky_relu: nn.GELU, nn.Sigmoid: nn.GELU, torch.sigmoid: nn.GELU,
    nn.Tanh: nn.GELU, torch.tanh: nn.GELU, nn.Hardtanh: nn.GELU, nn.ReLU6: nn.GELU, nn.ELU: nn.GELU,
}


def trace(model: nn.Module, in_shape: Shape, *, refuse: bool = True) -> Traced:
    """The layers of a module that takes images (H, W, C) as uint8 [B, C, H, W], and what became of each node.

    Parameters
    ----------
    refuse : stop at the first node that no network has; else list it, and go on as if it were not there

    Raises
    ------
    InputError
        a forward that cannot be traced or does not fit the images; the first node that no network has: its path,
        what would be right, its operator
    """
    reader = _Reader(model, in_shape)
    reader.read(refuse=refuse)
    return Traced(reader.stages, reader.rows)


class _Reader(NodeReader):
    """The state is the chain so far, and where its end is known by."""

    def __init__(self, model: nn.Module, in_shape: Shape) -> None:
        super().__init__(model, in_shape)
        self.model = model
        self.stages: list[Stage] = []
        self.shape = in_shape
        """(H, W, C) at the end of the chain"""
        self.end: fx.Node | None = None
        self.done = False

    def take(self, node: fx.Node) -> str:
        """What became of the node, nothing if that is of no interest; InputError if no network has it."""
        if node.op == "placeholder":
            if self.end is None:
                self.end = node
                return "the image"
            raise InputError(f"{node.target}: expected one input, found another")
        if node.op == "output":
            return self._output(node)
        if node.op == "get_attr" or self.shapes.get(node) is None:
            return ""  # numbers such as a size; what computes with them is looked at where it does
        self._follows(node)
        return self._operate(node)

    def pass_by(self, node: fx.Node) -> None:
        """Go on behind it."""
        self.end = node if self.shapes.get(node) is not None else self.end

    def _follows(self, node: fx.Node) -> None:
        """The chain goes on from its end, and only from there."""
        tensors = [
            argument for argument in node.all_input_nodes
            if self.shapes.get(argument) is not None and argument.op != "get_attr"
        ]
        key = self._key(node)
        if ALIKE.get(key, key) in INSTEAD:
            self._refuse(node, INSTEAD[ALIKE.get(key, key)])
        if tensors != [self.end]:
            self._refuse(node, "the result of the operator before it as its only input")

    def _operate(self, node: fx.Node) -> str:
        key, called = self._key(node), self._called(node)
        if isinstance(called, ABCConv2d | ABCLinear):
            became = self._layer(node, called)
        elif isinstance(called, _BatchNorm):
            became = self._norm(node, called)
        elif key in RELUS:
            became = self._relu(node)
        elif key in POOLS:
            became = self._pool(node, called)
        elif key in FLATTENS or key in VIEWS:
            became = self._flatten(node)
        elif key in ENDINGS:
            self._last(node)
            self.done = True
            became = "left out: the class is the same"
        elif key in SAME:
            became = "nothing in evaluation"
        else:
            known = "a layer on bases, max-pool, batch norm, ReLU or flatten"
            self._refuse(node, known)
        self.end = node
        return became

    def _layer(self, node: fx.Node, layer: ABCConv2d | ABCLinear) -> str:
        shape = self.shapes[node.all_input_nodes[0]] or ()
        if isinstance(layer, ABCLinear) and len(shape) != 2:
            self._refuse(node, "a flatten before it", f"an input of shape {shape}")
        if self.done:
            self._refuse(node, "nothing behind the scores")
        first = not self.stages
        if first and not isinstance(layer.input_bases, PixelBases | Unquantised):
            self._refuse(node, "activation_kind pixels in the first layer", "others")
        if not first and isinstance(layer.input_bases, PixelBases):
            behind = self.stages[-1].name
            raise InputError(
                f"{where(node)}.activation_kind: expected learned bases behind {behind}, found others"
            )
        stage = Stage(name=self._name(node), path=where(node), in_shape=self.shape, layer=layer)
        self.stages.append(stage)
        if isinstance(layer, ABCLinear):
            self.shape = (1, 1, layer.out_features)
        else:
            height, width = (self.shapes[node] or ())[2:]
            self.shape = (height, width, layer.out_channels)
        return f"layer {stage.name}"

    def _name(self, node: fx.Node) -> str:
        """The path as an identifier; blocks of :class:`~abc_hw.training.models.ABCNet` have names of their own."""
        path = str(node.target)
        parent = self.model.get_submodule(path.rpartition(".")[0])
        name = parent.block.name if isinstance(parent, ABCBlock) else path.replace(".", "_").lower()
        name = name if name.isidentifier() else f"layer{name}"
        taken = {stage.name for stage in self.stages}
        return next(
            candidate for number in range(1, len(taken) + 2)
            if (candidate := name if number == 1 else f"{name}_{number}") not in taken
        )

    def _behind(self, node: fx.Node) -> Stage:
        if not self.stages:
            self._refuse(node, "a layer on bases first, for pixels go into it as they are")
        return self.stages[-1]

    def _norm(self, node: fx.Node, norm: _BatchNorm) -> str:
        stage = self._behind(node)
        if stage.relu:
            self._refuse(node, "batch norm before the ReLU", f"{type(norm).__name__} behind it")
        if norm.running_mean is None:
            self._refuse(node, "running statistics", "track_running_stats=False")
        path = where(node)
        stage.norms.append((path, norm))
        if stage.pool > 1:
            stage.pooled_norms.append(path)
        return f"thresholds of {stage.name}"

    def _relu(self, node: fx.Node) -> str:
        stage = self._behind(node)
        stage.relu = True
        return f"thresholds of {stage.name}"

    def _pool(self, node: fx.Node, called: nn.Module | None) -> str:
        stage = self._behind(node)
        side, found = square_pool(node, called)
        if side is None:
            self._refuse(node, "a max-pool of squares side by side without padding", found)
        if stage.pool > 1:
            self._refuse(node, f"one max-pool behind {stage.name}", "a second")
        if len(self.shapes[node] or ()) != 4:
            self._refuse(node, "a max-pool of a map", f"shape {self.shapes[node]}")
        stage.pool = side
        height, width, channels = self.shape
        self.shape = (height // stage.pool, width // stage.pool, channels)
        return f"max-pool of {stage.name}"

    def _flatten(self, node: fx.Node) -> str:
        return "order of weights" if self._check_flat(node) else "nothing"

    def _last(self, node: fx.Node) -> Stage:
        stage = self._behind(node)
        if stage.relu or stage.norms or stage.pool > 1 or self.shape[:2] != (1, 1):
            self._refuse(node, f"scores of a last layer with nothing behind {stage.path}", "more")
        return stage

    def _output(self, node: fx.Node) -> str:
        if node.args != (self.end,):
            raise InputError("output: expected the scores of the last layer, found another result or several")
        stage = self._last(node)
        check_last(stage)
        return f"scores of {stage.name}"


def check_last(stage: Stage) -> None:
    """InputError unless the scores of a layer can be compared with one another."""
    if not stage.layer.common_scale and stage.layer.kind != "float":
        raise InputError(f"{stage.path}.common_scale: expected True in the last layer, found False")


def square_pool(node: fx.Node, called: nn.Module | None) -> tuple[int | None, str]:
    """The side of a max-pool of squares side by side without padding, None for another; and its size in words."""
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    if called is not None:
        said = {name: getattr(called, name) for name in names}
    else:
        said = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    kernel = _pair(said.get("kernel_size"))
    stride = _pair(said.get("stride") or kernel)
    plain = kernel == stride and kernel[0] == kernel[1] and not said.get("ceil_mode")
    plain = plain and _pair(said.get("padding") or 0) == (0, 0) and _pair(said.get("dilation") or 1) == (1, 1)
    return int(kernel[0]) if plain else None, f"size {kernel}, {stride}"


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def check_module(model: nn.Module, in_shape: Shape, classes: int) -> None:
    """InputError unless the module gives scores for images, and a network can be made of it if it is on bases."""
    _, scores = run_once(model, in_shape)
    if scores != (1, classes):
        expected = f"scores of shape (1, {classes}) for an image and {classes} classes"
        raise InputError(f"{type(model).__name__}: expected {expected}, found {scores}")
    if has_stream(model):
        from .paths import trace_paths

        trace_paths(model, in_shape)
    elif abc_layers(model):
        trace(model, in_shape)
