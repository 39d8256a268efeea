"""What a QONNX graph may not say, node by node, and the line that names the node and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from qonnx_judge import DOMAIN
from qonnx_models import Model

from abc_hw.conversion.onnx_import import import_onnx
from abc_hw.errors import InputError

VECTOR, MAP = (1, 6), (1, 2, 4, 4)


def product(m: Model, x: str) -> str:
    """A dense layer behind codes of six features."""
    return m.add("MatMul", x, m.weights((6, 3), 2))


def codes(m: Model) -> str:
    return m.quant("x", 0.5, 3)


def kernels(m: Model) -> str:
    return m.weights((3, 2, 2, 2), 2)


def doubled(m: Model) -> str:
    """Codes whose channels have scales of their own."""
    return m.add("Mul", codes(m), m.constant([[1.0, 1, 1, 1, 1, 2]]))


CASES: dict[str, tuple[tuple[int, ...], Callable[[Model], str], str]] = {
    # operands
    "weights from the image": (VECTOR, lambda m: m.add("MatMul", codes(m), "t0"),
        "(MatMul): expected constant weights, found an input that is none"),
    "a constant where the image is wanted": (VECTOR,
        lambda m: product(m, m.quant(m.add("Relu", m.weights(VECTOR, 2)), 0.5, 3)),
        "(Relu): expected an input that depends on the image, found a constant"),
    "an output of constants": (VECTOR, lambda m: m.add("Add", m.constant([1.0]), m.constant([2.0])),
        "output t0: expected one that depends on the image, found constants only"),
    "a product of two tensors": (VECTOR, lambda m: m.add("Mul", codes(m), "t0"),
        "(Mul): expected a constant as one input, found none"),
    "thresholds from the image": (VECTOR,
        lambda m: m.add("MultiThreshold", product(m, codes(m)), "t0", domain=DOMAIN),
        "(MultiThreshold): expected a constant as input 2"),
    "constants of another shape": (VECTOR, lambda m: m.add("Add", codes(m), m.constant(np.ones((1, 5)))),
        "(Add): expected constants for its input, found 1 x 5"),
    "constants that differ in a channel": (MAP,
        lambda m: m.add("Add", codes(m), m.constant(m.rng.normal(size=MAP))),
        "(Add): expected one constant per channel, found several in one"),
    "constants without end": (VECTOR, lambda m: m.add("Add", codes(m), m.constant([np.inf])),
        "(Add): expected finite constants"),
    "a division by 0": (VECTOR, lambda m: m.add("Div", codes(m), m.constant([0.0])),
        "(Div): expected a division by constants that are not zero"),
    # dense layers
    "a map where features are wanted": (MAP, lambda m: m.add("MatMul", codes(m), m.weights((4, 3), 2)),
        "(MatMul): expected a vector of features, found 3 axes"),
    "alpha": (VECTOR, lambda m: m.add("Gemm", codes(m), m.weights((6, 3), 2), alpha=2.0),
        "(Gemm): expected alpha and beta of 1 and transA of 0"),
    "scales of their own": (VECTOR, lambda m: product(m, doubled(m)),
        "(MatMul): expected one scale for all channels of its input, found several"),
    "weight scales within a class": (VECTOR,
        lambda m: m.add("MatMul", codes(m), m.weights((6, 3), 2, scale=np.linspace(0.25, 1, 6).reshape(6, 1))),
        "(MatMul): expected one weight scale per output channel, found several in one"),
    # windows
    "dilations": (MAP, lambda m: m.add("Conv", codes(m), kernels(m), dilations=[2, 2]),
        "(Conv): expected dilations of 1, found [2, 2]"),
    "padding by itself": (MAP, lambda m: m.add("Conv", codes(m), kernels(m), auto_pad="SAME_UPPER"),
        "(Conv): expected pads in numbers, found auto_pad SAME_UPPER"),
    "rounding up": (MAP, lambda m: m.add("MaxPool", codes(m), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        "(MaxPool): expected ceil_mode 0, found 1"),
    "an average with padding": (MAP,
        lambda m: m.add("AveragePool", codes(m), kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        "(AveragePool): expected an average without padding, found pads (1, 1, 1, 1)"),
    "a mean of rows": (MAP, lambda m: m.add("ReduceMean", codes(m), axes=[2], keepdims=1),
        "(ReduceMean): expected a mean over all rows and columns, found axes [2]"),
    "padding that codes do not have": (MAP,
        lambda m: m.add(
            "Conv", m.add("Add", codes(m), m.constant([5.0])), kernels(m), kernel_shape=[2, 2], pads=[1, 1, 1, 1]
        ),
        "(Conv): expected padding with a number that its input can be, found 0, which it can not"),
    "padding with ones": (MAP,
        lambda m: m.add("Pad", codes(m), m.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), m.constant(1.0)),
        "(Pad): expected padding with zeros"),
    "padding of channels": (MAP, lambda m: m.add("Pad", codes(m), m.constant([0, 1, 0, 0, 0, 0, 0, 0], np.int64)),
        "(Pad): expected padding of rows and columns, found [0, 1, 0, 0, 0, 0, 0, 0]"),
    "padding before a sum": (MAP,
        lambda m: m.add("Relu", m.add("Pad", codes(m), m.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))),
        "(Relu): expected padding in front of a convolution only"),
    "channels last": (MAP,
        lambda m: m.add("MaxPool", m.add("Transpose", codes(m), perm=[0, 2, 3, 1]), kernel_shape=[2, 2]),
        "(MaxPool): expected a map with its channels first"),
    "a batch behind": (VECTOR, lambda m: m.add("Transpose", codes(m), perm=[1, 0]),
        "(Transpose): expected the batch of 1 in front, found [6, 1]"),
    # quantisers
    "variances": (VECTOR,
        lambda m: m.add("BatchNormalization", product(m, codes(m)), *(m.constant([1.0, 1, 1]) for _ in range(3)),
                        m.constant([1.0, -1, 1])),
        "(BatchNormalization): expected positive variances, found -1.0"),
    "zero points": (VECTOR, lambda m: m.quant("x", 0.5, 3, zero=0.5),
        "(Quant): expected one whole zero point, found 0.5 .. 0.5"),
    "half a bit": (VECTOR, lambda m: m.quant("x", 0.5, 2.5),
        "(Quant): expected one whole number of bits, found 2.5"),
    "many bits": (VECTOR, lambda m: m.quant("x", 0.5, 9), "(Quant): expected at most 8 bits, found 9"),
    "a falling out_scale": (VECTOR,
        lambda m: m.add("MultiThreshold", product(m, codes(m)), m.constant([[1]]), domain=DOMAIN, out_scale=-1.0),
        "(MultiThreshold): expected a positive out_scale, found -1.0"),
    "thresholds without end": (VECTOR,
        lambda m: m.add("MultiThreshold", product(m, codes(m)), m.constant([[1.0, np.inf]]), domain=DOMAIN),
        "(MultiThreshold): expected finite thresholds"),
    "an input that falls": (VECTOR, lambda m: m.quant(m.add("Neg", "x"), 0.5, 3),
        "(Quant): expected one rising function of all inputs in the first quantiser"),
    "levels out of reach": (VECTOR, lambda m: m.quant(m.add("Relu", "x"), 0.5, 3),
        "(Quant): expected every level within reach of the input"),
    # ends
    "a ReLU at the end": (VECTOR, lambda m: m.add("Relu", product(m, codes(m))),
        "output t3: expected no ReLU or Clip at the end, found one"),
    "an input of five dimensions": ((1, 2, 3, 4, 5), lambda m: m.quant("x", 0.5, 3),
        "input: expected a shape of 2 to 4 dimensions with the batch, found 5"),
    "a batch of two": ((2, 6), lambda m: product(m, codes(m)),
        "expected a batch of 1 in input x, found shape [2, 6]"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_line_names_the_node_and_what_would_be_right(case: str, tmp_path: Path) -> None:
    shape, build, line = CASES[case]
    model = Model(shape)
    path = model.save(tmp_path / "m.onnx", build(model))
    with pytest.raises(InputError) as found:
        import_onnx(path)
    said = str(found.value)
    assert said.startswith(f"{path}: ")
    assert said.endswith(line)
    assert "\n" not in said
