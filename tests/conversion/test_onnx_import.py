"""Imports of quantised ONNX graphs: equal to ONNX's evaluator with qonnx's operators, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qonnx_models import Model, assert_equals_the_judge

from abc_hw.conversion.onnx_import import import_onnx
from abc_hw.errors import InputError
from abc_hw.network.nodes import Conv, Encode, MaxPool, Output, Requantise, Scores, SumPool, Table


def dense_end(model: Model, tensor: str, features: int, classes: int = 4, bits: int = 2) -> str:
    flat = model.add("Flatten", tensor)
    return model.add("MatMul", flat, model.weights((features, classes), bits))


def convolutional(bits: tuple[int, int], *, falling: bool = False) -> tuple[Model, str]:
    """Two convolutions and a dense layer, weights and activations of so many bits."""
    weight, activation = bits
    model = Model((1, 2, 6, 5), seed=sum(bits))
    x = model.quant("x", 0.125, 4, narrow=0)
    x = model.add("Conv", x, model.weights((5, 2, 3, 3), weight), kernel_shape=[3, 3], pads=[1, 0, 2, 1])
    x = model.norm(x, 5, falling=falling)
    if activation == 1:
        x = model.bipolar(x)
    else:
        x = model.quant(model.add("Relu", x), 0.5, activation, signed=0, narrow=0)
    x = model.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = model.add("Conv", x, model.weights((4, 5, 2, 2), weight), kernel_shape=[2, 2], pads=[1, 1, 0, 0])
    x = model.norm(x, 4, falling=falling)
    x = model.bipolar(x) if activation == 1 else model.quant(x, 0.75, activation)
    return model, dense_end(model, x, 4 * 3 * 2)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("bits", [(1, 1), (1, 2), (2, 2), (4, 3)])
def test_convolutions(tmp_path: Path, bits: tuple[int, int], falling: bool) -> None:
    model, output = convolutional(bits, falling=falling)
    path = model.save(tmp_path / "m.onnx", output)
    imported = import_onnx(path)
    assert assert_equals_the_judge(path, imported, 20) == 3
    nodes = imported.graph.nodes
    assert isinstance(nodes[-1], Scores)
    assert not any(isinstance(node, Requantise) for node in nodes)  # negations are in the alphas
    assert [node.weight_bases.count for node in nodes if isinstance(node, Conv)][:2] == [bits[0]] * 2
    assert [row[1] for row in imported.report].count("Conv") == 2


def test_padding_of_bipolar_codes_counts_nothing(tmp_path: Path) -> None:
    model, output = convolutional((1, 1))
    imported = import_onnx(model.save(tmp_path / "m.onnx", output))
    second = [node for node in imported.graph.nodes if isinstance(node, Conv)][1]
    assert second.padding == (1, 0, 1, 0)
    assert second.padding_code is None


def test_a_skip_path_groups_and_pools(tmp_path: Path) -> None:
    model = Model((1, 4, 6, 6), seed=3)
    x = model.quant("x", 0.5, 3)
    y = model.add("Conv", x, model.weights((4, 2, 3, 3), 2), kernel_shape=[3, 3], pads=[1] * 4, group=2)
    y = model.quant(model.norm(y, 4, falling=True), 0.25, 4)
    x = model.add("Add", x, y)
    x = model.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0])
    x = model.quant(model.norm(x, 4), 0.5, 3)
    x = model.add("GlobalAveragePool", x)
    path = model.save(tmp_path / "m.onnx", dense_end(model, x, 4))
    imported = import_onnx(path)
    assert assert_equals_the_judge(path, imported, 20) == 3
    kinds = [type(node) for node in imported.graph.nodes]
    assert {MaxPool, SumPool, Encode} <= set(kinds)


def test_a_tensor_that_is_taken_twice(tmp_path: Path) -> None:
    """The judge does not read such a file, but one with a copy of the tensor."""

    def doubled(name: str, *copy: str) -> Path:
        model = Model((1, 6))
        x = model.quant("x", 0.5, 3)
        x = model.quant(model.add("Add", x, model.add(*copy, x) if copy else x), 0.75, 3)
        return model.save(tmp_path / name, model.add("MatMul", x, model.weights((6, 3), 2)))

    judged, path = doubled("copy.onnx", "Identity"), doubled("twice.onnx")
    imported = import_onnx(judged, name="both")
    assert assert_equals_the_judge(judged, imported, 20) == 2
    assert import_onnx(path, name="both").graph.digest == imported.graph.digest


def test_pixels_become_a_table(tmp_path: Path) -> None:
    model = Model((1, 1, 4, 4))
    x = model.add("Sub", model.add("Mul", "x", model.constant(2.0)), model.constant(1.0))
    path = model.save(tmp_path / "m.onnx", dense_end(model, model.quant(x, 1.0, 2), 16))
    imported = import_onnx(path)
    assert imported.pixels
    assert isinstance(imported.graph.nodes[0], Table)
    assert_equals_the_judge(path, imported, 10)


def test_pixels_may_meet_the_first_weights_as_they_are(tmp_path: Path) -> None:
    model = Model((1, 3, 4, 4))
    x = model.add("Conv", "x", model.weights((4, 3, 3, 3), 2), kernel_shape=[3, 3])
    path = model.save(tmp_path / "m.onnx", dense_end(model, model.quant(model.norm(x, 4), 0.5, 2), 16))
    imported = import_onnx(path)
    assert imported.graph.input.bases.count == 8
    assert_equals_the_judge(path, imported, 10)


def test_signals_of_one_dimension(tmp_path: Path) -> None:
    model = Model((1, 2, 9), seed=1)
    x = model.quant("x", 0.25, 3)
    x = model.add("Conv", x, model.weights((3, 2, 3), 2), kernel_shape=[3], strides=[2], pads=[1, 1])
    x = model.quant(model.norm(x, 3), 0.5, 2)
    path = model.save(tmp_path / "m.onnx", dense_end(model, x, 15))
    imported = import_onnx(path)
    assert imported.graph.input_shape == (1, 9, 2)
    assert_equals_the_judge(path, imported, 10)


@pytest.mark.parametrize("rounding", ["ROUND", "FLOOR", "CEIL", "HALF_UP", "DOWN"])
def test_ties_fall_as_the_file_says(tmp_path: Path, rounding: str) -> None:
    """Sums on a grid of quarters, cut at halves: every rounding meets ties."""
    model = Model((1, 6), seed=2)
    x = model.quant("x", 0.5, 3)
    x = model.add("MatMul", x, model.weights((6, 8), 3, 0.5))
    x = model.quant(x, 0.5, 4, rounding=rounding)
    path = model.save(tmp_path / "m.onnx", model.add("MatMul", x, model.weights((8, 3), 2)))
    assert_equals_the_judge(path, import_onnx(path), 40)


def test_thresholds_of_finn(tmp_path: Path) -> None:
    model = Model((1, 6), seed=4)
    x = model.quant("x", 0.5, 3)
    x = model.add("MatMul", x, model.weights((6, 5), 1))
    table = np.sort(model.rng.normal(0, 1, (5, 3)), axis=1)
    x = model.add("MultiThreshold", x, model.constant(table), domain="qonnx.custom_op.general", out_dtype="INT2",
                  out_scale=1.0, out_bias=-2.0)
    path = model.save(tmp_path / "m.onnx", model.add("MatMul", x, model.weights((5, 3), 2)))
    assert_equals_the_judge(path, import_onnx(path), 20)


def test_an_end_whose_classes_have_scales_of_their_own_is_integers(tmp_path: Path) -> None:
    model = Model((1, 6), seed=5)
    x = model.quant("x", 0.5, 3)
    scales = np.array([[0.25, 0.5, 0.125]])
    path = model.save(tmp_path / "m.onnx", model.add("MatMul", x, model.weights((6, 3), 2, scales)))
    imported = import_onnx(path)
    assert isinstance(imported.graph.nodes[-1], Output)
    assert_equals_the_judge(path, imported, 10)


def test_what_orders_the_scores_alike_is_left_out(tmp_path: Path) -> None:
    model = Model((1, 6), seed=5)
    x = model.add("MatMul", model.quant("x", 0.5, 3), model.weights((6, 3), 2))
    imported = import_onnx(model.save(tmp_path / "m.onnx", model.add("Softmax", x)), classes=["a", "b", "c"])
    assert imported.graph.classes == ("a", "b", "c")
    assert imported.report[-1][2] == "left out: the class is that of the greatest score"


# -- refusals -----------------------------------------------------------------------------------------------


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as found:
        import_onnx(path, **options)
    line = str(found.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def small(model: Model, tensor: str = "x") -> str:
    return model.add("MatMul", model.quant(tensor, 0.5, 3), model.weights((6, 3), 2))


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    assert refused(path) == "No such file or directory"
    path.write_bytes(b"no protobuf")
    assert refused(path).startswith("expected an ONNX file, found something else")


def test_two_outputs(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = small(model)
    assert refused(model.save(tmp_path / "m.onnx", x, "t0")) == "expected one output, found 2: t2, t0"


def test_shapes_that_are_not_fixed(tmp_path: Path) -> None:
    model = Model((1, 6))
    path = model.save(tmp_path / "m.onnx", small(model))
    changed = onnx.load(path)
    changed.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    onnx.save(changed, path)
    assert refused(path) == "expected a fixed shape of input x, found the dimension n"


def test_external_data(tmp_path: Path) -> None:
    model = Model((1, 6))
    path = model.save(tmp_path / "m.onnx", small(model))
    changed = onnx.load(path)
    changed.graph.initializer[0].data_location = TensorProto.EXTERNAL
    path.write_bytes(changed.SerializeToString())
    assert refused(path) == "expected all data in the file, found tensor c0 in another one"


def test_operators_of_strangers(tmp_path: Path) -> None:
    model = Model((1, 6))
    path = model.save(tmp_path / "m.onnx", small(model, model.add("Magic", "x", domain="some.where")))
    assert refused(path) == (
        "node magic0 (Magic): expected operators of ONNX, QONNX or FINN, found domain some.where"
    )


def test_control_flow(tmp_path: Path) -> None:
    model = Model((1, 6))
    body = helper.make_graph([], "body", [], [])
    path = model.save(tmp_path / "m.onnx", small(model, model.add("Loop", "x", body=body)))
    assert refused(path) == "node loop0 (Loop): expected a graph without control flow"


def test_scales_that_are_not_positive(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = model.add("MatMul", model.quant("x", 0.5, 3), model.quant(model.constant(np.ones((6, 3))), -0.5, 2))
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith("expected positive scales, found -0.5")


def test_weights_that_are_real_numbers(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = model.add("MatMul", model.quant("x", 0.5, 3), model.constant(model.rng.normal(0, 1, (6, 3))))
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith(
        "(MatMul): expected quantised weights (Quant or BipolarQuant in front), found real numbers"
    )


def test_a_relu_without_a_quantiser(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = model.add("Relu", model.add("MatMul", model.quant("x", 0.5, 3), model.weights((6, 4), 2)))
    x = model.add("MatMul", x, model.weights((4, 3), 2))
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith(
        "expected a quantiser between it and the ReLU or Clip in front, found none"
    )


def test_skip_paths_without_a_common_step(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = model.quant("x", 0.5, 3)
    y = model.quant(model.add("MatMul", x, model.weights((6, 6), 2)), 0.3333, 3)
    x = model.add("MatMul", model.quant(model.add("Add", x, y), 0.5, 3), model.weights((6, 3), 2))
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith(
        "(Add): expected two inputs whose scales have a common step, found 0.25 and 0.16665; quantise both with "
        "the same scale"
    )


def test_skip_paths_whose_shapes_differ(tmp_path: Path) -> None:
    model = Model((1, 2, 4, 4))
    x = model.quant("x", 0.5, 3)
    y = model.add("Conv", x, model.weights((1, 2, 1, 1), 2), kernel_shape=[1, 1])
    x = dense_end(model, model.add("Add", x, model.quant(y, 0.5, 3)), 32)
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith(
        "(Add): expected inputs of equal shape and order, found 2 x 4 x 4 and 1 x 4 x 4"
    )


def test_two_quantisers_of_the_input(tmp_path: Path) -> None:
    model = Model((1, 6))
    x = model.add("Add", model.quant("x", 0.5, 3), model.quant("x", 0.25, 3))
    x = model.add("MatMul", model.quant(x, 0.5, 3), model.weights((6, 3), 2))
    assert refused(model.save(tmp_path / "m.onnx", x)).endswith(
        "(Quant): expected one quantiser behind the network's input, found another before it"
    )


def test_an_operator_that_nothing_here_computes(tmp_path: Path) -> None:
    model = Model((1, 6))
    path = model.save(tmp_path / "m.onnx", small(model, model.add("Sigmoid", "x")))
    line = refused(path)
    assert line.startswith("node Sigmoid_0 (Sigmoid): expected one of Add, ")
    assert line.endswith("; nothing here computes it")
