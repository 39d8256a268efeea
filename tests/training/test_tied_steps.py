"""tie_steps: coefficients (p, q, p) in every state of a model, so that the exported network re-encodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abc_hw.network import Bases
from abc_hw.network.reencode import reencode
from abc_hw.sim import fast
from abc_hw.training.activation_bases import ThresholdBases
from abc_hw.training.layers import ABCConv2d
from abc_hw.training.lowering import to_network
from abc_hw.training.models import ABCNet, Block
from abc_hw.training.quantised import evaluate_integer

BLOCKS = [
    Block(name="conv1", kind="conv", channels=5, kernel=3, padding=1, pool=2),
    Block(name="fc1", kind="dense", channels=9, relu=True),
    Block(name="fc2", kind="dense", channels=4, norm="none"),
]


def perturbed(model: torch.nn.Module) -> None:
    """All parameters moved at random, far enough for thresholds and betas to change places."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.7 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize("learnable_u", [True, False])
def test_exported_networks_have_two_planes_for_three_bases(channel_wise: bool, learnable_u: bool) -> None:
    torch.manual_seed(0)
    model = ABCNet(BLOCKS, (8, 8, 2), channel_wise=channel_wise, learnable_u=learnable_u, tie_steps=True)
    perturbed(model)
    network = to_network(model.eval(), name="tied", classes=tuple("abcd"))
    fewer = reencode(network)
    two = Bases(kind="planes", count=2)
    assert [layer.weight_bases for layer in fewer.layers] == [two] * 3
    assert [layer.input_bases for layer in fewer.layers] == [Bases(kind="planes", count=8), two, two]
    images = np.random.default_rng(1).integers(256, size=(50, 8, 8, 2), dtype=np.uint8)
    scores = evaluate_integer(model, images)
    assert np.array_equal(scores, fast.run(network, images))
    assert np.array_equal(scores, fast.run(fewer, images))


def test_without_the_option_nothing_is_tied() -> None:
    torch.manual_seed(0)
    model = ABCNet(BLOCKS, (8, 8, 2))
    perturbed(model)
    network = to_network(model.eval(), name="free", classes=tuple("abcd"))
    assert reencode(network).binary_macs == network.binary_macs


@pytest.mark.parametrize("count", [1, 2, 4])
def test_other_numbers_of_bases_do_not_change(count: int) -> None:
    results = []
    for tie_steps in (False, True):
        torch.manual_seed(0)
        layer = ABCConv2d(2, 3, 3, M=count, N=count, tie_steps=tie_steps)
        perturbed(layer)
        results.append(layer(torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(1))))
    assert torch.equal(*results)


def test_the_outer_betas_in_the_order_of_thresholds_share_their_mean_and_gradient() -> None:
    bases = ThresholdBases(3, tie_steps=True)
    with torch.no_grad():
        bases.v.copy_(torch.tensor([0.5, 1.5, -0.5]))  # thresholds 0, -1 and 1: the first is the middle one
        bases.beta.copy_(torch.tensor([10.0, 1.0, 3.0]))
    value, lowest = bases(torch.tensor([-2.0, -0.9, 0.1, 2.0]))
    assert value.tolist() == [0.0, 4.0, 24.0, 28.0]
    assert float(lowest.detach()) == -14.0
    value.sum().backward()
    assert bases.beta.grad is not None
    assert bases.beta.grad.tolist() == [4.0, 4.0, 4.0]  # 2 x 2 inputs above 0; the mean of 2 x 3 and 2 x 1


def test_the_alpha_of_the_outer_bases_is_least_squares_under_the_tie() -> None:
    torch.manual_seed(3)
    layer = ABCConv2d(4, 3, 3, M=3, N=1, tie_steps=True)
    alpha = layer.alpha
    assert torch.equal(alpha[:, 0], alpha[:, 2])
    bases = layer.binary_weight().double().flatten(2)  # [M, C_out, K]
    error = layer.weight.detach().double().flatten(1) - torch.einsum("cm,mck->ck", alpha, bases)
    for direction in (bases[0] + bases[2], bases[1]):  # the error is at right angles to what is left free
        assert (error * direction).mean(1).abs().max() < 1e-6
