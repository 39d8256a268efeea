"""Modules of one's own with skip paths: every node of the graph computes what PyTorch does, the rest is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from places import ROOT
from torch import Tensor, nn
from torch.nn import functional

import abc_hw
from abc_hw import ABCConv2d, ABCLinear, StreamConv2d, StreamMean
from abc_hw.conversion import report
from abc_hw.errors import InputError
from abc_hw.network import Graph
from abc_hw.network.nodes import Add
from abc_hw.sim import fast, golden
from abc_hw.training.graph_lowering import trace_nodes
from abc_hw.training.layers import BatchNorm, set_integer
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.quantised import evaluate_integer

SHAPE = (9, 8, 2)


class Block(nn.Module):
    """Two convolutions, and past them nothing, or one of its own."""

    def __init__(self, channels: int, out: int, *, N: int = 2) -> None:
        super().__init__()
        self.conv = ABCConv2d(channels, out, 3, padding=1, M=2, N=N)
        self.norm = nn.BatchNorm2d(out)
        self.add = StreamConv2d(out, out, 3, padding=1, M=2, N=2)
        self.past = None if channels == out else StreamConv2d(channels, out, 1, M=1, N=N)

    def forward(self, x: Tensor) -> Tensor:
        y = self.add(functional.relu(self.norm(self.conv(x))))
        return y + (x if self.past is None else self.past(x))


class Own(nn.Module):
    """Pixels, a stream, three blocks of which one is read through a ReLU, a mean, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.Stem = StreamConv2d(2, 4, 3, padding=1, M=2, activation_kind="pixels", pool=(3, 2, 1))
        self.layers = nn.Sequential(Block(4, 4), Block(4, 6))
        self.more = Block(6, 6, N=1)
        self.mean = StreamMean()
        self.out = ABCLinear(6, 5, M=2, N=8, activation_kind="pixels", common_scale=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layers(self.Stem(x)))
        x = x + self.more(x)
        return self.out(torch.flatten(self.mean(x), 1))


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, *SHAPE), dtype=np.uint8)


def trained(model: nn.Module) -> nn.Module:
    """Some steps from where it started, the last ones with integers."""
    images = torch.from_numpy(pixels(16)).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(16) % 5
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for step in range(9):
        set_integer(model.train(), step >= 6)
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    reestimate_batch_norm(model, [images])
    return model


def test_every_node_computes_what_pytorch_does() -> None:
    torch.manual_seed(0)
    model, images = trained(Own()), pixels(12)
    example = torch.from_numpy(images).permute(0, 3, 1, 2)
    graph = abc_hw.export(model, example, name="own", classes="abcde")
    assert isinstance(graph, Graph)
    found, trace = trace_nodes(model, images), golden.run_graph(graph, images)
    assert found.keys() | {"input"} == trace.values.keys()
    for name, values in found.items():
        assert np.array_equal(values, trace.values[name]), name
    scores = evaluate_integer(model, images)
    assert np.array_equal(scores, fast.run(graph, images))
    assert len(np.unique(scores, axis=0)) > 8
    assert [node.name for node in graph.nodes if isinstance(node, Add)] == [
        "layers.n0.sum", "layers.n1.sum", "more.sum", "sum"
    ]
    with torch.no_grad():
        real = model(example).numpy().ravel()
    assert np.corrcoef(real, scores.ravel())[0, 1] > 0.9999
    assert not [row for row in report(model, example) if row.refused]


def test_the_example_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    section = (ROOT / "docs" / "how-to.md").read_text().split("## Skip paths")[1]
    code = section.split("```python\n")[1].split("```")[0]
    exec(code, {"__name__": "example"})
    assert capsys.readouterr().out.splitlines()[-7:] == [
        "requantise outer.step", "add sum", "sum_pool mean", "requantise mean.step", "encode mean.planes",
        "conv classify", "scores scores",
    ]


class Forward(nn.Module):
    """The parts, and any forward over them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.stem = StreamConv2d(2, 4, 3, padding=1, M=1, activation_kind="pixels")
        self.conv, self.norm = ABCConv2d(4, 4, 3, padding=1, M=1, N=1), BatchNorm(4)
        self.narrow = StreamConv2d(4, 3, 1, M=1, N=1)
        self.wide = StreamConv2d(4, 4, 1, M=1, N=1)
        self.mean = StreamMean()
        self.out = ABCLinear(4, 5, M=1, N=8, activation_kind="pixels", common_scale=True)
        self.does = forward

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


def read_twice(s: Any, x: Tensor) -> Tensor:
    y = s.norm(s.conv(s.stem(x)))
    return s.out(s.mean(s.wide(y) + s.wide(y)))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda s, x: s.out(s.mean(s.stem(x) + s.norm(s.conv(s.stem(x))))),
         "forward: expected sums of streams only, which abc_hw.StreamConv2d gives, found add"),
        (lambda s, x: s.out(s.mean(s.stem(x) + s.narrow(s.stem(x)))),
         r"forward: expected a fitting input, found "),
        (lambda s, x: s.out(s.mean(s.stem(x) + s.stem(x)[:, :, :1])), "forward: expected a layer on bases, or "),
        (lambda s, x: s.out(s.mean(s.stem(x).view(-1, 4, 8, 9))), "forward: expected all but the images' axis"),
        (read_twice, "wide: expected a stream before what several layers read, found conv"),
        (lambda s, x: s.out(s.mean(s.norm(s.stem(x)))), "norm: expected a layer on bases before it"),
        (lambda s, x: s.mean(s.stem(x)), "output: expected the scores of a last layer"),
        (lambda s, x: s.out(s.mean(s.conv(s.stem(x)))), "mean: expected a stream before it, found sums"),
        (lambda s, x: s.out(s.mean(torch.exp(s.stem(x)))), "forward: expected a layer on bases, or .* exp"),
    ],
)  # fmt: skip
def test_what_no_network_does_is_told(forward: Callable[[Any, Tensor], Any], message: str) -> None:
    model = Forward(forward)
    with pytest.raises(InputError, match=message):
        abc_hw.export(model, torch.zeros(1, 2, 9, 8, dtype=torch.uint8), name="n", classes="abcde")
