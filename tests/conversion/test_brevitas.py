"""Networks that Brevitas exports, with seeded weights, brought in without a difference."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_rtl import assert_verilog_equals_golden
from qonnx_judge import quiet
from qonnx_models import assert_equals_the_judge
from torch import nn

from abc_hw.conversion.onnx_import import import_onnx

with quiet():
    import brevitas.nn as qnn
    from brevitas.export import export_qonnx
    from brevitas.inject.enum import QuantType


def quantised(weight_bits: int) -> dict[str, Any]:
    """Options of a Brevitas layer whose weights have so many bits."""
    if weight_bits == 1:
        return {"weight_quant_type": QuantType.BINARY, "weight_bit_width": 1, "bias": False}
    return {"weight_bit_width": weight_bits, "bias": False}


def activation(bits: int) -> nn.Module:
    if bits == 1:
        return qnn.QuantIdentity(quant_type=QuantType.BINARY, bit_width=1, scaling_init=1.0)
    return qnn.QuantReLU(bit_width=bits)


class Plain(nn.Module):
    """Two convolutions, a pool, a dense layer."""

    def __init__(self, weight_bits: int, bits: int) -> None:
        super().__init__()
        options = quantised(weight_bits)
        self.layers = nn.Sequential(
            qnn.QuantIdentity(bit_width=8), qnn.QuantConv2d(2, 4, 3, padding=1, **options), nn.BatchNorm2d(4),
            activation(bits), nn.MaxPool2d(2), qnn.QuantConv2d(4, 6, 3, **options), nn.BatchNorm2d(6),
            activation(bits), nn.Flatten(), qnn.QuantLinear(24, 5, **options),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Residual(nn.Module):
    """A block with a skip path, both ends on one scale."""

    def __init__(self) -> None:
        super().__init__()
        options = quantised(2)
        self.enter = nn.Sequential(
            qnn.QuantIdentity(bit_width=8), qnn.QuantConv2d(2, 4, 3, padding=1, **options), nn.BatchNorm2d(4),
            activation(2),
        )
        self.body = nn.Sequential(qnn.QuantConv2d(4, 4, 3, padding=1, **options), nn.BatchNorm2d(4))
        self.level = qnn.QuantIdentity(bit_width=4)
        self.after = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), qnn.QuantLinear(4 * 16, 3, **options))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        result: torch.Tensor = self.after(self.level(x) + self.level(self.body(x)))
        return result


def exported(model: nn.Module, size: int, path: Path) -> Path:
    """The model with statistics of random images, as Brevitas writes it."""
    torch.manual_seed(0)
    model.train()
    for _ in range(3):
        model(torch.randn(16, 2, size, size))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(-1.5, 1.5)  # slopes of either sign
                module.bias.normal_(0, 0.3)
    model.eval()
    with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        export_qonnx(model, torch.randn(1, 2, size, size), str(path))
    return path


def test_a_residual_block(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = exported(Residual(), 8, tmp_path / "m.onnx")
    assert assert_equals_the_judge(path, import_onnx(path), 20) >= 4


@pytest.mark.parametrize(
    "bits", [pytest.param((1, 1), marks=pytest.mark.long), (1, 2), pytest.param((2, 2), marks=pytest.mark.long)]
)
def test_convolutions(bits: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(2)
    path = exported(Plain(*bits), 8, tmp_path / "m.onnx")
    assert assert_equals_the_judge(path, import_onnx(path), 20) >= 3


@pytest.mark.long
@pytest.mark.parametrize("bits", [(1, 1), (1, 2), (2, 2), None])
def test_verilog(bits: tuple[int, int] | None, tmp_path: Path) -> None:
    """Of the convolutions, and of the residual block."""
    torch.manual_seed(1 if bits is None else 2)
    model = Residual() if bits is None else Plain(*bits)
    assert_verilog_equals_golden(import_onnx(exported(model, 8, tmp_path / "m.onnx")).graph, 20)
