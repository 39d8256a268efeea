"""The ONNX export, evaluated by onnxruntime: the golden model's scores and classes, bit for bit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EXAMPLES
from random_graphs import random_codes, random_graph
from random_networks import random_images, random_network
from test_network import make_classifier, make_layer, make_network

from abc_hw.errors import InputError, NetworkError
from abc_hw.network import Bases, Codes, Graph, Layer, Network, ScaleForm, nodes, onnx_export
from abc_hw.network.description import load, random_layer
from abc_hw.sim import fast, golden


def evaluate(model: bytes, images: npt.NDArray[np.uint8]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["scores", "class"], {"image": images})


def assert_equal(network: Network, images: npt.NDArray[np.uint8]) -> None:
    scores, classes = evaluate(onnx_export.model(network).SerializeToString(), images)
    trace = golden.run(network, images)
    assert scores.dtype == classes.dtype == np.int64
    assert np.array_equal(scores, trace.scores)
    assert np.array_equal(classes, trace.classes)


def assert_graph_equal(graph: Graph, images: npt.NDArray[Any]) -> None:
    """Scores and classes, or the output of a network without classes; golden, fast path and onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_export.model(graph).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found, *classes = session.run(None, {"image": images})
    trace = golden.run_graph(graph, images)
    assert found.dtype == trace.output.dtype
    assert np.array_equal(found, trace.output)
    assert np.array_equal(fast.run(graph, images), trace.output)
    assert [each.tolist() for each in classes] == ([trace.classes.tolist()] if graph.classes else [])


def only_layer(**options: Any) -> Network:
    """A network of one classifier."""
    layer = random_layer(np.random.default_rng(4), name="one", levels=None, plain=False, **options)
    return Network(name="one", layers=(layer,), classes=tuple(map(str, range(layer.out_channels))))


@given(st.integers(0, 2**32))
def test_random_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    assert_equal(network, random_images(rng, network))


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    assert_graph_equal(graph, random_codes(rng, graph))


@pytest.mark.long
def test_many_random_graphs() -> None:
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, steps=10)
        assert_graph_equal(graph, random_codes(rng, graph))


def test_floors_of_negative_numbers_and_windows_of_wide_integers() -> None:
    """Div truncates and MaxPool takes no int64: values beyond 32 bits and below 0 go through both."""
    form = ScaleForm(kind="fixed", bits=16)
    codes = Bases(kind="planes", count=8)
    decode = nodes.Decode(name="wide", inputs="input", input_bases=codes, beta=1 << np.arange(8), beta_scale=form)
    up = nodes.Requantise(
        name="up", inputs="wide", factor=[(1 << 15) - 1], factor_scale=form, offset=[-(1 << 50)], shift=8,
        low=-(1 << 45), high=1 << 45,
    )  # fmt: skip
    pool = nodes.MaxPool(name="pool", inputs="up", size=(1, 2), stride=(1, 1), padding=(0, 0, 1, 1))
    out = nodes.Output(name="out", inputs="pool")
    graph = Graph(name="wide", input=Codes(codes, (1, 255, 1)), nodes=(decode, up, pool, out))
    images = np.arange(1, 256, dtype=np.uint8).reshape(1, 1, 255, 1)
    assert golden.run_graph(graph, images).output.max() < -(1 << 41)
    assert_graph_equal(graph, images)


@pytest.mark.parametrize("name", ["lenet", "mlp", "tiny", "vgg"])
def test_examples(name: str) -> None:
    network, _ = load(EXAMPLES / f"{name}.toml")
    assert_equal(network, random_images(np.random.default_rng(1), network, 4))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["thermometer", "planes"])
def test_coefficients_of_any_width(bits: int, kind: Any) -> None:
    """Inputs that no byte holds, sums beyond 32 bits: both bounds of every channel are met."""
    form = ScaleForm(kind="fixed", bits=bits)
    network = only_layer(
        in_shape=(4, 4, 20), out_channels=4, kernel=(4, 4), M=5, N=5, input_kind=kind, alpha_scale=form,
        beta_scale=form,
    )  # fmt: skip
    layer = network.layers[0]
    flat = layer.weights.reshape(4, -1).astype(int)
    weights = np.take_along_axis(layer.weight_bases.values(layer.alpha), flat, axis=1)
    inputs = layer.input_bases.values(layer.beta)
    high = np.where(weights >= 0, inputs.argmax(), inputs.argmin())
    low = np.where(weights >= 0, inputs.argmin(), inputs.argmax())
    images = np.concatenate([high, low]).astype(np.uint8).reshape(8, 4, 4, 20)
    scores, _ = evaluate(onnx_export.model(network).SerializeToString(), images)
    least, greatest = layer.acc_bounds
    assert np.array_equal(np.diag(scores[:4]), greatest + layer.bias)
    assert np.array_equal(np.diag(scores[4:]), least + layer.bias)
    assert_equal(network, images)


@pytest.mark.parametrize(
    ("kind", "beta", "count"),
    [
        ("planes", [1, 2, 4, 8, 16, 32, 64, 128], 1),  # a pixel is its own byte
        ("thermometer", [100, -100, 255], 1),
        ("thermometer", [100, 100, 100], 2),
        ("thermometer", [256], 1),
        ("thermometer", [3, -300, 4, 0], 3),
        ("planes", [200, -100], 2),
    ],
)
def test_bytes_hold_as_many_bases_as_they_can(kind: Any, beta: list[int], count: int) -> None:
    layer = _with_inputs(kind, beta)
    sums = onnx_export.byte_sums(layer)
    assert len(sums) == count
    bits = layer.input_bases.expand(np.arange(layer.input_bases.levels)).astype(int)
    total = sum(each.factor * (each.table.astype(int) - each.zero) for each in sums)
    assert np.array_equal(total, bits @ np.array(beta))
    assert all(each.table[0] == each.zero for each in sums)  # padding is code 0


def test_pixels_are_convolved_as_they_are() -> None:
    network, _ = load(EXAMPLES / "lenet.toml")
    operators = [node.op_type for node in onnx_export.model(network).graph.node]
    assert operators.count("ConvInteger") == len(network.layers)
    assert operators.count("Gather") == len(network.layers) - 1


def test_lowest_index_wins_a_tie() -> None:
    layer = make_classifier(alpha=np.zeros((2, 1), int), bias=np.array([7, 7]))
    network = Network(name="tie", layers=(layer,), classes=("a", "b"))
    _, classes = evaluate(onnx_export.model(network).SerializeToString(), np.zeros((3, 2, 2, 3), np.uint8))
    assert classes.tolist() == [0, 0, 0]


def test_model_says_what_it_is() -> None:
    network = make_network()
    model = onnx_export.model(network)
    assert {item.key: item.value for item in model.metadata_props} == {"digest": network.digest, "classes": "a\nb"}
    assert [item.name for item in model.graph.input] == ["image"]
    assert [item.name for item in model.graph.output] == ["scores", "class"]
    assert {item.domain for item in model.opset_import} == {""}
    assert {node.domain for node in model.graph.node} == {""}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    assert not floats & {tensor.data_type for tensor in model.graph.initializer}


def test_file_is_whole_valid_and_the_same_each_time(tmp_path: Path) -> None:
    network = make_network()
    path = tmp_path / "net.onnx"
    onnx_export.save(network, path)
    first = path.read_bytes()
    onnx_export.save(network, path)
    assert path.read_bytes() == first
    assert os.listdir(tmp_path) == ["net.onnx"]
    onnx.checker.check_model(str(path), full_check=True)
    images = random_images(np.random.default_rng(0), network)
    assert np.array_equal(evaluate(first, images)[0], golden.run(network, images).scores)


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none" / "net.onnx"
    message = f"{path}: expected a file that can be written, found No such file or directory"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        onnx_export.save(make_network(), path)


def test_sums_beyond_the_operator_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """2**31 / 255 inputs of one dot product take gigabytes, so the byte is made to look wider instead."""
    monkeypatch.setattr(onnx_export.ByteSum, "greatest", property(lambda self: 1 << 27))
    message = f"conv1.kernel: expected sums of 32 bits in an ONNX export, found {18 << 27}"
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        onnx_export.model(make_network())


def _with_inputs(kind: Any, beta: list[int]) -> Layer:
    return make_layer(
        input_bases=Bases(kind=kind, count=len(beta)), beta=np.array(beta),
        beta_scale=ScaleForm(kind="fixed", bits=16), thresholds=np.zeros((3, 1), int),
    )  # fmt: skip
