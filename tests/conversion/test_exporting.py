"""Modules of one's own: what a forward may be made of gives the same scores everywhere, and the rest one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import abc_hw
from abc_hw.conversion import Normalise, export, report
from abc_hw.errors import InputError
from abc_hw.sim import fast
from abc_hw.training.layers import ABCConv2d, ABCLinear, BatchNorm
from abc_hw.training.lowering import to_network
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.quantised import evaluate_integer

CLASSES = ("a", "b", "c")


def pixels(count: int, shape: tuple[int, int, int] = (9, 8, 2), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, 256, (2, count, 1, 1, shape[2])), axis=0)
    return rng.integers(ends[0], ends[1] + 1, (count, *shape)).astype(np.uint8)


def first(channels: int = 6, **options: Any) -> ABCConv2d:
    return ABCConv2d(2, channels, 3, padding=1, M=2, N=8, activation_kind="pixels", **options)


def hidden(channels: int = 7, **options: Any) -> ABCConv2d:
    return ABCConv2d(6, channels, 3, M=2, N=2, **options)


def last(features: int, **options: Any) -> ABCLinear:
    return ABCLinear(features, 3, M=2, N=2, **{"common_scale": True, **options})


class Forward(nn.Module):
    """Modules by name, and any forward over them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.does = forward

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


def shaken(model: nn.Module) -> nn.Module:
    """With statistics, slopes and thresholds that differ from channel to channel."""
    torch.manual_seed(1)
    reestimate_batch_norm(model, [torch.from_numpy(pixels(32)).permute(0, 3, 1, 2).contiguous()])
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.weight is not None:
                part.weight.copy_(torch.linspace(-1.5, 1.5, len(part.weight)))
                part.bias.normal_(std=0.3)
    return model.eval()


def functions(s: Any, x: Tensor) -> Tensor:
    x = functional.max_pool2d(s.norm(s.conv(x.float())), (2, 2))
    return functional.softmax(s.out(torch.flatten(functional.relu(x), 1)), dim=1)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "sequential": lambda: nn.Sequential(
        first(), nn.MaxPool2d(2), BatchNorm(6), nn.Dropout(0.2), nn.Flatten(), last(6 * 4 * 4)
    ),
    "conv, norm, relu, pool, with torch's own batch norm": lambda: nn.Sequential(
        first(), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), hidden(), nn.BatchNorm2d(7, affine=False),
        nn.ReLU(), nn.Flatten(), last(7 * 2 * 2), nn.LogSoftmax(1),
    ),
    "functions": lambda: Forward(
        functions,
        conv=first(), norm=nn.BatchNorm2d(6), out=last(6 * 4 * 4),
    ),
    "views and sizes": lambda: Forward(
        lambda s, x: s.out(s.norm(s.dense(x.view(x.size(0), -1))).reshape(x.shape[0], -1)),
        dense=ABCLinear(144, 12, M=2, N=8, activation_kind="pixels"), norm=nn.BatchNorm1d(12), out=last(12),
    ),
    "two batch norms around a pool": lambda: nn.Sequential(
        first(), nn.BatchNorm2d(6), nn.MaxPool2d(3), BatchNorm(6), nn.Flatten(), last(6 * 3 * 2)
    ),
    "a layer called twice": lambda: Forward(
        lambda s, x: s.out(s.same(s.same(s.conv(x))).flatten(1)),
        conv=first(), same=ABCConv2d(6, 6, 3, padding=1, M=1, N=1), out=last(6 * 9 * 8),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_pytorchs_to_the_last_bit(name: str) -> None:
    torch.manual_seed(0)
    model = shaken(MODELS[name]())
    images = pixels(24, seed=3)
    example = torch.from_numpy(images).permute(0, 3, 1, 2)
    network = export(model, example, name="mine", classes=CLASSES, training={"epochs": 3})
    scores = evaluate_integer(model, images)
    np.testing.assert_array_equal(fast.run(network, images), scores)
    assert len(np.unique(scores, axis=0)) > 12  # they depend on the images
    assert network.training == {"epochs": 3}
    assert abc_hw.export(model, example[0], name="mine", classes=CLASSES).digest == network.digest
    assert [row.refused for row in report(model, example)].count(True) == 0


def test_layers_are_named_by_their_paths_and_modes_are_left_alone() -> None:
    model = nn.Sequential(nn.ModuleDict({"Stem": first()})["Stem"], nn.Sequential(nn.Flatten(), last(6 * 9 * 8)))
    model.train()
    network = export(model, torch.zeros(1, 2, 9, 8), name="n", classes=CLASSES)
    assert [layer.name for layer in network.layers] == ["layer0", "layer1_1"]
    assert model.training
    rows = [(row.path, row.operator, row.became) for row in report(model, torch.zeros(2, 9, 8))]
    assert rows == [
        ("Sequential.forward", "input", "the image"),
        ("0", "ABCConv2d", "layer layer0"),
        ("1.0", "Flatten", "order of weights"),
        ("1.1", "ABCLinear", "layer layer1_1"),
        ("Sequential.forward", "output", "scores of layer1_1"),
    ]


def residual() -> nn.Module:
    def forward(s: Any, x: Tensor) -> Tensor:
        x = s.b1(s.c1(x))
        return s.out((x + s.b2(s.c2(x))).flatten(1))

    return Forward(
        forward, c1=first(), b1=BatchNorm(6), c2=ABCConv2d(6, 6, 3, padding=1, M=2, N=2), b2=BatchNorm(6),
        out=last(6 * 9 * 8),
    )


def branching(s: Any, x: Tensor) -> Tensor:
    return s.out(x.flatten(1)) if x.sum() > 0 else s.out(-x.flatten(1))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "residual": (residual, "Forward.forward: expected sums of streams only, which abc_hw.StreamConv2d gives, "),
    "float convolution": (
        lambda: nn.Sequential(first(), nn.Conv2d(6, 6, 3), nn.Flatten(), last(252)),
        "1: expected ABCConv2d, which abc_hw.convert makes of it, found Conv2d",
    ),
    "average": (
        lambda: nn.Sequential(first(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last(6)),
        "1: expected a max-pool, found AdaptiveAvgPool2d",
    ),
    "activation": (
        lambda: nn.Sequential(first(), nn.SiLU(), nn.Flatten(), last(432)),
        "1: expected a ReLU, or no activation before layers on bases, found SiLU",
    ),
    "unknown": (
        lambda: nn.Sequential(first(), nn.PixelShuffle(1), nn.Flatten(), last(432)),
        "1: expected a layer on bases, max-pool, batch norm, ReLU or flatten, found PixelShuffle",
    ),
    "concatenation": (
        lambda: Forward(lambda s, x: s.out(torch.cat([s.a(x), s.b(x)], 1).flatten(1)), a=first(), b=first(),
                        out=last(864)),
        "b: expected the result of the operator before it as its only input, found ABCConv2d",
    ),
    "norm behind relu": (
        lambda: nn.Sequential(first(), nn.ReLU(), nn.BatchNorm2d(6), nn.Flatten(), last(432)),
        "2: expected batch norm before the ReLU, found BatchNorm2d behind it",
    ),
    "no statistics": (
        lambda: nn.Sequential(first(), nn.BatchNorm2d(6, track_running_stats=False), nn.Flatten(), last(432)),
        "1: expected running statistics, found track_running_stats=False",
    ),
    "overlapping pool": (
        lambda: nn.Sequential(first(), nn.MaxPool2d(3, 2), nn.Flatten(), last(72)),
        "1: expected a max-pool of squares side by side without padding, found size (3, 3), (2, 2)",
    ),
    "two pools": (
        lambda: nn.Sequential(first(), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Flatten(), last(24)),
        "2: expected one max-pool behind layer0, found a second",
    ),
    "normalised": (
        lambda: nn.Sequential(Normalise(), first(), nn.Flatten(), last(432)),
        "0: expected pixels as they are, which layers on bases take, found Normalise",
    ),
    "relu before": (
        lambda: nn.Sequential(nn.ReLU(), first(), nn.Flatten(), last(432)),
        "0: expected a layer on bases first, for pixels go into it as they are, found ReLU",
    ),
    "no pixels": (
        lambda: nn.Sequential(ABCConv2d(2, 6, 3, M=2, N=2), nn.Flatten(), last(252)),
        "0: expected activation_kind pixels in the first layer, found others",
    ),
    "pixels behind": (
        lambda: nn.Sequential(first(), nn.Flatten(), ABCLinear(432, 3, M=1, N=8, activation_kind="pixels")),
        "2: pixels: expected whole numbers 0..255",
    ),
    "no flatten": (
        lambda: nn.Sequential(first(), ABCLinear(8, 3, M=1, N=1, common_scale=True)),
        "1: expected a flatten before it, found an input of shape (1, 6, 9, 8)",
    ),
    "own scales": (
        lambda: nn.Sequential(first(), nn.Flatten(), last(432, common_scale=False)),
        "2.common_scale: expected True in the last layer, found False",
    ),
    "norm at the end": (
        lambda: nn.Sequential(first(), nn.Flatten(), last(432), nn.BatchNorm1d(3)),
        "Sequential.forward: expected scores of a last layer with nothing behind 2, found more",
    ),
    "map at the end": (
        lambda: nn.Sequential(first(3, common_scale=True)),
        "Sequential.forward: expected scores of a last layer with nothing behind 0, found more",
    ),
    "two results": (
        lambda: Forward(lambda s, x: (s.out(x.flatten(1)), x), out=ABCLinear(144, 3, M=1, N=8,
                                                                             activation_kind="pixels")),
        "output: expected the scores of the last layer, found another result or several",
    ),
    "branches": (
        lambda: Forward(branching, out=last(144)), "Forward: expected a forward that torch.fx can trace, found ",
    ),
    "norm first": (
        lambda: nn.Sequential(nn.BatchNorm2d(2), first(), nn.Flatten(), last(432)),
        "0: expected a layer on bases first, for pixels go into it as they are, found BatchNorm2d",
    ),
    "arithmetic": (
        lambda: Forward(lambda s, x: s.out(s.first(x / 255).flatten(1)), first=first(), out=last(432)),
        "forward: expected abc_hw.Normalise in front, which abc_hw.convert puts into the first layer, found true",
    ),
    "other size": (
        lambda: nn.Sequential(first(), nn.Flatten(), last(99)),
        "2: expected a fitting input, found mat1 and mat2 shapes cannot be multiplied",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_network_does_is_named_by_its_path(name: str) -> None:
    make, line = REFUSED[name]
    with pytest.raises(InputError) as refusal:
        export(make(), torch.zeros(1, 2, 9, 8, dtype=torch.uint8), name="n", classes=CLASSES)
    assert "\n" not in str(refusal.value)
    assert line in str(refusal.value)


def test_the_report_lists_every_node_and_all_refusals() -> None:
    model = nn.Sequential(first(), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), last(96))
    rows = report(model, torch.zeros(1, 2, 9, 8))
    assert [(row.path, row.refused) for row in rows] == [
        ("Sequential.forward", False), ("0", False), ("1", True), ("2", True), ("3", False), ("4", False),
        ("Sequential.forward", False),
    ]
    assert rows[3].became == "expected a max-pool, found AvgPool2d"


def test_examples_and_numbers_that_cannot_be() -> None:
    model = shaken(MODELS["sequential"]())
    with pytest.raises(InputError, match=r"^example: expected images \[B, C, H, W\], found NoneType$"):
        export(model, name="n", classes=CLASSES)
    with pytest.raises(InputError, match=r"^example: expected images \[B, C, H, W\], found \(9, 8\)$"):
        export(model, torch.zeros(9, 8), name="n", classes=CLASSES)
    with pytest.raises(InputError, match=r"^example: expected images for a Sequential, found none$"):
        to_network(model, name="n", classes=CLASSES)
    norm = nn.BatchNorm2d(6)
    nn.init.constant_(norm.weight, -1)
    changed = nn.Sequential(*[norm if index == 2 else part for index, part in enumerate(model)])
    with pytest.raises(InputError, match=r"^2: expected positive slopes behind a max-pool, found -"):
        export(changed.eval(), torch.zeros(1, 2, 9, 8), name="n", classes=CLASSES)
    with torch.no_grad():
        model[5].weight[0, 0] = math.nan
    with pytest.raises(InputError, match=r"^5\.weight: expected finite numbers, found nan or inf$"):
        export(model, torch.zeros(1, 2, 9, 8), name="n", classes=CLASSES)


@pytest.mark.parametrize("given", [0.5, 256, -1, math.nan])
def test_pixels_that_are_none_are_refused(given: float) -> None:
    with pytest.raises(InputError, match=r"^pixels: expected whole numbers 0\.\.255 without normalisation, found"):
        first()(torch.full((1, 2, 9, 8), given))
    whole = torch.randint(0, 256, (1, 2, 9, 8))
    layer = first()
    assert torch.equal(layer(whole), layer(whole.to(torch.uint8)))
    assert torch.equal(layer(whole.float()), layer(whole.to(torch.uint8)))
