"""Residual networks: the stream's rounding, and integer mode = golden = graph at every node, trained or not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from abc_hw import data
from abc_hw.errors import InputError
from abc_hw.network import Graph, ScaleForm, files, nodes, onnx_export
from abc_hw.sim import fast, golden
from abc_hw.training import loop
from abc_hw.training.graph_lowering import trace_nodes
from abc_hw.training.lowering import to_network
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.quantised import evaluate_integer
from abc_hw.training.residual import DESIGNS, Design, ResidualNet
from abc_hw.training.stream import REACH, STEP, round_to_stream, to_factors

SMALL = Design(kernel=3, stride=1, pool=False, stages=((4, 1), (6, 2)))
POOLED = dataclasses.replace(SMALL, kernel=7, stride=2, pool=True)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(design: Design, shape: tuple[int, int, int], **options: Any) -> ResidualNet:
    """A model some steps from where it started, the last ones with integers, on random images."""
    torch.manual_seed(1)
    model = ResidualNet(design, shape, 5, **options)
    images = torch.randint(0, 256, (16, shape[2], *shape[:2]), dtype=torch.uint8)
    labels = torch.randint(0, 5, (16,))
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for step in range(12):
        model.train()
        model.set_integer(step >= 8)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.set_integer(True)
    reestimate_batch_norm(model, [images])
    return model


@pytest.mark.parametrize(
    ("design", "shape", "options"),
    [
        (SMALL, (9, 8, 3), {"M": 2, "N": 2}),
        (SMALL, (8, 8, 1), {"M": 1, "N": 1, "scale": ScaleForm(kind="fixed", bits=5)}),
        (POOLED, (33, 30, 3), {"M": 3, "N": 2, "kind": "residual"}),
    ],
)
def test_integer_mode_equals_golden_fast_path_and_file_at_every_node(
    design: Design, shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    model = trained(design, shape, **options)
    images = np.random.default_rng(0).integers(256, size=(4, *shape), dtype=np.uint8)
    graph = to_network(model, name="residual", classes="abcde")
    assert isinstance(graph, Graph)
    graph = files.from_bytes(files.to_bytes(graph), "net")
    found, trace = trace_nodes(model, images), golden.run_graph(graph, images)
    assert found.keys() | {"input"} == trace.values.keys()
    for name, values in found.items():
        assert values.dtype == trace.values[name].dtype
        assert np.array_equal(values, trace.values[name]), name
    assert np.array_equal(evaluate_integer(model, images), fast.run(graph, images))
    assert len(np.unique(found["mean.step"])) > 8  # the stream has something to say


def test_training_in_integer_mode_computes_what_is_exported() -> None:
    """The forward pass of training, in float32, gives the integer scores times a scale, up to rounding."""
    model = trained(SMALL, (9, 8, 3), M=2, N=2)
    images = np.random.default_rng(0).integers(256, size=(8, 9, 8, 3), dtype=np.uint8)
    with torch.no_grad():
        scores = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy().ravel()
    exact = evaluate_integer(model, images).ravel()
    ratio = float(scores @ exact) / float(exact @ exact)
    assert ratio > 0
    assert np.corrcoef(scores, exact)[0, 1] > 0.99999


@pytest.mark.parametrize(
    ("x", "steps"),
    [(0.5, 1), (-0.5, 0), (0.4, 0), (-0.6, -1), (1.5, 2), (-1.5, -1), (127.4, 127), (500.0, 127), (-500.0, -128)],
)
def test_rounding_to_the_stream_takes_halves_up_and_clips(x: float, steps: int) -> None:
    value = torch.tensor([x * STEP], requires_grad=True)
    rounded = round_to_stream(value)
    assert float(rounded.detach()) == steps * STEP
    rounded.backward()
    assert value.grad is not None
    assert float(value.grad) == (1.0 if abs(x) < REACH else 0.0)


@pytest.mark.parametrize("values", [[0.3, -0.01, 0.0], [1e-9, 2e-9, -3e-9], [1000.0, 1.0, 0.1], [0.0, 0.0, 0.0]])
def test_factors_are_the_nearest_of_their_form(values: list[float]) -> None:
    form = ScaleForm(kind="csd", bits=12, terms=2)
    tensor = torch.tensor(values, dtype=torch.float64)
    factors, shift = to_factors(tensor, form)
    assert 1 <= shift <= 40
    for value, factor in zip(values, factors.tolist(), strict=True):
        wanted = value * 2.0**shift
        assert abs(factor - wanted) == min(abs(int(allowed) - wanted) for allowed in form.allowed)


def test_batch_norm_is_frozen_with_the_first_integer_step_and_thaws_with_the_last() -> None:
    model = ResidualNet(SMALL, (8, 8, 1), 5, M=1, N=1)
    images = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)
    frozen = [part.norm for part in model if hasattr(part, "affine")]
    model.train()
    model(images)
    model.set_integer(True)
    before = [norm.running_mean.clone() for norm in frozen]
    model(images)
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(frozen, before, strict=True))
    model.train()
    assert not any(norm.training for norm in frozen)
    model.set_integer(False)
    model(images)
    assert not any(torch.equal(norm.running_mean, mean) for norm, mean in zip(frozen, before, strict=True))


def test_the_designs_have_the_sizes_of_the_papers() -> None:
    cifar = ResidualNet(DESIGNS["resnet20"], (32, 32, 3), 10, M=1, N=1)
    assert len(list(cifar)) == 19 + 2 + 1  # 19 convolutions of 3 x 3, two of 1 x 1 where the stream narrows
    assert cifar.macs == 40_551_040 + 2 * 16 * 16 * 16 * 32
    assert cifar.out_shape == (8, 8, 64)
    big = ResidualNet(DESIGNS["resnet18"], (224, 224, 3), 1000, M=1, N=1)
    assert big.macs == 1_814_073_344
    assert big.out_shape == (7, 7, 512)
    assert big.mean_factor() == (21, 10)  # 21 x 49 = 1029


def test_a_residual_network_learns_the_digits_and_exports_exactly(tmp_path: Path) -> None:
    options = {"M": 1, "N": 2, "batch": 128, "epochs": 2, "integer_epochs": 1, "lr": 0.02}
    config = loop.config_for("digits", model="resnet20", width=0.25, **options)
    result = loop.train(config, tmp_path, progress=False, accelerator="cpu")
    assert result.accuracy["test"] > 0.4
    again = loop.load_checkpoint(result.checkpoint).model
    graph = to_network(again, name="digits", classes=result.classes)
    assert isinstance(graph, Graph)
    test = data.load("digits").test
    scores = evaluate_integer(result.model, test.images)
    assert np.array_equal(fast.run(graph, test.images), scores)
    assert (scores.argmax(1) == test.labels).mean() == result.accuracy["test"]
    onnx_export.save(graph, tmp_path / "digits.onnx")
    assert [type(node) for node in graph.nodes].count(nodes.Add) == 9


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8, 1), {"M": (1, 2)}, r"M: expected one number or 9, one per layer, found 2"),
        ((8, 8, 1), {"N": 9}, r"N: expected an integer from 1 to 8, found 9"),
        ((8, 8, 1), {"kind": "ternary"}, "kind: expected one of abc, residual or float, found 'ternary'"),
    ],
)
def test_what_cannot_be_is_refused(shape: tuple[int, int, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ResidualNet(SMALL, shape, 5, **options)


def test_full_precision_has_no_integers() -> None:
    model = ResidualNet(SMALL, (8, 8, 1), 5, kind="float")
    assert model(torch.zeros((2, 1, 8, 8), dtype=torch.uint8)).shape == (2, 5)
    with pytest.raises(InputError, match="kind: expected "):
        to_network(model, name="full", classes="abcde")


@pytest.mark.long
def test_resnet18_at_its_size_gives_the_same_scores_everywhere() -> None:
    """224 x 224 x 3 and 1,000 classes at half the width: PyTorch's integers, fast path and onnxruntime."""
    torch.manual_seed(0)
    model = ResidualNet(DESIGNS["resnet18"], (224, 224, 3), 1000, M=2, N=2, width=0.5)
    images = np.random.default_rng(0).integers(256, size=(2, 224, 224, 3), dtype=np.uint8)
    model.set_integer(True)
    reestimate_batch_norm(model, [torch.from_numpy(images).permute(0, 3, 1, 2)])
    graph = to_network(model, name="resnet18", classes=[str(index) for index in range(1000)])
    assert isinstance(graph, Graph)
    scores = evaluate_integer(model, images)
    assert len(np.unique(scores)) > 500
    assert np.array_equal(fast.run(graph, images), scores)
    session = onnxruntime.InferenceSession(
        onnx_export.model(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert np.array_equal(session.run(["scores"], {"image": images})[0], scores)
