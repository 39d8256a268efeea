"""The functions a training step spends its time in: as defined, and the same compiled as they are."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from abc_hw.training import binarize, kernels
from abc_hw.training.layers import ABCConv2d, ABCLinear

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++ here"
)


def both(monkeypatch: pytest.MonkeyPatch, fused: kernels.Fused, *arguments: Any) -> tuple[Any, Any]:
    """What a function returns as it is, and compiled; the test fails if it cannot be compiled."""
    monkeypatch.setattr(kernels, "LEAST", 0)
    plain = fused(*arguments)
    with kernels.compiling():
        compiled = fused(*arguments)
    assert fused._compiled not in (None, fused.plain)
    return plain, compiled


def check_steps(monkeypatch: pytest.MonkeyPatch, count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(20_001, generator=generator).to(dtype)
    t = torch.randn(count, generator=generator).sort().values
    x[:count] = t.to(dtype)
    breaks = torch.cat([t - 0.5, t, t + 0.5]).sort().values
    values = torch.randn(count + 1, generator=generator)
    plain, compiled = both(monkeypatch, kernels.steps, x, breaks, t, values)
    for one, two in zip(plain, compiled, strict=True):
        assert torch.equal(one, two)
    assert plain[1].dtype == torch.uint8
    assert plain[1].tolist() == torch.bucketize(x.float(), breaks, right=True).tolist()
    grad, slopes = torch.randn(x.shape, generator=generator).to(dtype), torch.randn(3 * count + 1)
    one, two = both(monkeypatch, kernels.steps_backward, grad, plain[1], slopes)
    assert torch.equal(one[0], two[0])
    assert torch.allclose(one[1], two[1], rtol=1e-4, atol=1e-2)
    reached = plain[1].view(-1, 1) > torch.arange(3 * count)
    assert torch.allclose(one[1].double(), (reached * grad.double().view(-1, 1)).sum(0), rtol=1e-4, atol=1e-2)


@needs_compiler
def test_compiled_steps_give_the_same_codes_values_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    check_steps(monkeypatch, 1, torch.float32)


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [2, 3, 7, 15])
def test_compiled_steps_of_any_count_and_type_are_the_same(
    monkeypatch: pytest.MonkeyPatch, count: int, dtype: torch.dtype
) -> None:
    check_steps(monkeypatch, count, dtype)


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize(
    ("residual", "groups"),
    [(False, (0,)), (False, (0, 1)), (False, (0, 1, 0)), (True, (0,)), (True, (0, 1)), (True, (0, 1, 2))],
)
def test_compiled_weights_are_the_same_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch, residual: bool, groups: tuple[int, ...], channel_wise: bool
) -> None:
    rows = torch.randn(24, 301, generator=torch.Generator().manual_seed(1))
    arguments = (rows, binarize.spread_shifts(len(groups)), residual, groups, channel_wise)
    plain, compiled = both(monkeypatch, kernels.approximation, *arguments)
    assert torch.allclose(plain, compiled, rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_rounding_to_the_stream_is_the_same(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    x = torch.linspace(-12, 12, 20_001).to(dtype)
    plain, compiled = both(monkeypatch, kernels.rounded, x, 0.0625, 128)
    assert plain[0].dtype == torch.float32
    for one, two in zip(plain, compiled, strict=True):
        assert torch.equal(one, two)
    one, two = both(monkeypatch, kernels.rounded_backward, torch.randn(20_001), plain[1], dtype)
    assert one.dtype == dtype
    assert torch.equal(one, two)
    assert torch.equal(one == 0, plain[1] == 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_steps_give_what_a_convolution_would_make_of_them(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 8, generator=generator).to(dtype).requires_grad_()
    t, beta = torch.tensor([-0.3, 0.4]), torch.tensor([0.77, 0.31])
    expected = binarize.sum_of_steps(x, t, beta, 0.5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = binarize.sum_of_steps(x, t, beta, 0.5)
    assert value.dtype == torch.bfloat16
    assert torch.equal(value, expected)
    grad = torch.randn(x.shape, generator=generator).bfloat16()
    found, wanted = (torch.autograd.grad(y, x, grad, retain_graph=True)[0] for y in (value, expected))
    assert found.dtype == x.dtype
    assert torch.equal(found, wanted)


GLOBAL_SYMBOLS = """
import os, sys, torch
from abc_hw.training import kernels

sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)  # what pyosys does
x, kernels.LEAST = torch.randn(20_000), 0
one, two = kernels.Fused(lambda x, a: x * a), kernels.Fused(lambda cells: cells.sum(0, dtype=torch.int32))
cells = (x >= 0).to(torch.uint8)
with kernels.compiling():
    assert torch.equal(one(x, x), x * x)
    assert two(cells).item() == cells.long().sum()
assert all(fused._compiled is not fused.plain for fused in (one, two))
assert sys.getdlopenflags() == os.RTLD_NOW | os.RTLD_GLOBAL
"""


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "RTLD_GLOBAL"), reason="libraries share no symbols on this system")
def test_kernels_stay_apart_where_extensions_share_their_symbols() -> None:
    """All compiled kernels are called ``kernel``: with shared symbols the second would run as the first."""
    subprocess.run([sys.executable, "-c", GLOBAL_SYMBOLS], check=True, timeout=300)


# -- against definitions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize("kind", ["abc", "residual"])
@pytest.mark.parametrize("M", [1, 2, 3, 5])
def test_the_weight_of_a_step_is_the_sum_of_its_bases(kind: str, M: int, channel_wise: bool) -> None:
    torch.manual_seed(M)
    layer = ABCConv2d(5, 6, 3, M=M, N=1, weight_kind=kind, channel_wise=channel_wise).double()
    alpha = layer.alpha.expand(6, M).T.reshape(M, 6, 1, 1, 1)
    expected = (alpha * layer.binary_weight()).sum(0)
    assert torch.allclose(layer.approximate_weight(), expected, rtol=1e-9, atol=1e-9)
    last = layer.to(memory_format=torch.channels_last).approximate_weight()
    assert torch.allclose(last, expected, rtol=1e-9, atol=1e-9)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_tied_steps_hold_in_the_weight_of_a_step() -> None:
    torch.manual_seed(0)
    layer = ABCLinear(200, 4, M=3, N=1, tie_steps=True).double()
    for row in layer.approximate_weight().detach():
        low, middle, high, top = row.unique().tolist() if row.unique().numel() == 4 else near(row)
        assert middle - low == pytest.approx(top - high, rel=1e-9)


def near(row: Tensor) -> list[float]:
    """The four numbers in a row, some of which rounding makes several."""
    levels: list[float] = []
    for value in row.sort().values.tolist():
        if not levels or value - levels[-1] > 1e-9:
            levels.append(value)
    return levels


def test_small_systems_are_solved_side_by_side() -> None:
    generator = torch.Generator().manual_seed(2)
    roots = torch.randn(7, 4, 4, dtype=torch.float64, generator=generator)
    gram, products = roots @ roots.transpose(1, 2), torch.randn(7, 4, dtype=torch.float64, generator=generator)
    rows = [[gram[:, i, j] for j in range(i + 1)] for i in range(4)]
    solved = torch.stack(kernels._solve(rows, list(products.unbind(1))), 1)
    assert torch.allclose(solved, torch.linalg.solve(gram, products.unsqueeze(2)).squeeze(2), rtol=1e-8)


# -- what a step keeps and moves ----------------------------------------------------------------------------


def test_steps_keep_one_byte_a_value_for_backward() -> None:
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    x = torch.randn(4, 8, 25, 25, requires_grad=True)
    t, beta = torch.tensor([-0.5, 0.0, 0.5], requires_grad=True), torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        binarize.sum_of_steps(x, t, beta, 0.5)
    assert x.numel() <= kept < x.numel() + 500


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_lie_in_memory_as_the_input_does(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    t, beta = torch.tensor([-0.5, 0.5]), torch.tensor([1.0, 0.5])
    value = binarize.sum_of_steps(x, t, beta, 0.5)
    grad = torch.randn(2, 3, 4, 5)
    value.backward(grad)
    assert value.is_contiguous(memory_format=layout)
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=layout)
    expected = 2 * ((x >= -0.5) * 1.0 + (x >= 0.5) * 0.5)
    assert torch.equal(value, expected)
    inside = ((x + 0.5).abs() <= 0.5) * 1.0 + ((x - 0.5).abs() <= 0.5) * 0.5
    assert torch.allclose(x.grad, grad * inside)


# -- where there is no compiler -----------------------------------------------------------------------------


def failing(*_: Any, **__: Any) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise RuntimeError("no working C++ compiler\nand more")

    return call


def test_without_a_compiler_functions_run_as_they_are_and_say_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "compile", failing)
    doubled = kernels.Fused(lambda x: x * 2)
    x = torch.ones(kernels.LEAST)
    with kernels.compiling(), caplog.at_level(logging.WARNING, "abc_hw"):
        assert torch.equal(doubled(x), 2 * x)
        assert torch.equal(doubled(x), 2 * x)
    assert [r.getMessage() for r in caplog.records] == [
        "training runs slower, for torch.compile failed: no working C++ compiler"
    ]


def test_nothing_is_compiled_for_small_tensors_or_outside_of_a_long_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", failing)
    doubled = kernels.Fused(lambda x: x * 2)
    doubled(torch.ones(kernels.LEAST))
    with kernels.compiling():
        doubled(torch.ones(kernels.LEAST - 1))
    assert doubled._compiled is None
