"""A quantised ONNX file as a list of operations in order; what has no meaning here is refused.

The ``qonnx`` package folds constants, gives every tensor a shape and every node a name. What then remains is one
input of known shape, one output, and standard operators or those of QONNX and FINN.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..reading import check_regular

__all__ = ["Operation", "SourceGraph", "read"]

FloatArray = npt.NDArray[np.float64]

DOMAINS = ("", "ai.onnx", "onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
"""Where operators may come from: ONNX itself, and those who define QONNX's and FINN's."""

CONTROL = ("Loop", "If", "Scan", "SequenceMap")


@dataclasses.dataclass(frozen=True)
class Operation:
    """A node.

    Members
    -------
    name, kind : of the node and its operator
    inputs, outputs : names of tensors; "" for an optional input that is not given
    attributes : values by name
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def place(self) -> str:
        """How messages call it."""
        return f"node {self.name} ({self.kind})"


@dataclasses.dataclass(frozen=True)
class SourceGraph:
    """Operations in topological order.

    Members
    -------
    input, output : names of the one input and the one output
    input_shape : with the batch, which is 1
    said_output : what the file itself calls the output
    constants : tensors that are known, float64
    shapes : of all tensors
    """

    operations: tuple[Operation, ...]
    input: str
    input_shape: tuple[int, ...]
    output: str
    said_output: str
    constants: Mapping[str, FloatArray]
    shapes: Mapping[str, tuple[int, ...]]

    def consumers(self, tensor: str) -> list[Operation]:
        return [operation for operation in self.operations if tensor in operation.inputs]


def read(path: str | os.PathLike[str]) -> SourceGraph:
    """The graph of an ONNX file.

    Raises
    ------
    InputError
        if it is no ONNX file, needs qonnx and there is none, or holds what cannot be taken: several inputs or
        outputs, dynamic shapes, external data, control flow, operators of other domains. The message names file
        and node.
    """
    import onnx

    name = os.fspath(path)
    check_regular(name, "an ONNX file")
    try:
        model = onnx.load_model(name, load_external_data=False)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from None
    except Exception:  # protobuf's errors have no common class
        raise InputError(f"{name}: expected an ONNX file, found something else") from None
    if not model.graph.node:
        raise InputError(f"{name}: expected an ONNX file, found something else, or no node in it")
    _check(model, name)
    _part(model.graph)
    said_output = model.graph.output[0].name
    return _as_graph(_cleaned(model, name), said_output)


def _part(graph: Any) -> None:
    """Where a node takes a tensor twice, one time it takes a copy: the qonnx package renames the first only."""
    from onnx import helper

    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        for place, tensor in enumerate(node.input):
            if tensor and tensor in node.input[:place]:
                node.input[place] = copy = f"{tensor} again {len(graph.node)}"
                graph.node.append(helper.make_node("Identity", [tensor], [copy], name=f"{node.name}_again"))
        graph.node.append(node)


def _check(model: Any, name: str) -> None:
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in known]
    for what, values in (("input", inputs), ("output", graph.output)):
        if len(values) != 1:
            found = ", ".join(value.name for value in values) or "none"
            raise InputError(f"{name}: expected one {what}, found {len(values)}: {found}")
    for dimension in inputs[0].type.tensor_type.shape.dim:
        if not dimension.HasField("dim_value") or dimension.dim_value < 1:
            raise InputError(
                f"{name}: expected a fixed shape of input {inputs[0].name}, found the dimension "
                f"{dimension.dim_param or 'without a size'}"
            )
    shape = [dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim]
    if shape[:1] != [1]:
        raise InputError(f"{name}: expected a batch of 1 in input {inputs[0].name}, found shape {shape}")
    for tensor in graph.initializer:
        if tensor.external_data or tensor.data_location:
            raise InputError(f"{name}: expected all data in the file, found tensor {tensor.name} in another one")
    for node in graph.node:
        place = f"{name}: node {node.name or node.output[0]} ({node.op_type})"
        if node.op_type in CONTROL:
            raise InputError(f"{place}: expected a graph without control flow")
        if node.domain not in DOMAINS:
            raise InputError(f"{place}: expected operators of ONNX, QONNX or FINN, found domain {node.domain}")


def _cleaned(model: Any, name: str) -> Any:
    """The model as the qonnx package cleans it: constants folded, shapes known, nodes named."""
    try:
        with _silence():
            from qonnx.core.modelwrapper import ModelWrapper
            from qonnx.util.cleanup import cleanup_model
    except ImportError:
        raise InputError(f"{name}: expected the qonnx package to read it: pip install 'abc-hw[import]'") from None
    try:
        with _silence():
            return cleanup_model(ModelWrapper(model), preserve_qnt_ops=True)
    except Exception as error:  # whatever stops shape inference or constant folding of somebody's graph
        what = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: expected a graph that the qonnx package can clean, found: {what}") from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What others print and warn about is not for the user of this program."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _as_graph(wrapper: Any, said_output: str) -> SourceGraph:
    from onnx import helper, numpy_helper

    graph = wrapper.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (given,) = (value for value in graph.input if value.name not in constants)
    tensors = {given.name, graph.output[0].name, *(output for node in graph.node for output in node.output)}
    shapes = {tensor: tuple(wrapper.get_tensor_shape(tensor) or ()) for tensor in tensors}
    shapes |= {tensor: value.shape for tensor, value in constants.items()}
    operations = tuple(
        Operation(
            node.name or node.output[0], node.op_type, tuple(node.input), tuple(node.output),
            {attribute.name: _plain(helper.get_attribute_value(attribute)) for attribute in node.attribute},
        )
        for node in graph.node
    )
    return SourceGraph(
        operations, given.name, shapes[given.name], graph.output[0].name, said_output,
        {tensor: value.astype(np.float64) for tensor, value in constants.items()}, shapes,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
