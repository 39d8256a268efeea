"""The quantised network in PyTorch: its numbers, read off the modules once, and its exact evaluation.

Two readers share the numbers of :func:`quantise`: the evaluation here, which applies ``x = a acc + b`` and
compares x with real thresholds in float64, and :func:`abc_hw.training.lowering.to_network`, which turns these
comparisons into integer ones with rational arithmetic. Both are exact, hence equal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from ..data import Images
from ..errors import InputError
from ..network import Bases, ScaleForm
from .activation_bases import PixelBases, Unquantised
from .forward import batch_of
from .layers import ABCConv2d, ABCLinear, BatchNorm
from .models import ABCNet
from .stream import has_stream
from .tracing import Stage, trace

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

BATCH = 256
"""Images evaluated at once; it bounds memory and changes no result."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """What follows acc in a hidden layer: ``x = a acc + b``, and thresholds of x.

    Members
    -------
    a, b : float64 [C_out], a >= 0
    t : float64, ascending: the thresholds of the next layer's bases
    """

    a: Tensor
    b: Tensor
    t: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedLayer:
    """One block of the quantised network, on the CPU.

    Members
    -------
    name, in_shape, kernel, stride, padding, pool : as :class:`abc_hw.network.Layer`
    padding_codes : of each input channel outside, where any is not 0
    relu : whether a ReLU follows x
    weight_bases, input_bases, alpha_scale, beta_scale : as :class:`abc_hw.network.Layer`
    signs : bool [M, C_out, C_in, kernel height, kernel width], True for +1
    alpha, beta : int64 [C_out, M] and [N]
    step : what follows acc; None in the classifier
    bias : int64 [C_out] of the classifier, else None
    """

    name: str
    in_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int
    pool: int
    relu: bool
    weight_bases: Bases
    input_bases: Bases
    alpha_scale: ScaleForm
    beta_scale: ScaleForm
    signs: Tensor
    alpha: Tensor
    beta: Tensor
    padding_codes: tuple[int, ...] | None = None
    step: Step | None = None
    bias: Tensor | None = None

    @property
    def weight_values(self) -> Tensor:
        """sum_m alpha_m B_m, int64 [C_out, C_in, kernel height, kernel width]."""
        signs = self.signs.long() * 2 - 1
        return (self.alpha.T.reshape(*self.alpha.T.shape, 1, 1, 1) * signs).sum(0)

    @property
    def greatest_sum(self) -> int:
        """A bound of the magnitude of every partial sum of acc, in any order."""
        return int(self.weight_values.abs().flatten(1).sum(1).max()) * int(self.beta.abs().sum())


def quantise(model: nn.Module, in_shape: tuple[int, int, int] | None = None) -> list[QuantisedLayer]:
    """The quantised network of ``model``, whether or not it computes with its integers at present.

    Parameters
    ----------
    in_shape : (H, W, C) of an image; None: what an :class:`~abc_hw.training.models.ABCNet` says itself

    Raises
    ------
    InputError
        a number is not finite, a batch norm with a negative slope stands behind a max-pool, or the module does
        what no network does (:func:`~abc_hw.training.tracing.trace`)
    """
    check_finite(model)
    if in_shape is None and not isinstance(model, ABCNet):
        raise InputError(f"example: expected images for a {type(model).__name__}, found none")
    stages = trace(model, in_shape or model.in_shape).stages  # type: ignore[arg-type]
    following = [*stages[1:], None]
    return [quantise_stage(stage, after) for stage, after in zip(stages, following, strict=True)]


def check_finite(model: nn.Module) -> None:
    """InputError if a number of the module is not finite."""
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name.removeprefix('blocks.')}: expected finite numbers, found nan or inf")


@torch.no_grad()
def quantise_layer(
    layer: ABCConv2d | ABCLinear, name: str, in_shape: tuple[int, int, int], *, pool: int = 1, relu: bool = False
) -> tuple[QuantisedLayer, Tensor]:
    """The numbers of one layer's convolution, and what one step of its acc is worth: float64 [C_out].

    In the place of a bias or of what follows acc there is nothing yet.
    """
    height, width, channels = in_shape
    kernel: tuple[int, int]
    if isinstance(layer, ABCConv2d):
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    else:
        kernel, stride, padding = (height, width), 1, 0
    bases, alpha, alpha_scale = (tensor.cpu() for tensor in layer.integers())
    inputs = layer.input_bases
    assert not isinstance(inputs, Unquantised)  # such a layer has no integers
    beta, beta_scale, _ = inputs.integers()  # the sign is in alpha
    beta, scale = beta[inputs.order].cpu(), alpha_scale * beta_scale.cpu()
    signs = (bases > 0).reshape(layer.M, -1, channels, *kernel)
    codes = None
    if padding and isinstance(inputs, PixelBases) and not inputs.pads_with_0:
        codes = tuple(inputs.padding.expand(channels).tolist())
    quantised = QuantisedLayer(
        name=name, in_shape=in_shape, kernel=kernel, stride=stride, padding=padding, pool=pool,
        relu=relu, weight_bases=layer.weight_bases, input_bases=inputs.bases,
        alpha_scale=layer.scale, beta_scale=inputs.scale, signs=signs, alpha=alpha, beta=beta,
        padding_codes=codes,
    )
    return quantised, scale


def classifier_bias(layer: ABCConv2d | ABCLinear, scale: Tensor) -> Tensor:
    """The bias of a classifier in steps of its acc: int64 [classes]."""
    return (_bias(layer, scale) / scale[0]).round().long()


def _bias(layer: ABCConv2d | ABCLinear, scale: Tensor) -> Tensor:
    return torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().cpu().double()


@torch.no_grad()
def quantise_stage(stage: Stage, after: Stage | None) -> QuantisedLayer:
    """A stage and the one that reads it, None behind a classifier; raises as :func:`quantise`."""
    layer = stage.layer
    quantised, scale = quantise_layer(layer, stage.name, stage.in_shape, pool=stage.pool, relu=stage.relu)
    if after is None:
        return dataclasses.replace(quantised, bias=classifier_bias(layer, scale))
    b = _bias(layer, scale)
    behind = after.layer.input_bases
    assert not isinstance(behind, PixelBases | Unquantised)  # tracing refuses the one, integers the other
    a = scale
    for path, norm in stage.norms:
        factor, mean, offset = _affine(norm)
        a, b = a * factor, (b - mean) * factor + offset
        if path in stage.pooled_norms and bool((factor < 0).any()):
            channel = int((factor < 0).nonzero()[0])
            raise InputError(
                f"{path}: expected positive slopes behind a max-pool, found {float(a[channel]):.3g} "
                f"in channel {channel}"
            )
    flips = torch.where(a < 0, -1, 1)  # a acc = (-a) (-acc)
    quantised = dataclasses.replace(quantised, alpha=quantised.alpha * flips.unsqueeze(1))
    t = behind.t.detach().cpu().double().sort(stable=True).values
    step = exact_step(a.abs(), b, t, quantised.greatest_sum)
    return dataclasses.replace(quantised, step=step)


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    """A batch norm in evaluation is ``(x - mean) factor + offset``: factor, mean, offset, float64 [C]."""
    assert norm.running_mean is not None  # tracing refuses others
    assert norm.running_var is not None
    mean, variance = norm.running_mean.cpu().double(), norm.running_var.cpu().double()
    slope = norm.slope if isinstance(norm, BatchNorm) else norm.weight
    slope = torch.ones_like(mean) if slope is None else slope.detach().cpu().double()
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().cpu().double()
    return slope / (variance + norm.eps).sqrt(), mean, bias


def exact_step(a: Tensor, b: Tensor, t: Tensor, greatest_sum: int) -> Step:
    """The nearest a, b, t with which float64 computes ``a acc + b >= t`` without rounding.

    That holds for |acc| up to ``greatest_sum``. All become multiples of one power of two, so small a one that
    a acc + b and t stay below 2**52 of it.
    """
    reach = float((a * greatest_sum + b.abs()).max() + t.abs().max())
    unit = 2.0 ** (math.frexp(reach)[1] - 51)
    return Step(*((number / unit).round() * unit for number in (a, b, t)))


# -- exact evaluation ---------------------------------------------------------------------------------------


def evaluate_integer(
    model: nn.Module, images: Images, *, progress: Progress | None = None
) -> npt.NDArray[np.int64]:
    """Scores int64 [B, classes] of uint8 images [B, H, W, C] by the quantised network, exactly.

    The class is the lowest index among the maxima, as ``argmax`` gives it.

    Raises
    ------
    InputError : images of another shape or type.
    """
    if has_stream(model):
        from .graph_lowering import trace_nodes

        return trace_nodes(model, images, ("scores",), progress=progress)["scores"]
    return np.concatenate([outputs[-1] for outputs in _batches(model, images, progress)])


@torch.no_grad()
def evaluate_float(
    model: nn.Module, images: Images, *, progress: Progress | None = None
) -> npt.NDArray[np.float32]:
    """Scores float32 [B, classes] of uint8 images [B, H, W, C] by the model as it computes now, not exactly."""
    parts = []
    for start in range(0, len(images), BATCH):
        parts.append(model(batch_of(model, torch.from_numpy(images[start : start + BATCH]))).numpy())
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
    return np.concatenate(parts)


def trace_integer(
    model: nn.Module, images: Images, *, progress: Progress | None = None
) -> list[npt.NDArray[Any]]:
    """What every layer hands on, exactly: codes uint8 [B, H, W, C], and last the scores int64 [B, classes]."""
    return [np.concatenate(outputs) for outputs in zip(*_batches(model, images, progress), strict=True)]


def check_images(images: Images, in_shape: tuple[int, ...]) -> None:
    """InputError unless the images are uint8 [B, *in_shape]."""
    if images.dtype != np.uint8 or images.shape[1:] != in_shape:
        raise InputError(f"images: expected uint8 {in_shape}, found {images.dtype} {images.shape[1:]}")


def _batches(model: nn.Module, images: Images, progress: Progress | None) -> Iterator[list[npt.NDArray[Any]]]:
    check_images(images, model.in_shape if isinstance(model, ABCNet) else images.shape[1:])
    layers = quantise(model, images.shape[1:])
    for start in range(0, max(1, len(images)), BATCH):
        yield _run(layers, images[start : start + BATCH])
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))


@torch.no_grad()
def _run(layers: Sequence[QuantisedLayer], images: Images) -> list[npt.NDArray[Any]]:
    values = 2 * torch.tensor(images).permute(0, 3, 1, 2).long() - 255  # sum of the bit-planes, 2^b each
    outputs: list[npt.NDArray[Any]] = []
    for index, layer in enumerate(layers):
        acc = accumulate(layer, values)
        if layer.step is None:
            assert layer.bias is not None  # the classifier has it
            outputs.append((acc.flatten(1) + layer.bias).numpy())
            break
        pooled = functional.max_pool2d(acc.double(), layer.pool)
        x = pooled * layer.step.a.view(-1, 1, 1) + layer.step.b.view(-1, 1, 1)
        x = x.clamp(min=0) if layer.relu else x
        high = x.unsqueeze(-1) >= layer.step.t
        levels, after = high.sum(-1), layers[index + 1]
        values = torch.from_numpy(after.input_bases.values(after.beta.numpy()))[levels]
        outputs.append(levels.permute(0, 2, 3, 1).to(torch.uint8).numpy())
    return outputs


def accumulate(layer: QuantisedLayer, values: Tensor) -> Tensor:
    """acc of a layer, int64 [B, C_out, OH, OW], for input values sum_n beta_n A_n, int64 [B, C_in, H, W].

    A float matrix product, exact because every partial sum is an integer below the type's mantissa; unfolded here,
    since a library's convolution may take a transform that rounds.
    """
    exact = torch.float32 if layer.greatest_sum < 1 << 24 else torch.float64
    codes = layer.padding_codes or (0,) * values.shape[1]
    outside = torch.from_numpy(layer.input_bases.values(layer.beta.numpy()))[list(codes)].to(exact).view(-1, 1, 1)
    padded = functional.pad(values.to(exact) - outside, [layer.padding] * 4) + outside
    columns = functional.unfold(padded, layer.kernel, stride=layer.stride)
    acc = layer.weight_values.to(exact).flatten(1) @ columns
    height = (padded.shape[2] - layer.kernel[0]) // layer.stride + 1
    return acc.long().unflatten(2, (height, -1))
