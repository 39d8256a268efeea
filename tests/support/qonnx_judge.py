"""A judge of imports: ONNX's own reference evaluator in float64, with the qonnx package's operators."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

FloatArray = npt.NDArray[np.float64]

DOMAIN = "qonnx.custom_op.general"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Others' warnings are not errors of this project."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


with quiet():
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.custom_op.general.bipolar_quant import binary_quant
    from qonnx.custom_op.general.intquant import int_quant
    from qonnx.custom_op.general.multithreshold import multithreshold
    from qonnx.util.cleanup import cleanup_model


class Quant(OpRun):
    op_domain = DOMAIN

    def _run(self, x, scale, zero, bits, signed=1, narrow=1, rounding_mode="ROUND"):  # type: ignore[no-untyped-def]
        return (int_quant(x, scale, zero, bits, signed, narrow, rounding_mode),)


class BipolarQuant(OpRun):
    op_domain = DOMAIN

    def _run(self, x, scale):  # type: ignore[no-untyped-def]
        return (binary_quant(x, scale),)


class MultiThreshold(OpRun):
    op_domain = DOMAIN

    def _run(self, x, table, out_scale=1.0, out_bias=0.0, out_dtype="", data_layout=""):  # type: ignore[no-untyped-def]
        return (multithreshold(x, table, out_scale, out_bias, channels_last=data_layout == "NHWC"),)


class BatchNormalization(OpRun):
    """As the standard says of inference; the evaluator's own of opset 9 mixes the batch's statistics in."""

    op_domain = ""

    def _run(self, x, weight, bias, mean, variance, epsilon=1e-5, momentum=0.9, training_mode=0):  # type: ignore[no-untyped-def]
        del momentum, training_mode
        axes = (-1, *(1,) * (x.ndim - 2))
        weight, bias, mean, variance = (part.reshape(axes) for part in (weight, bias, mean, variance))
        return ((x - mean) / np.sqrt(variance + epsilon) * weight + bias,)


def _in_float64(model: Any) -> None:
    for index, tensor in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            double = numpy_helper.from_array(values.astype(np.float64), tensor.name)
            model.graph.initializer[index].CopyFrom(double)
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE


class Judge:
    """An ONNX file, evaluated in float64.

    Parameters
    ----------
    path : of the file
    as_it_is : evaluate it in float32 instead, as the file says
    """

    def __init__(self, path: Path, *, as_it_is: bool = False) -> None:
        with quiet():
            model = cleanup_model(ModelWrapper(str(path))).model
        if not as_it_is:
            _in_float64(model)
        for node in model.graph.node:
            if node.op_type in ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold"):
                node.domain, node.op_type = DOMAIN, node.op_type.replace("IntQuant", "Quant")
        if DOMAIN not in {opset.domain for opset in model.opset_import}:
            model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        (given,) = model.graph.input
        self._input = given.name
        self.shape = tuple(dimension.dim_value for dimension in given.type.tensor_type.shape.dim)
        self._quantised = [node.output[0] for node in model.graph.node if node.domain == DOMAIN]
        output = model.graph.output[0].name
        known = {value.name for value in model.graph.output}
        for name in self._quantised:
            if name not in known:
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))
        self._names = [output, *(name for name in self._quantised if name != output)]
        operators = [Quant, BipolarQuant, MultiThreshold, BatchNormalization]
        self._evaluator = ReferenceEvaluator(model, new_ops=operators)

    def __call__(self, x: FloatArray) -> dict[str, FloatArray]:
        """All quantised tensors and the output (under ``output``) for one input with its batch of 1."""
        with quiet():
            found = self._evaluator.run(self._names, {self._input: x})
        return {"output": found[0], **dict(zip(self._names[1:], found[1:], strict=True))}
