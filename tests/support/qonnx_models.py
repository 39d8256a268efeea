"""Small QONNX graphs, written node by node, and their integer networks beside the judge's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx_judge import DOMAIN, Judge

from abc_hw.conversion.onnx_import import Imported
from abc_hw.sim import golden


class Model:
    """An ONNX graph that grows node by node; tensors are float32, as files have them."""

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._input = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its (first) output."""
        number = len(self._nodes)
        names = [f"t{number}" if index == 0 else f"t{number}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(
            kind, list(inputs), names, name=f"{kind.lower()}{number}", domain=domain, **attributes
        ))
        return names[0]

    def quant(
        self, tensor: str, scale: Any, bits: float, *, signed: int = 1, narrow: int = 1, zero: float = 0.0,
        rounding: str = "ROUND",
    ) -> str:
        return self.add(
            "Quant", tensor, self.constant(scale), self.constant(zero), self.constant(float(bits)), domain=DOMAIN,
            signed=signed, narrow=narrow, rounding_mode=rounding,
        )

    def bipolar(self, tensor: str, scale: float = 1.0) -> str:
        return self.add("BipolarQuant", tensor, self.constant(scale), domain=DOMAIN)

    def norm(self, tensor: str, channels: int, *, falling: bool = False) -> str:
        """Batch normalisation, of falling slope in some channels."""
        weight = self.rng.uniform(0.5, 1.5, channels)
        if falling:
            weight[::2] *= -1
        parts = (weight, self.rng.normal(0, 0.3, channels), self.rng.normal(0, 0.5, channels),
                 self.rng.uniform(0.5, 2.0, channels))
        return self.add("BatchNormalization", tensor, *map(self.constant, parts), epsilon=1e-5)

    def weights(self, shape: Sequence[int], bits: int, scale: Any = 0.25) -> str:
        """Weights of so many bits: bipolar for 1."""
        values = self.constant(self.rng.normal(0, 0.5, shape))
        return self.bipolar(values, 0.5) if bits == 1 else self.quant(values, scale, bits)

    def save(self, path: Path, output: str, *more: str) -> Path:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (output, *more)]
        graph = helper.make_graph(self._nodes, "model", [self._input], outputs, self._constants)
        domains = {node.domain for node in self._nodes} - {""}
        opsets = [helper.make_opsetid("", 13), *(helper.make_opsetid(domain, 1) for domain in domains)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return path


def images(imported: Imported, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(codes [B, H, W, C] for the network, the same as the file's real numbers [B, C, H, W])."""
    rng = np.random.default_rng(seed)
    shape = (count, *imported.graph.input_shape)
    if imported.pixels:
        codes = rng.integers(0, 256, shape, dtype=np.uint8)
        return codes, codes.transpose(0, 3, 1, 2) / 255
    edges = np.array(imported.graph.training["input_edges"])
    real = rng.normal(0, np.abs(edges).max() / 2, shape)
    return np.searchsorted(edges, real, side="right").astype(np.uint8), real.transpose(0, 3, 1, 2)


def assert_equals_the_judge(path: Path, imported: Imported, count: int) -> int:
    """All quantised tensors equal, scores within 1e-9 relative; how many tensors were compared for each image."""
    judge = Judge(path)
    codes, real = images(imported, count)
    trace = golden.run_graph(imported.graph, codes)
    compared = 0
    for index in range(count):
        said = judge(real[index : index + 1].reshape(judge.shape))
        compared = 0
        for tensor, number in imported.quantised.items():
            if tensor not in said or number.node is None:
                continue
            found = number.real(trace.values[number.node][index])
            np.testing.assert_allclose(found, said[tensor][0], rtol=1e-9, atol=1e-12, err_msg=tensor)
            compared += 1
        np.testing.assert_allclose(
            real_output(imported, trace.output[index]), said["output"].reshape(-1), rtol=1e-9, atol=1e-9
        )
    return compared


def other_classes_in_float32(path: Path, imported: Imported, count: int) -> int:
    """Of so many images those to which the file, evaluated in float32 as it is, gives another class."""
    judge = Judge(path, as_it_is=True)
    codes, real = images(imported, count)
    given = golden.run_graph(imported.graph, codes).output
    other = 0
    for index in range(count):
        said = judge(real[index : index + 1].reshape(judge.shape).astype(np.float32))["output"].reshape(-1)
        other += int(said.argmax() != real_output(imported, given[index]).argmax())
    return other


def real_output(imported: Imported, values: np.ndarray) -> np.ndarray:
    """What the network's integers say of the file's output, channels last, flat."""
    last, record = imported.graph.nodes[-1], imported.graph.training
    if "output_scale" in record:
        scale, offset = (np.array(record[f"output_{part}"]) for part in ("scale", "offset"))
        return np.asarray(values * scale + offset).reshape(-1)
    return values.reshape(-1) * getattr(last, "scale", 1.0) + getattr(last, "offset", 0.0)
