"""A trained model that another training uses: a checkpoint's, or one made of the integers of a network file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import zoo
from ..data import Split
from ..errors import InputError
from ..network import Layer, Network, files
from .activation_bases import PixelBases, Unquantised
from .checkpoints import load_checkpoint
from .models import ABCBlock, ABCNet
from .recipes import TrainingConfig, build_model
from .residual import ResidualNet

RMS = 0.1
"""Root mean square of the weights of a filter that integers become."""

CALIBRATION_IMAGES = 2_560
"""Training images on which the statistics of batch norm are taken, and the scale of the scores is chosen."""


class Given(NamedTuple):
    """A model in evaluation mode, and what it is of: images (H, W, C) and classes."""

    model: nn.Module
    in_shape: tuple[int, int, int]
    classes: tuple[str, ...]


def trained_model(source: Path | str, train: Split) -> Given:
    """The model of a checkpoint, or one that comes close to a network file's integers (:func:`start_from`).

    Raises
    ------
    InputError : a file that cannot be used.
    """
    path = zoo.resolve(source)
    if path.suffix == ".safetensors":
        network = files.load(path)
        return Given(_lifted(network, train, path), network.input_shape, network.classes)
    trained = load_checkpoint(path)
    return Given(trained.model, trained.in_shape, trained.classes)


def start_from(model: ABCNet | ResidualNet, source: Path | str, train: Split) -> None:
    """Give ``model`` what fits it of a checkpoint, or of a network file: weights, batch norm, activation bases.

    Source and model need the same layers; the numbers of bases and their kind may differ. Thresholds and
    coefficients of activations are taken over where their numbers are equal, and left as they are elsewhere.

    Parameters
    ----------
    source : a checkpoint, or a network file whose record says how it was trained
    train : images on which the integers of a network file are turned into statistics of batch norm

    Raises
    ------
    InputError : a file that cannot be used, or whose layers are others.
    """
    path = zoo.resolve(source)
    given = trained_model(path, train).model
    assert isinstance(given, ABCNet | ResidualNet)  # a module of the user's own is not loaded without it
    ours, theirs = list(model), list(given)
    shapes = [[(block.block.name, *block.layer.weight.shape) for block in blocks] for blocks in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise InputError(f"{path}: expected layers {_said(shapes[0])}, found {_said(shapes[1])}")
    for block, other in zip(ours, theirs, strict=True):
        _copy(block, other)


def _said(layers: list[tuple[object, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, *shape in layers)


@torch.no_grad()
def _copy(block: ABCBlock, other: ABCBlock) -> None:
    block.layer.weight.copy_(other.layer.weight)
    for one, two in ((block.layer.bias, other.layer.bias), (block.layer.u, other.layer.u)):
        if one is not None and two is not None and one.shape == two.shape:
            one.copy_(two)
    if block.norm is not None and other.norm is not None:
        block.norm.load_state_dict(other.norm.state_dict())
    learned, given = block.layer.input_bases, other.layer.input_bases
    if type(learned) is type(given) and not isinstance(learned, PixelBases | Unquantised):
        assert not isinstance(given, PixelBases | Unquantised)
        if learned.v.shape == given.v.shape:
            learned.load_state_dict(given.state_dict())


# -- from integers back to a model --------------------------------------------------------------------------


def _lifted(network: Network, train: Split, path: Path) -> ABCNet:
    """A model whose integers are those of the network, but for thresholds, which are fitted."""
    record = {name: value for name, value in network.training.items() if name in TrainingConfig.model_fields}
    try:
        config = TrainingConfig(**record)
    except pydantic.ValidationError:
        config = None
    if config is None or "model" not in record:
        raise InputError(f"{path}: expected a record of the network's training, found none that can be used")
    model = build_model(config, network.input_shape, len(network.classes))
    blocks = list(model)
    names = [block.block.name for block in blocks]
    if isinstance(model, ResidualNet) or names != [layer.name for layer in network.layers]:
        raise InputError(f"{path}: expected the layers of model {config.model}, found others")
    for block, layer in zip(blocks, network.layers, strict=True):
        _lift_weights(block, layer, path)
    _lift_norms(blocks, network.layers)
    model.eval()
    chosen = np.random.default_rng(0).permutation(len(train))[:CALIBRATION_IMAGES]
    _calibrate(model, train[chosen])
    return model


@torch.no_grad()
def _lift_weights(block: ABCBlock, layer: Layer, path: Path) -> None:
    signs = torch.tensor(layer.weight_bases.expand(layer.weights)).double() * 2 - 1  # [C, kh, kw, C_in, M]
    alpha = torch.tensor(layer.alpha).double()
    weight = torch.einsum("chwim,cm->cihw", signs, alpha)
    rms = weight.square().mean((1, 2, 3), keepdim=True).sqrt()
    weight *= RMS / (rms.mean() if layer.is_classifier else rms.clamp(min=1e-9))
    block.layer.weight.copy_(weight.reshape(block.layer.weight.shape))
    error = (block.layer.approximate_weight() - block.layer.weight).square().mean().sqrt()
    if error > 0.01 * RMS:
        raise InputError(f"{path}: {layer.name}: expected weights on residual bases, or on one, found others")
    bases = block.layer.input_bases
    if not isinstance(bases, PixelBases | Unquantised):
        beta = torch.empty_like(bases.beta)
        beta[bases.order] = torch.tensor(layer.beta).to(beta)
        bases.beta.copy_(beta * bases.beta.abs().sum() / beta.abs().sum())


@torch.no_grad()
def _lift_norms(blocks: list[ABCBlock], layers: tuple[Layer, ...]) -> None:
    """Batch norms that map acc, as the layers have it, to where the next layer's thresholds are those of acc."""
    for block, layer, after in zip(blocks, layers, blocks[1:], strict=False):
        bases = after.layer.input_bases
        assert not isinstance(bases, PixelBases | Unquantised)
        assert block.norm is not None
        assert layer.thresholds is not None
        t = bases.t.double().sort().values.expand(layer.out_channels, -1)
        acc = torch.tensor(layer.thresholds).double() - 0.5  # thresholds are the first integers on the far side
        centred, heights = acc - acc.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
        slope = (centred * heights).sum(1) / centred.square().sum(1).clamp(min=1)
        flat = slope <= 0  # one threshold tells no slope: a Gaussian of acc about it
        slope[flat] = 1 / math.sqrt(layer.dot_length * float((layer.alpha**2).sum(1).mean()))
        bias = (t - slope.unsqueeze(1) * acc).mean(1)
        unit = _unit(block, layer)
        block.norm.weight.copy_(slope / unit * math.sqrt(1 + block.norm.eps))
        block.norm.bias.copy_(bias)


def _unit(block: ABCBlock, layer: Layer) -> Tensor:
    """What 1 of acc is in the output of the layer's module, float64 [C_out]."""
    signs = torch.tensor(layer.weight_bases.expand(layer.weights)).double() * 2 - 1
    integers = torch.einsum("chwim,cm->cihw", signs, torch.tensor(layer.alpha).double()).flatten(1)
    real = block.layer.weight.double().reshape(integers.shape)
    of_weight = (real * integers).sum(1) / integers.square().sum(1).clamp(min=1)
    bases = block.layer.input_bases
    if isinstance(bases, PixelBases | Unquantised):
        return of_weight / 255
    return of_weight * float(bases.beta.abs().sum()) / float(np.abs(layer.beta).sum())


@torch.no_grad()
def _calibrate(model: ABCNet, split: Split) -> None:
    """Take the statistics that batch norm lacks, and the scale of the scores with the least cross-entropy."""
    x = torch.from_numpy(split.images).permute(0, 3, 1, 2)
    for block in model:
        parts = [_before_norm(block, part) for part in x.split(256)]
        y = torch.cat(parts)
        if block.norm is None:
            break
        dims = tuple(d for d in range(y.ndim) if d != 1)
        variance, mean = torch.var_mean(y, dims)
        block.norm.bias.add_(block.norm.weight * mean / math.sqrt(1 + block.norm.eps))
        block.norm.weight.mul_((variance + block.norm.eps).sqrt() / math.sqrt(1 + block.norm.eps))
        assert block.norm.running_mean is not None
        assert block.norm.running_var is not None
        block.norm.running_mean.copy_(mean)
        block.norm.running_var.copy_(variance)
        x = torch.cat([block.norm(part) for part in y.split(256)])
        x = functional.relu(x) if block.block.relu else x
    scales = torch.logspace(-3, 3, 61).tolist()
    labels = torch.from_numpy(split.labels)
    losses = [float(functional.cross_entropy(y * scale, labels)) for scale in scales]
    block.layer.weight.mul_(scales[int(np.argmin(losses))])
    if block.layer.bias is not None:
        block.layer.bias.mul_(scales[int(np.argmin(losses))])


def _before_norm(block: ABCBlock, x: Tensor) -> Tensor:
    y = block.layer(x.flatten(1) if block.block.kind == "dense" else x)
    return functional.max_pool2d(y, block.block.pool) if block.block.pool > 1 else y
