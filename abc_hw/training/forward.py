"""The forward of any module: as a graph of its operators, and run once on an image."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import InputError
from .activation_bases import PixelBases
from .layers import ABCConv2d, ABCLinear, BatchNorm
from .models import ABCNet
from .normalise import Normalise
from .residual import ResidualNet
from .stream import StreamBlock, StreamMean

Shape = tuple[int, int, int]
"""(H, W, C)"""


class _Tracer(fx.Tracer):
    """Layers on bases and batch norms are nodes, as all modules of torch are."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        ours = ABCConv2d | ABCLinear | BatchNorm | Normalise | StreamBlock | StreamMean
        return isinstance(module, ours) or super().is_leaf_module(module, path)


class _Shapes(fx.Interpreter):
    """Runs the graph once and keeps the shape of what each node gives; None for what is no tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...] | None] = {}

    def run_node(self, node: fx.Node) -> Any:
        try:
            given = super().run_node(node)
        except Exception as error:  # whatever a part of the user's module raises
            reason = _line(error)
            reason = reason if isinstance(error, InputError) else f"expected a fitting input, found {reason}"
            raise InputError(f"{where(node)}: {self._pixels_first(node) or reason}") from None
        self.shapes[node] = tuple(given.shape) if isinstance(given, Tensor) else None
        return given

    def _pixels_first(self, node: fx.Node) -> str:
        """What is wrong with what takes the images, but not as pixels."""
        images = next((before for before in node.all_input_nodes if before.op == "placeholder"), None)
        part = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        if images is None or isinstance(getattr(part, "input_bases", None), PixelBases):
            return ""
        if isinstance(part, ABCConv2d | ABCLinear):
            return "expected activation_kind pixels in the first layer, found others"
        if self.env[images].dtype != torch.uint8:
            return ""
        found = getattr(node.target, "__name__", node.target) if part is None else type(part).__name__
        return f"expected a layer on bases first, for pixels go into it as they are, found {found}"


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The module in evaluation mode and its type the default, and all as it was afterwards."""
    modes = {module: module.training for module in model.modules()}
    numbers = [p.dtype for p in model.parameters() if p.is_floating_point()]
    usual = torch.get_default_dtype()
    model.eval()
    torch.set_default_dtype(numbers[0] if numbers else usual)  # what pixels become
    try:
        yield
    finally:
        torch.set_default_dtype(usual)
        for module, mode in modes.items():
            module.training = mode


def graph_of(model: nn.Module, image: Tensor) -> tuple[fx.GraphModule, dict[fx.Node, tuple[int, ...] | None]]:
    """The forward of a module in evaluation as a graph, and the shape of what each node gives for ``image``.

    Raises
    ------
    InputError : it cannot be traced, which names the module's class, or fails on the image, which names a part
    """
    kind = type(model).__name__
    with evaluating(model), torch.no_grad():
        try:
            module = fx.GraphModule(model, _Tracer().trace(model), class_name=kind)
        except Exception as error:  # whatever the user's forward does with what is not a tensor
            raise InputError(f"{kind}: expected a forward that torch.fx can trace, found {_line(error)}") from None
        shapes = _Shapes(module)
        try:
            shapes.run(image.to(next(iter(model.parameters()), image).device))
        except InputError as error:  # with more lines, which fx adds
            raise InputError(_line(error)) from None
    return module, shapes.shapes


def multiplying_in(precision: str, images: Tensor) -> torch.autocast:
    """Convolutions of these images multiply in ``precision``, a ``TrainingConfig``'s, while the context lasts."""
    return torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")


def batch_of(model: nn.Module, images: Tensor) -> Tensor:
    """Images [B, H, W, C] as a module takes them, [B, C, H, W].

    They stay as they lie in memory, but for a module of one's own, which may look at them with ``view``.
    """
    batch = images.permute(0, 3, 1, 2)
    return batch if isinstance(model, ABCNet | ResidualNet) else batch.clone(memory_format=torch.contiguous_format)


def _line(error: Exception) -> str:
    return " ".join(str(error).partition("\n")[0].split()) or type(error).__name__


def where(node: fx.Node) -> str:
    """The path of a node in its module: that of the module called, or of the one whose forward calls it."""
    if node.op in ("call_module", "get_attr"):
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}))
    if stack:
        return str(stack[-1])
    root = node.graph.owning_module
    return "forward" if root is None else f"{type(root).__name__}.forward"


def what(node: fx.Node, module: fx.GraphModule) -> str:
    """The operator of a node."""
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__name__
    return str(getattr(node.target, "__name__", node.target))


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one node of a forward.

    Members
    -------
    path : where in the module it stands;  operator : what it is
    became : what it is in the network; a refusal if ``refused``
    """

    path: str
    operator: str
    became: str
    refused: bool = False


class NodeReader(abc.ABC):
    """Takes the nodes of a forward one by one; ``rows`` tell what became of each.

    Parameters
    ----------
    model : takes images (H, W, C) as uint8 [B, C, H, W]
    in_shape : (H, W, C)

    Raises
    ------
    InputError : as :func:`graph_of`
    """

    def __init__(self, model: nn.Module, in_shape: Shape) -> None:
        height, width, channels = in_shape
        image = torch.zeros(1, channels, height, width, dtype=torch.uint8)
        self.module, self.shapes = graph_of(model, image)
        self.rows: list[Row] = []

    @abc.abstractmethod
    def take(self, node: fx.Node) -> str:
        """What became of the node, nothing if that is of no interest; InputError if no network has it."""

    @abc.abstractmethod
    def pass_by(self, node: fx.Node) -> None:
        """Go on as if the node were not there."""

    def read(self, *, refuse: bool) -> None:
        """Take all nodes; InputError at the first that no network has, or else it is a row, and passed by."""
        for node in self.module.graph.nodes:
            path, kind = where(node), what(node, self.module)
            try:
                became = self.take(node)
            except InputError as error:
                if refuse:
                    raise
                self.rows.append(Row(path, kind, str(error).removeprefix(f"{path}: "), refused=True))
                self.pass_by(node)
                continue
            if became:
                self.rows.append(Row(path, kind, became))

    def _called(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _key(self, node: fx.Node) -> Any:
        """What a node does: the class of the module that it calls, or its target."""
        called = self._called(node)
        return node.target if called is None else type(called)

    def _refuse(self, node: fx.Node, expected: str, found: str | None = None) -> NoReturn:
        raise InputError(f"{where(node)}: expected {expected}, found {found or what(node, self.module)}")

    def _check_flat(self, node: fx.Node) -> bool:
        """Does the node flatten? InputError if it does anything else to a shape."""
        given, before = self.shapes[node] or (), self.shapes[node.all_input_nodes[0]] or ()
        if given not in (before, (before[0], math.prod(before[1:]))):
            self._refuse(node, "all but the images' axis flattened", f"shape {given} from {before}")
        return given != before


def macs_of(model: nn.Module, in_shape: Shape) -> int:
    """Multiplications of one image in full precision."""
    return model.macs if isinstance(model, ABCNet | ResidualNet) else run_once(model, in_shape)[0]


def run_once(model: nn.Module, in_shape: Shape) -> tuple[int, Any]:
    """Multiplications of one image, and the shape of what the module gives; InputError if it fails."""
    height, width, channels = in_shape
    image = torch.zeros(1, channels, height, width, dtype=torch.uint8)
    counter = FlopCounterMode(display=False)
    with evaluating(model), torch.no_grad(), counter:
        try:
            given = model(image.to(next(iter(model.parameters()), image).device))
        except Exception as error:  # whatever the user's forward raises
            expected = f"expected a forward for pixels uint8 {tuple(image.shape)} (Normalise in front takes them)"
            raise InputError(f"{type(model).__name__}: {expected}, found {_line(error)}") from None
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    return counter.get_total_flops() // 2, shape
