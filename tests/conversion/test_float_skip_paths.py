"""Float modules with skip paths, converted: residual networks without surgery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from teaching import teach
from torch import Tensor, nn
from torch.nn import functional

from abc_hw import Normalise, convert, data, export
from abc_hw.errors import InputError
from abc_hw.network import Graph
from abc_hw.network.nodes import Add
from abc_hw.sim import golden
from abc_hw.training.forward import batch_of
from abc_hw.training.layers import set_integer
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.quantised import evaluate_integer


class Block(nn.Module):
    """As torchvision writes it."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(out), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(0.3, 0.35)
        self.conv, self.bn, self.pool = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 1, 1)
        self.layers = nn.Sequential(Block(8, 8), Block(8, 16, 2))
        self.mean, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.bn(self.conv(self.normalise(x)))))
        return self.fc(torch.flatten(self.mean(self.layers(x)), 1))


def test_a_residual_network_is_converted_and_exported() -> None:
    """Trained in full precision; much of its accuracy is left on bases, and PyTorch's integers are the graph's."""
    torch.manual_seed(0)
    digits, model = data.load("digits"), Residual()
    teach(model, digits.train, rate=1e-2, rounds=4)
    with torch.no_grad():
        model.bn.weight.abs_()
    made = convert(model.eval(), M=5, N=4, calibration=digits.train)
    assert made.accuracy["float"] > 0.9
    assert made.accuracy["converted"] > 0.6
    said = "\n".join(made.changes)
    for path in ("conv", "layers.0.conv2", "layers.1.conv2", "layers.1.downsample.0"):
        assert f"{path}: gives whole steps of 0.0625 within 8 of 0, which can be added" in said
    assert "mean: the mean is rounded to steps of 0.0625" in said
    set_integer(made.model, True)
    reestimate_batch_norm(made.model, [batch_of(made.model, torch.from_numpy(digits.train.images))])
    network = export(made.model, made.example, name="residual", classes=digits.classes)
    assert isinstance(network, Graph)
    assert sum(isinstance(node, Add) for node in network.nodes) == 2
    scores = golden.run_graph(network, digits.test.images[:20]).output
    assert np.array_equal(scores, evaluate_integer(made.model, digits.test.images[:20]))


class Forward(nn.Module):
    """The parts, and any forward over them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.bn, self.other = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.mean, self.fc, self.does = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 10), forward
        self.quarter = nn.AdaptiveAvgPool2d(2)

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x.float())


@pytest.mark.parametrize(("forward", "message"), [
    (lambda s, x: s.fc(s.mean(s.bn(s.conv(x)) + s.other(s.bn(s.conv(x)))).flatten(1)),
     "conv: expected a layer that is called once, found two calls"),
    (lambda s, x: s.fc(s.mean(s.other(s.bn(s.conv(x)))).flatten(1)),
     "other: expected a convolution with batch norm before what is added or averaged, found Conv2d"),
    (lambda s, x: s.fc(s.mean(torch.tanh(s.bn(s.conv(x)))).flatten(1)),
     "forward: expected a convolution with batch norm before what is added or averaged, found tanh"),
    (lambda s, x: s.fc(s.mean(s.quarter(s.bn(s.conv(x)))).flatten(1)),
     "quarter: expected the mean of all pixels, found 2"),
])  # fmt: skip
def test_what_gives_no_stream_is_named(forward: Callable[[Any, Tensor], Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        convert(Forward(forward), calibration=[torch.zeros(4, 1, 8, 8, dtype=torch.uint8)])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
