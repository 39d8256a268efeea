"""From a trained module in full precision to one on bases, with thresholds and coefficients from the data.

Lin, Zhao, Pan (arXiv 1711.11294) advise it: train in full precision first, then convert, then fine-tune.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data import Split
from ..errors import InputError
from ..network import ScaleForm
from ..training.activation_bases import PIXEL_BITS, PixelBases, Unquantised
from ..training.forward import Row, evaluating, graph_of
from ..training.layers import ABCConv2d, ABCLinear, BatchNorm
from ..training.models import per_layer, reestimate_batch_norm
from ..training.normalise import Normalise
from ..training.paths import trace_paths
from ..training.stream import has_stream
from ..training.tracing import trace
from .fitting import fit
from .skip_paths import MEAN_OF_STREAM, find_streams, geometry, put_streams, replace

MOST_IMAGES = 2_560
"""Calibration images that are looked at."""

SAMPLES = 200_000
"""Observed activations that the bases of one layer are fitted to."""

BATCH = 256
OFF_GRID = 0.02
"""How far, in steps of 1/255, an image that is said to be normalised may be from pixels."""

FloatLayer = nn.Conv2d | nn.Linear


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Converted:
    """A module on bases, made from one in full precision.

    Members
    -------
    model : takes pixels uint8 [B, C, H, W]; a copy, the given one is as it was
    in_shape : (H, W, C) of an image
    rows : what became of every node of its forward
    changes : what it does otherwise than the given one, besides bases; one line each
    accuracy : on the calibration images, if they had labels: ``float`` of the given module, ``converted`` before
        any fine-tuning
    """

    model: nn.Module
    in_shape: tuple[int, int, int]
    rows: list[Row]
    changes: list[str]
    accuracy: dict[str, float]

    @property
    def example(self) -> Tensor:
        """An image as the model takes it, black: uint8 [1, C, H, W]."""
        height, width, channels = self.in_shape
        return torch.zeros(1, channels, height, width, dtype=torch.uint8)


def convert(
    model: nn.Module, *, calibration: Iterable[Any] | Split, M: int | Sequence[int] = 3,
    N: int | Sequence[int] = 3, kind: str = "abc", scale: ScaleForm | None = None,
    mean: float | Sequence[float] | None = None, std: float | Sequence[float] | None = None,
) -> Converted:
    """Put binary bases in the place of the convolutions and linear layers of a trained module.

    Weights are cut into bases by themselves. Thresholds and coefficients of activations start at the least squares
    fit to what the calibration images give, and batch norm is estimated anew on them. The normalisation of the
    input, a :class:`~abc_hw.training.normalise.Normalise` in front or ``mean`` and ``std``, goes into the first
    layer.

    Parameters
    ----------
    calibration : batches of images, or of (images, labels): pixels uint8 [B, C, H, W], or floats normalised with
        ``mean`` and ``std``; or a :class:`abc_hw.data.Split`
    M, N : numbers of bases, one for all layers or one per layer (the first entry of N is 8, the bits of a pixel)
    kind : a key of :data:`abc_hw.training.kinds.KINDS`
    scale : form of the integers alpha and beta
    mean, std : of pixels over 255, one number or one per channel; None: what the module's Normalise has, else 0
        and 1

    Raises
    ------
    InputError
        a forward that cannot be traced, or does what no network does (the line names the part of the module), or
        images that are not what was said
    """
    form = _Given(model, mean, std)
    batches = list(_batches(calibration, form))
    pixels = batches[0][0]
    in_shape = (*pixels.shape[2:], pixels.shape[1])
    made = copy.deepcopy(model)
    module, _ = graph_of(made, form.input(pixels[:1]))
    layers, streams = _float_layers(module, type(model).__name__), find_streams(module)
    observed = _observe(made, layers, form, [images for images, _ in batches])
    options = _options(list(layers), M, N, kind, scale, streams.readers)
    adders, changes = put_streams(made, streams, options)
    new: dict[str, ABCConv2d | ABCLinear] = {path: part.layer for path, part in adders.items()}
    for path in layers:
        if path not in adders:
            rectified = bool(observed[path].min() >= 0)
            new[path] = _on_bases(path, layers[path], {**options[path], "rectified": rectified})
            replace(made, path, new[path])
    for path in [path for path, part in made.named_modules() if isinstance(part, Normalise)]:
        replace(made, path, nn.Identity())
    rows = trace_paths(made, in_shape).rows if has_stream(made) else _with_rising_norms(made, in_shape)
    for index, (path, layer) in enumerate(layers.items()):
        if path in streams.readers:
            _fold(new[path], *(torch.tensor([number]) for number in MEAN_OF_STREAM))
        elif index:
            changes += _fit_bases(path, layer, new[path], observed[path])
        else:
            changes += _fold_normalisation(path, layer, new[path], form.normalise, in_shape)
    reestimate_batch_norm(made, [images for images, _ in batches])
    return Converted(
        model=made, in_shape=in_shape, rows=rows, changes=changes, accuracy=_accuracy(model, made, form, batches)
    )


def _options(
    paths: list[str], M: int | Sequence[int], N: int | Sequence[int], kind: str, scale: ScaleForm | None,
    means: Collection[str],
) -> dict[str, dict[str, Any]]:
    """Of each layer on bases; the first one and those that read ``means`` take codes of 8 bits."""
    bytes_in = {paths[0], *means}
    counts_m = per_layer("M", M, len(paths))
    if isinstance(N, int):
        N = [PIXEL_BITS if path in bytes_in else N for path in paths]
    counts_n = per_layer("N", N, len(paths))
    return {
        path: {
            "M": counts_m[index], "N": counts_n[index], "weight_kind": kind, "scale": scale, "bias": True,
            "activation_kind": "pixels" if path in bytes_in else kind, "common_scale": path == paths[-1],
        }
        for index, path in enumerate(paths)
    }


# -- images -------------------------------------------------------------------------------------------------


class _Given:
    """How pixels become what the given module takes."""

    def __init__(
        self, model: nn.Module, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
    ) -> None:
        inside = [part for part in model.modules() if isinstance(part, Normalise)]
        if len(inside) > 1 or (inside and (mean is not None or std is not None)):
            raise InputError("mean: expected one normalisation, in the module or as mean and std, found more")
        self.inside = bool(inside)
        said = Normalise(0.0 if mean is None else mean, 1.0 if std is None else std)
        self.normalise = inside[0] if inside else said

    def input(self, pixels: Tensor) -> Tensor:
        """What the module takes for pixels."""
        return pixels if self.inside else self.normalise(pixels)

    def pixels(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] of images as the module takes them, or of pixels; InputError for others."""
        if images.ndim != 4 or not len(images):
            raise InputError(f"calibration: expected images [B, C, H, W], found {tuple(images.shape)}")
        values = images.double()
        if images.is_floating_point() and not self.inside:
            mean, std = (given.view(-1, 1, 1) for given in self.normalise.per_channel(images.shape[1]))
            values = (values * std + mean) * 255
        whole = values.round()
        off = float((values - whole).abs().max())
        if not off <= OFF_GRID or whole.min() < 0 or whole.max() > 255:
            how = "pixels" if self.inside else "pixels, or images normalised with mean and std"
            found = f"numbers that become {float(values.min()):.4g} to {float(values.max()):.4g}"
            raise InputError(f"calibration: expected {how}, found {found}")
        return whole.to(torch.uint8)


def _batches(calibration: Any, form: _Given) -> Iterable[tuple[Tensor, Tensor | None]]:
    if isinstance(calibration, Split):
        images = torch.from_numpy(calibration.images[:MOST_IMAGES]).permute(0, 3, 1, 2)
        images = images.clone(memory_format=torch.contiguous_format)  # whatever order the forward wants
        labels = torch.from_numpy(calibration.labels[:MOST_IMAGES])
        calibration = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    seen = 0
    for batch in calibration:
        images, labels = batch if isinstance(batch, tuple | list) else (batch, None)
        yield form.pixels(torch.as_tensor(images)), None if labels is None else torch.as_tensor(labels)
        seen += len(images)
        if seen >= MOST_IMAGES:
            return
    if not seen:
        raise InputError("calibration: expected at least one batch of images, found none")


def _accuracy(
    given: nn.Module, made: nn.Module, form: _Given, batches: list[tuple[Tensor, Tensor | None]]
) -> dict[str, float]:
    right, count = torch.zeros(2), 0
    with evaluating(given), torch.no_grad():
        for images, labels in batches:
            if labels is None:
                return {}
            scores = given(form.input(images)), made(images)
            right += torch.tensor([float((s.argmax(1) == labels).sum()) for s in scores])
            count += len(labels)
    return {"float": float(right[0]) / count, "converted": float(right[1]) / count}


# -- layers -------------------------------------------------------------------------------------------------


def _float_layers(module: fx.GraphModule, kind: str) -> dict[str, FloatLayer]:
    """The convolutions and linear layers by their paths, in the order in which the forward calls them."""
    found: dict[str, FloatLayer] = {}
    for node in module.graph.nodes:
        part = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(part, nn.Conv2d | nn.Linear):
            if str(node.target) in found:
                raise InputError(f"{node.target}: expected a layer that is called once, found two calls")
            found[str(node.target)] = part
            _check_first(node, module, first=len(found) == 1)
    if not found:
        raise InputError(f"{kind}: expected modules Conv2d or Linear to put on bases, found none")
    return found


def _check_first(node: fx.Node, module: fx.GraphModule, *, first: bool) -> None:
    """InputError if a Normalise stands anywhere but before the first layer."""
    given = node.all_input_nodes[0]
    part = module.get_submodule(str(given.target)) if given.op == "call_module" else None
    if isinstance(part, Normalise) and not first:
        place = f"before {node.target}"
        raise InputError(f"{given.target}: expected Normalise before the first layer, found it {place}")


def _on_bases(path: str, layer: FloatLayer, options: dict[str, Any]) -> ABCConv2d | ABCLinear:
    """The layer on bases with the same weights; InputError if no layer on bases is like it."""
    made: ABCConv2d | ABCLinear
    try:
        if isinstance(layer, nn.Linear):
            made = ABCLinear(layer.in_features, layer.out_features, **options)
        else:
            stride, padding = geometry(layer)
            kernel = layer.kernel_size[0], layer.kernel_size[1]
            made = ABCConv2d(layer.in_channels, layer.out_channels, kernel, stride, padding, **options)
    except InputError as error:
        raise InputError(f"{path}.{error}") from None
    with torch.no_grad():
        made.weight.copy_(layer.weight)
        assert made.bias is not None  # asked for by the options
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made


def _with_rising_norms(model: nn.Module, in_shape: tuple[int, int, int]) -> list[Row]:
    """Batch norms behind a pool become ones whose slope stays positive; what became of each node.

    Raises
    ------
    InputError : a node that no network has, or a slope that is negative there already
    """
    for stage in trace(model, in_shape).stages:
        for path in stage.pooled_norms:
            norm = model.get_submodule(path)
            if isinstance(norm, BatchNorm) or not isinstance(norm, _BatchNorm):
                continue
            rising = BatchNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum or 0.1)
            state = norm.state_dict()
            if "weight" in state and bool((state["weight"] < 0).any()):
                raise InputError(f"{path}: expected positive slopes behind a max-pool, found negative ones")
            rising.load_state_dict({**rising.state_dict(), **state})
            replace(model, path, rising)
    return trace(model, in_shape).rows


# -- numbers ------------------------------------------------------------------------------------------------


def _observe(
    model: nn.Module, layers: dict[str, FloatLayer], form: _Given, batches: list[Tensor]
) -> dict[str, np.ndarray]:
    """Inputs of every layer, a sample of them, float64."""
    kept: dict[str, list[Tensor]] = {path: [] for path in layers}
    each = max(1, SAMPLES // len(batches))
    random = torch.Generator().manual_seed(0)

    def keep(path: str) -> Any:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            flat = given[0].detach().flatten()
            chosen = torch.randint(len(flat), (min(each, len(flat)),), generator=random)
            kept[path].append(flat[chosen].double())

        return hook

    hooks = [layer.register_forward_pre_hook(keep(path)) for path, layer in layers.items()]
    with evaluating(model), torch.no_grad():
        for pixels in batches:
            model(form.input(pixels))
    for hook in hooks:
        hook.remove()
    found = {path: torch.cat(parts).numpy() for path, parts in kept.items()}
    for path, values in found.items():
        if not np.isfinite(values).all():
            raise InputError(f"{path}: expected finite activations, found nan or inf")
    return found


@torch.no_grad()
def _fit_bases(path: str, given: FloatLayer, made: ABCConv2d | ABCLinear, values: np.ndarray) -> list[str]:
    bases = made.input_bases
    assert not isinstance(bases, PixelBases | Unquantised)  # this is no first layer
    found = fit(values, bases.bases)
    bases.v.copy_(0.5 - torch.from_numpy(found.thresholds))
    bases.beta.copy_(torch.from_numpy(found.beta))
    bases.window *= max(float(np.sqrt(np.mean(values**2))), 1e-6)
    if made.bias is not None:  # else batch norm is estimated anew behind it
        made.bias.add_(found.offset * made.approximate_weight().flatten(1).sum(1))
    lines = [f"{path}: its input has {bases.bases.levels} levels, {100 * found.error:.1f} % of its square is lost"]
    if isinstance(given, nn.Conv2d) and any(made.padding if isinstance(made.padding, tuple) else [made.padding]):
        lowest = found.offset - float(np.abs(found.beta).sum())
        lines.append(f"{path}: padding is its lowest level, {lowest:.3g}, where it was 0")
    return lines


@torch.no_grad()
def _fold(made: ABCConv2d | ABCLinear, mean: Tensor, std: Tensor) -> None:
    """(p / 255 - mean) / std is, for value v = 2 p / 255 - 1 of a byte, v / (2 std) + (1 / 2 - mean) / std; mean
    and std are per channel, or one number each."""
    taps = made.weight.numel() // len(made.weight) // len(mean)
    mean, std = (numbers.repeat_interleave(taps).to(made.weight) for numbers in (mean, std))
    flat = made.weight.flatten(1)
    made.weight.copy_((flat / (2 * std)).reshape(made.weight.shape))
    if made.bias is not None:  # else batch norm is estimated anew behind it
        made.bias.add_((made.approximate_weight().flatten(1) * (1 - 2 * mean)).sum(1))


@torch.no_grad()
def _fold_normalisation(
    path: str, given: FloatLayer, made: ABCConv2d | ABCLinear, normalise: Normalise, in_shape: tuple[int, int, int]
) -> list[str]:
    height, width, channels = in_shape
    _fold(made, *normalise.per_channel(channels))
    bases = made.input_bases
    assert isinstance(bases, PixelBases)
    plain = [numbers.tolist() for numbers in normalise.per_channel(channels)]
    bases.normalisation = {"mean": plain[0], "std": plain[1], "size": [height, width]}
    lines = [f"{path}: takes pixels; mean {_short(plain[0])} and std {_short(plain[1])} are in its weights"]
    if isinstance(given, nn.Conv2d) and isinstance(made, ABCConv2d) and made.padding:
        usual = [255 * number for number in plain[0]]
        nearest = [min(max(round(number), 0), 255) for number in usual]
        bases.pad_with(nearest)
        lines.append(f"{path}: padding is pixel {_short(nearest)}, where it was {_short(usual)} (the mean)")
    return lines


def _short(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in dict.fromkeys(numbers))
