"""The drop-in modules: the factored convolution, padding, gradients, and integer mode."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from abc_hw.errors import InputError
from abc_hw.network import ScaleForm
from abc_hw.training import binarize
from abc_hw.training.activation_bases import PixelBases, ResidualBases, ThresholdBases
from abc_hw.training.layers import ABCConv2d, ABCLinear, BatchNorm


def conv(M: int = 2, N: int = 3, seed: int = 0, **options: Any) -> ABCConv2d:
    torch.manual_seed(seed)
    layer = ABCConv2d(3, 4, (3, 2), stride=2, padding=1, M=M, N=N, **options)
    with torch.no_grad():
        for parameter in (layer.bias, getattr(layer.input_bases, "beta", None)):
            if parameter is not None:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def activation_bases(layer: ABCConv2d, x: torch.Tensor) -> torch.Tensor:
    """A_n, [N, ...], padded by one with -1."""
    v = layer.input_bases.v.detach()
    bases = torch.where((x + v.view(-1, 1, 1, 1, 1)).clip(0, 1) >= 0.5, 1.0, -1.0).to(x)
    return functional.pad(bases, [1] * 4, value=-1.0)


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize(("M", "N"), [(1, 1), (1, 3), (3, 1), (2, 3), (5, 5)])
def test_one_factored_convolution_is_the_sum_over_m_and_n(M: int, N: int, channel_wise: bool) -> None:
    layer = conv(M, N, channel_wise=channel_wise).double()
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    A, B = activation_bases(layer, x), layer.binary_weight()
    alpha, beta = layer.alpha.expand(4, M), layer.input_bases.beta
    expected = layer.bias.view(1, -1, 1, 1)
    for m in range(M):
        for n in range(N):
            expected = expected + beta[n] * alpha[:, m].view(1, -1, 1, 1) * functional.conv2d(A[n], B[m], stride=2)
    assert torch.allclose(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_linear_is_a_convolution_that_covers_its_input() -> None:
    torch.manual_seed(0)
    linear = ABCLinear(12, 5, M=3, N=2)
    one = ABCConv2d(3, 5, (2, 2), M=3, N=2)
    with torch.no_grad():
        one.weight.copy_(linear.weight.view(5, 3, 2, 2))
    x = torch.randn(4, 3, 2, 2)
    assert torch.allclose(linear(x.flatten(1)), one(x).flatten(1), atol=1e-5)


def test_weight_gets_the_gradient_of_its_approximation() -> None:
    layer = conv()
    x, grad = torch.randn(2, 3, 6, 7), torch.randn(2, 4, 3, 4)
    layer(x).backward(grad)
    fixed = layer.approximate_weight().detach().requires_grad_()
    value, lowest = layer.input_bases(x)
    full = functional.pad(value + lowest, [1] * 4, value=lowest.item()).detach()
    functional.conv2d(full, fixed, stride=2).backward(grad)
    assert layer.weight.grad is not None
    assert fixed.grad is not None
    assert torch.allclose(layer.weight.grad, fixed.grad, rtol=1e-4, atol=1e-4)
    assert layer.u.grad is None


def test_learnable_shifts_change_nothing_forward_and_receive_a_gradient() -> None:
    plain, learning = conv(), conv(learnable_u=True)
    x = torch.randn(2, 3, 6, 7)
    assert torch.equal(plain(x), learning(x))
    plain(x).square().sum().backward()
    learning(x).square().sum().backward()
    assert plain.weight.grad is not None
    assert torch.allclose(plain.weight.grad, learning.weight.grad)
    assert learning.u.grad is not None
    assert learning.u.grad.abs().min() > 0


def test_activation_bases_start_at_lloyd_max_and_all_parameters_learn() -> None:
    layer = conv()
    t, beta = binarize.lloyd_max(3)
    fresh = ThresholdBases(3)
    assert torch.equal(fresh.t, 0.5 - (0.5 - t))
    assert torch.equal(fresh.beta, beta)
    layer(torch.randn(8, 3, 9, 9)).square().sum().backward()
    for name in ("weight", "bias"):
        assert getattr(layer, name).grad.abs().min() > 0
    assert layer.input_bases.v.grad.abs().min() > 0
    assert layer.input_bases.beta.grad.abs().min() > 0
    assert (ThresholdBases(1).window, ThresholdBases(2).window) == (1.0, 0.5)


# -- pixels -------------------------------------------------------------------------------------------------


def test_pixel_bases_are_the_bit_planes() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    value, lowest = PixelBases()(pixels)
    integers, scale, sign = PixelBases().integers()
    planes = PixelBases.bases.expand(pixels.numpy()) * 2 - 1  # [256, 8]
    assert (planes @ integers.numpy()).tolist() == (2 * np.arange(256) - 255).tolist()
    assert np.allclose(value + lowest, (planes @ integers.numpy()) * scale.item() * sign, atol=1e-6)


def test_pixel_layer_pads_with_pixel_zero() -> None:
    torch.manual_seed(0)
    layer = ABCConv2d(1, 2, 3, padding=1, M=2, N=8, activation_kind="pixels")
    inner = torch.randint(0, 256, (1, 1, 4, 4), dtype=torch.uint8)
    framed = functional.pad(inner, [1] * 4)
    assert torch.allclose(layer(inner), layer(framed)[..., 1:-1, 1:-1], atol=1e-5)


# -- integer mode -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [ScaleForm(), ScaleForm(kind="fixed", bits=5), ScaleForm(kind="pow2", bits=4)])
@pytest.mark.parametrize(("M", "N", "common"), [(1, 1, False), (2, 3, True), (3, 2, False)])
def test_integer_mode_computes_with_the_integers_it_announces(
    form: ScaleForm, M: int, N: int, common: bool
) -> None:
    layer = conv(M, N, scale=form, common_scale=common).double()
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    before = layer(x)
    layer.set_integer(True)
    bases, alpha, scale = layer.integers()
    beta, beta_scale, _ = layer.input_bases.integers()
    assert form.allows(alpha.numpy()).all()
    assert form.allows(beta.numpy()).all()
    assert (scale > 0).all()
    assert len(set(scale.tolist())) == 1 or not common
    if M == 1:
        assert set(alpha.flatten().tolist()) <= {-1, 1}
    if N == 1:
        assert beta.tolist() == [1]
    acc = torch.zeros(2, 4, 3, 4, dtype=torch.float64)
    A = activation_bases(layer, x)
    for m in range(M):
        for n in range(N):
            dot = functional.conv2d(A[n], bases[m], stride=2)
            acc += alpha[:, m].view(1, -1, 1, 1) * beta[n] * dot
    expected = acc * (scale * beta_scale).view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)
    assert torch.allclose(layer(x), expected, rtol=1e-9, atol=1e-9)
    layer.set_integer(False)
    assert torch.equal(layer(x), before)


def test_a_single_negative_beta_moves_its_sign_into_alpha() -> None:
    layer = conv(2, 1)
    positive = layer.integers()[1]
    with torch.no_grad():
        layer.input_bases.beta.neg_()
    assert torch.equal(layer.integers()[1], -positive)
    assert layer.input_bases.integers()[0].tolist() == [1]


def test_integer_mode_is_straight_through() -> None:
    layer = conv()
    layer.set_integer(True)
    x = torch.randn(2, 3, 6, 7)
    layer(x).square().sum().backward()
    for tensor in (layer.weight, layer.input_bases.beta, layer.input_bases.v):
        assert tensor.grad is not None
        assert tensor.grad.abs().min() > 0


# -- batch norm ---------------------------------------------------------------------------------------------


def test_positive_batch_norm_uses_the_magnitude_of_its_weight() -> None:
    ours, reference = BatchNorm(3), torch.nn.BatchNorm2d(3)
    x = torch.randn(5, 3, 4, 4)
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([-2.0, 0.5, 1.0]))
        reference.weight.copy_(ours.weight.abs())
    assert torch.equal(ours(x), reference(x))
    assert torch.equal(ours.running_var, reference.running_var)
    assert torch.equal(ours.eval()(x), reference.eval()(x))
    assert ours.state()["slope"].tolist() == [2, 0.5, 1]
    signed = BatchNorm(3, positive=False)
    with torch.no_grad():
        signed.weight.neg_()
    assert torch.equal(signed(x), -BatchNorm(3)(x))


def test_batch_norm_without_momentum_averages_all_batches_alike() -> None:
    norm = BatchNorm(2)
    norm.momentum = None
    batches = [torch.randn(6, 2) for _ in range(5)]
    for batch in batches:
        norm(batch)
    assert torch.allclose(norm.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([b.var(0) for b in batches]).mean(0), atol=1e-6)


# -- residual bases and full precision ----------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 3])
def test_residual_levels_are_sums_of_signs_in_the_order_of_the_thresholds(N: int) -> None:
    torch.manual_seed(N)
    bases = ResidualBases(N)
    with torch.no_grad():
        bases.v.copy_(bases.v[torch.randperm(2**N - 1)])
        bases.beta.add_(0.1 * torch.randn(N))
    x = torch.randn(5, 40)
    level = (x.unsqueeze(-1) >= bases.t).sum(-1)
    signs = torch.from_numpy(bases.bases.expand(level.numpy())) * 2.0 - 1
    value, lowest = bases(x)
    assert torch.allclose(value + lowest, signs @ bases.beta, atol=1e-6)
    bases.integer = True
    integers, scale, sign = bases.integers()
    value, lowest = bases(x)
    assert torch.allclose(value + lowest, sign * scale.float() * (signs @ integers.float()), atol=1e-5)


@pytest.mark.parametrize(("N", "most"), [(1, 0.3635), (2, 0.119), (3, 0.041)])
def test_residual_activation_bases_start_near_the_best_levels(N: int, most: float) -> None:
    x = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(100_000) + 0.5) / 100_000)
    value, lowest = ResidualBases(N)(x)
    assert (value + lowest - x).square().mean().item() < most


def test_residual_bases_learn_their_thresholds_and_coefficients() -> None:
    bases = ResidualBases(2)
    value, lowest = bases(torch.randn(1000))
    (value + lowest).pow(3).sum().backward()
    for parameter in (bases.v, bases.beta):
        assert parameter.grad is not None
        assert parameter.grad.abs().min() > 0


def test_a_layer_in_full_precision_is_the_library_s_on_rectified_input() -> None:
    torch.manual_seed(0)
    layer = ABCConv2d(3, 4, 3, padding=1, M=1, N=1, weight_kind="float", activation_kind="float")
    x = torch.randn(2, 3, 5, 5)
    expected = functional.conv2d(functional.relu(x), layer.weight, layer.bias, padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-6)
    layer.set_integer(True)
    assert torch.allclose(layer(x), expected, atol=1e-6)
    with pytest.raises(InputError, match="kind: expected weights on bases, found float"):
        layer.integers()


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"M": 0}, "M: expected an integer from 1 to 8, found 0"),
        ({"N": 9}, "N: expected an integer from 1 to 8, found 9"),
        ({"N": 2.0}, "N: expected an integer from 1 to 8, found 2.0"),
        ({"activation_kind": "pixels"}, "N: expected 8 for a layer on 8-bit pixels, found 2"),
        ({"activation_kind": "other"}, "activation_kind: expected abc, residual, pixels or float, found 'other'"),
        ({"activation_kind": "residual", "N": 5}, "N: expected at most 4 residual activation bases, found 5"),
        ({"weight_kind": "other"}, "weight_kind: expected one of abc, residual or float, found 'other'"),
        ({"weight_kind": "residual", "tie_steps": True}, "tie_steps: expected weights of kind abc, found resid"),
        ({"stride": 0}, "stride: expected a positive integer, found 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ABCConv2d(2, 2, 3, **{"M": 2, "N": 2, **options})
    if "stride" not in options:
        with pytest.raises(InputError, match=message):
            ABCLinear(2, 2, **{"M": 2, "N": 2, **options})
