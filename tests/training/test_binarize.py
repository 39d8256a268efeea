"""The functions of abc_hw.training.binarize against definitions written out, NumPy, and numerical derivatives."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abc_hw.errors import InputError
from abc_hw.network import ScaleForm
from abc_hw.training import binarize

FORMS = [
    ScaleForm(kind="csd", bits=6, terms=2), ScaleForm(kind="fixed", bits=6), ScaleForm(kind="fixed", bits=2),
    ScaleForm(kind="pow2", bits=5),
]


def test_sign_of_zero_is_plus_one() -> None:
    assert binarize.sign(torch.tensor([-1e-30, -0.0, 0.0, 2.0])).tolist() == [-1, 1, 1, 1]


def test_straight_through_sign_passes_the_gradient_inside_its_window_only() -> None:
    x = torch.tensor([-1.5, -0.5, 0.0, 0.5, 0.51], requires_grad=True)
    value = binarize.straight_through_sign(x, 0.5)
    value.backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert value.tolist() == [-1, -1, 1, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 0]


def test_straight_through_gives_value_forward_and_identity_backward() -> None:
    x, value = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    through = binarize.straight_through(x, value)
    assert torch.equal(through, value)
    through.backward(torch.arange(5.0))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 2, 3, 4]
    assert value.grad is None


# -- activation bases ---------------------------------------------------------------------------------------


def test_a_tie_at_a_threshold_counts_as_reached() -> None:
    t, beta = torch.tensor([-1.0, 0.25]), torch.tensor([0.5, 2.0])
    steps = binarize.sum_of_steps(torch.tensor([-1.1, -1.0, 0.2, 0.25]), t, beta, 0.5)
    assert steps.tolist() == [0, 1, 1, 5]


def test_sum_of_steps_is_the_clip_definition_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-16, 17, (200,), generator=generator) / 8  # eighths: 0.5 - v and x + v are exact
    v, beta = torch.tensor([0.5, 1.25, -0.125]), torch.tensor([0.75, -0.5, 0.25])
    bases = torch.where((x + v.view(-1, 1)).clip(0, 1) >= 0.5, 1.0, -1.0)
    steps = binarize.sum_of_steps(x, 0.5 - v, beta, 0.5)
    assert torch.equal(steps - beta.sum(), beta @ bases)


def test_gradients_of_sum_of_steps_are_those_of_its_docstring() -> None:
    x = torch.tensor([-2.0, -0.9, -0.4, 0.1, 0.6], requires_grad=True)
    t = torch.tensor([-0.5, 0.5], requires_grad=True)
    beta = torch.tensor([0.75, -0.25], requires_grad=True)
    grad = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    binarize.sum_of_steps(x, t, beta, 0.5).backward(grad)
    inside = (x.detach() - t.detach().view(-1, 1)).abs() <= 0.5
    high = x.detach() >= t.detach().view(-1, 1)
    assert x.grad is not None
    assert t.grad is not None
    assert beta.grad is not None
    assert x.grad.tolist() == (grad * (beta.detach() @ inside.float())).tolist()
    assert t.grad.tolist() == (-beta.detach() * (inside * grad).sum(1)).tolist()
    assert beta.grad.tolist() == (2 * (high * grad).sum(1)).tolist()


@pytest.mark.parametrize(
    ("N", "thresholds", "beta"),
    [(1, [0.0], [0.798]), (2, [-0.612, 0.612], [0.612, 0.612]), (3, [-0.982, 0, 0.982], [0.529, 0.453, 0.529])],
)
def test_lloyd_max_gives_the_known_quantisers(N: int, thresholds: list[float], beta: list[float]) -> None:
    t, b = binarize.lloyd_max(N)
    assert np.allclose(t, thresholds, atol=6e-4)
    assert np.allclose(b, beta, atol=6e-4)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("N", [1, 3, 5])
def test_lloyd_max_cannot_be_improved_on_a_sample(N: int, rectified: bool) -> None:
    sample = np.random.default_rng(0).standard_normal(400_000)
    sample = np.maximum(sample, 0) if rectified else sample
    t, beta = (tensor.double().numpy() for tensor in binarize.lloyd_max(N, rectified=rectified))

    def error(t: np.ndarray) -> float:
        level = np.searchsorted(t, sample, side="right")
        values = 2 * np.concatenate([[0], np.cumsum(beta)])[level]
        return float(np.var(sample - values))  # the constant is the batch norm's

    assert t.tolist() == sorted(t.tolist())
    for n in range(N):
        for step in (-0.05, 0.05):
            moved = t.copy()
            moved[n] += step
            assert error(moved) > error(t)


# -- weight bases -------------------------------------------------------------------------------------------


def test_spread_shifts_are_those_of_the_paper() -> None:
    assert binarize.spread_shifts(1).tolist() == [0]
    assert binarize.spread_shifts(3).tolist() == [-1, 0, 1]
    assert np.allclose(binarize.spread_shifts(5), [-1 + 2 * (m - 1) / 4 for m in range(1, 6)])


def test_shifted_signs_follow_equation_4() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)) + 0.2
    bases = binarize.shifted_signs(weight, binarize.spread_shifts(3))
    array = weight.double().numpy()
    expected = [np.where(array - array.mean() + u * array.std() >= 0, 1, -1) for u in (-1, 0, 1)]
    assert np.array_equal(bases.numpy(), expected)


def test_shifts_receive_the_gradient_of_the_weights_near_their_threshold() -> None:
    weight = torch.linspace(-1, 1, 9).view(1, 9).requires_grad_()
    u = torch.zeros(1, requires_grad=True)
    binarize.shifted_signs(weight, u).sum().backward()
    deviation = float(weight.detach().std(correction=0))
    inside = int((weight.detach().abs() <= 0.5 * deviation).sum())
    assert u.grad is not None
    assert u.grad.item() == pytest.approx(deviation * inside)
    assert weight.grad is None


@pytest.mark.parametrize("M", [1, 2, 3, 5])
@pytest.mark.parametrize("channel_wise", [True, False])
def test_alpha_is_numpys_least_squares(M: int, channel_wise: bool) -> None:
    weight = torch.randn(4, 16, 3, 3, generator=torch.Generator().manual_seed(2))
    bases = binarize.shifted_signs(weight, binarize.spread_shifts(M))
    alpha, _ = binarize.least_squares(weight, bases, channel_wise=channel_wise)
    rows = 4 if channel_wise else 1
    columns = bases.reshape(M, rows, -1).double().numpy()
    targets = weight.reshape(rows, -1).double().numpy()
    expected = [np.linalg.lstsq(columns[:, row].T, targets[row], rcond=None)[0] for row in range(rows)]
    assert alpha.shape == (rows, M)
    assert np.allclose(alpha, expected, rtol=1e-4, atol=1e-6)


def test_alpha_stays_finite_and_optimal_when_bases_are_equal() -> None:
    weight = torch.tensor([[2.0, 1.0, -1.0, -2.0]])
    bases = torch.tensor([[[1.0, 1, -1, -1]], [[1.0, 1, -1, -1]], [[1.0, -1, -1, -1]]])
    alpha, _ = binarize.least_squares(weight, bases)
    columns = bases[:, 0].double().numpy().T
    best = np.linalg.lstsq(columns, weight[0].double().numpy(), rcond=None)[0]
    assert alpha.isfinite().all()
    assert np.allclose(columns @ alpha[0].numpy(), columns @ best, atol=1e-4)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_thermometer_codes_hold_the_bases_in_the_order_they_name(M: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 7, generator=generator)
    bases = binarize.shifted_signs(weight, torch.randn(M, generator=generator))
    codes, order = binarize.codes_of_bases(bases, "thermometer")
    for position, basis in enumerate(order):
        assert torch.equal(codes > position, bases[basis] > 0)


def test_planes_hold_any_bases_and_thermometers_refuse_what_is_not_nested() -> None:
    bases = torch.tensor([[1.0, -1, 1, -1], [1.0, 1, -1, -1]])
    codes, order = binarize.codes_of_bases(bases, "planes")
    assert codes.tolist() == [3, 2, 1, 0]
    assert order == [0, 1]
    with pytest.raises(InputError, match="expected nested bases"):
        binarize.codes_of_bases(bases, "thermometer")


def gaussian_error(bases: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], M: int) -> float:
    """Squared error of the bases with the best coefficients, as a share of the weights' own square."""
    torch.manual_seed(3)
    weight = torch.randn(4, 20_000)
    cut = bases(weight, binarize.spread_shifts(M))
    alpha, _ = binarize.least_squares(weight, cut)
    rest = weight - (alpha.T.unsqueeze(2) * cut).sum(0)
    return float(rest.square().mean() / weight.square().mean())


def test_residual_signs_are_nearer_to_the_weights_than_shifted_ones() -> None:
    for M, most in ((2, 0.125), (3, 0.051)):  # greedy residual signs without refinement reach about that
        assert gaussian_error(binarize.residual_signs, M) < most < gaussian_error(binarize.shifted_signs, M) / 2
    assert gaussian_error(binarize.residual_signs, 1) == pytest.approx(1 - 2 / math.pi, abs=0.01)


def test_residual_signs_of_weights_on_a_lattice_give_the_weights_back() -> None:
    weight = torch.tensor([[-7.0, -5, -3, -1, 1, 3, 5, 7], [14.0, 10, 6, 2, -2, -6, -10, -14]])
    bases = binarize.residual_signs(weight, torch.zeros(3))
    alpha, _ = binarize.least_squares(weight, bases)
    assert torch.allclose((alpha.T.unsqueeze(2) * bases).sum(0), weight.double(), atol=1e-4)
    assert alpha.argsort(1, descending=True).tolist() == [[0, 1, 2]] * 2
    one = binarize.residual_signs(weight, torch.zeros(1))
    assert torch.equal(one[0], weight.sign())


# -- integers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.kind}{form.bits}")
@pytest.mark.parametrize("common", [False, True])
def test_integers_are_of_the_form_and_near_the_values(form: ScaleForm, common: bool) -> None:
    values = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    integers, scale = binarize.to_integers(values, form, common=common)
    assert scale.shape == ((1,) if common else (20,))
    assert (scale > 0).all()
    assert form.allows(integers.numpy()).all()
    error = values - scale.view(-1, 1) * integers
    # no other scale with the same integers is better, and one scale for all costs at least as much as free ones
    weighted = (integers * error).sum() if common else (integers * error).sum(1)
    assert np.allclose(weighted, 0, atol=1e-9)
    free = binarize.to_integers(values, form)
    assert error.square().sum() >= (values - free[1].view(-1, 1) * free[0]).square().sum()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.kind}{form.bits}")
def test_scale_search_is_near_an_exhaustive_search(form: ScaleForm) -> None:
    values = torch.randn(10, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    integers, scale = binarize.to_integers(values, form)
    found = (values - scale.view(-1, 1) * integers).square().sum(1).sqrt()
    allowed = form.allowed
    grid = np.array(np.meshgrid(allowed, allowed, allowed)).reshape(3, -1).T.astype(float)
    grid = grid[np.abs(grid).sum(1) > 0]
    projections = (grid @ values.numpy().T) / np.linalg.norm(grid, axis=1)[:, None]
    best = np.sqrt(np.maximum((values.numpy() ** 2).sum(1) - projections.max(0) ** 2, 0))
    assert (found.numpy() <= 1.3 * best + 0.012 * values.norm(dim=1).numpy()).all()


def test_the_gram_matrix_weighs_the_error() -> None:
    values = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    gram = torch.tensor([[[1.0, 0.9], [0.9, 1.0]]], dtype=torch.float64)
    form = ScaleForm(kind="pow2", bits=3)
    integers, scale = binarize.to_integers(values, form, gram=gram)
    error = values - scale.view(-1, 1) * integers
    assert (integers * (gram @ error.unsqueeze(2)).squeeze(2)).sum().item() == pytest.approx(0, abs=1e-12)


def test_a_single_value_becomes_plus_or_minus_one() -> None:
    integers, scale = binarize.to_integers(torch.tensor([[0.3], [-0.5], [0.0]]).double(), ScaleForm())
    assert integers.tolist() == [[1], [-1], [1]]
    assert np.allclose(scale, [0.3, 0.5, 1.0])
    integers, scale = binarize.to_integers(torch.tensor([[0.3], [-0.5]]).double(), ScaleForm(), common=True)
    assert integers.tolist() == [[1], [-1]]
    assert np.allclose(scale, [0.4])


def test_zeros_become_zeros_with_a_usable_scale() -> None:
    integers, scale = binarize.to_integers(torch.zeros(2, 3).double(), ScaleForm())
    assert integers.tolist() == [[0, 0, 0]] * 2
    assert all(math.isfinite(s) and s > 0 for s in scale.tolist())
