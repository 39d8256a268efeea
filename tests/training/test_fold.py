"""Folding: thresholds against brute force, and the integer network against computations written out here."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abc_hw.errors import InputError
from abc_hw.network import Bases, Layer, Network, ScaleForm, ScaleKind
from abc_hw.training import lowering, quantised
from abc_hw.training.models import ABCNet, Block, reestimate_batch_norm
from abc_hw.training.quantised import evaluate_integer, exact_step, quantise, trace_integer

REAL = st.floats(-4, 4, allow_nan=False)
CLASSES = ("a", "b", "c")
SHAPE = (9, 8, 2)


# -- one threshold ------------------------------------------------------------------------------------------


@given(
    a=st.floats(0, 2), b=REAL, t=REAL, relu=st.booleans(), least=st.integers(-60, 0), greatest=st.integers(0, 60)
)
@settings(max_examples=300, deadline=None)
def test_threshold_is_the_one_that_brute_force_finds(
    a: float, b: float, t: float, relu: bool, least: int, greatest: int
) -> None:
    def reached(acc: int) -> bool:
        x = Fraction(a) * acc + Fraction(b)
        return (max(x, Fraction(0)) if relu else x) >= Fraction(t)

    threshold = lowering.least_accumulator(a, b, t, relu=relu, least=least, greatest=greatest)
    assert least <= threshold <= greatest + 1
    assert [acc >= threshold for acc in range(least, greatest + 1)] == [
        reached(acc) for acc in range(least, greatest + 1)
    ]


@pytest.mark.parametrize(
    ("a", "b", "t", "relu", "expected"),
    [
        (0.5, 0.0, 1.0, False, 2),  # a tie is reached
        (0.5, 0.25, 1.0, False, 2),
        (0.0, 1.0, 1.0, False, -10),  # slope 0: always
        (0.0, 0.5, 1.0, False, 11),  # slope 0: never
        (1.0, 100.0, 1.0, False, -10),
        (1.0, -100.0, 1.0, False, 11),
        (1.0, -3.0, 0.0, True, -10),  # after a ReLU every x reaches 0
        (1.0, -3.0, 2.0**-40, True, 4),
    ],
)
def test_thresholds_at_the_edges(a: float, b: float, t: float, relu: bool, expected: int) -> None:
    assert lowering.least_accumulator(a, b, t, relu=relu, least=-10, greatest=10) == expected


@given(
    a=st.floats(1e-9, 10), b=st.floats(-1e4, 1e4), t=REAL, greatest=st.integers(1, 2**24),
    fraction=st.floats(-1, 1),
)
@settings(max_examples=300, deadline=None)
def test_on_the_grid_float64_decides_as_rational_arithmetic_does(
    a: float, b: float, t: float, greatest: int, fraction: float
) -> None:
    numbers = (torch.tensor([number], dtype=torch.float64) for number in (a, b, t))
    step = exact_step(*numbers, greatest)
    grid_a, grid_b, grid_t = step.a, step.b, step.t
    exact = [Fraction(number.item()) for number in (grid_a, grid_b, grid_t)]
    reach = a * greatest + abs(b) + abs(t)
    assert all(abs(x - y) <= reach * 2.0**-50 for x, y in zip((a, b, t), map(float, exact), strict=True))
    crossing = math.floor((exact[2] - exact[1]) / exact[0]) if exact[0] else 0
    near = [crossing + around for around in (-1, 0, 1, 2)]
    for acc in [*near, round(fraction * greatest), greatest, -greatest]:
        if abs(acc) <= greatest:
            x = grid_a * acc + grid_b
            assert Fraction(x.item()) == exact[0] * acc + exact[1]
            assert bool(x >= grid_t) == (exact[0] * acc + exact[1] >= exact[2])


# -- whole networks -----------------------------------------------------------------------------------------


def random_images(count: int, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Noise of another brightness and contrast in each image."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, 256, (2, count, 1, 1, shape[2])), axis=0)
    return rng.integers(ends[0], ends[1] + 1, (count, *shape)).astype(np.uint8)


def random_model(blocks: list[Block], shape: tuple[int, int, int], seed: int, **options: Any) -> ABCNet:
    """A model whose parameters are all random: unsorted thresholds, negative betas, slopes and statistics."""
    torch.manual_seed(seed)
    model = ABCNet(blocks, shape, **options)
    with torch.no_grad():
        for block in model:
            bases = block.layer.input_bases
            for name, spread in (("v", 0.5), ("beta", 0.6)):
                if hasattr(bases, name):
                    getattr(bases, name).add_(spread * torch.randn_like(getattr(bases, name)))
            block.layer.u.add_(0.2 * torch.randn_like(block.layer.u))
            if block.layer.bias is not None:
                block.layer.bias.normal_()
        reestimate_batch_norm(model, [torch.from_numpy(random_images(64, shape, seed)).permute(0, 3, 1, 2)])
        for block in model:
            if block.norm is not None:
                signs = torch.randint(0, 2, block.norm.weight.shape) * 2 - 1
                block.norm.weight.uniform_(0.5, 1.5).mul_(signs)
                block.norm.bias.normal_(std=0.3)
    model.set_integer(True)
    return model.eval()


def ref_layer(layer: Layer, codes: np.ndarray) -> np.ndarray:
    """Level codes [B, OH, OW, C] (scores in the classifier), basis by basis, from the definition."""
    pad, stride = layer.padding, layer.stride
    A = np.pad(codes, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    A = np.where(layer.input_bases.expand(A), 1, -1)
    B = np.where(layer.weight_bases.expand(layer.weights), 1, -1)
    height, width, channels = layer.conv_shape
    acc = np.zeros((len(codes), height, width, channels), np.int64)
    for y, x in itertools.product(range(height), range(width)):
        window = A[:, y * stride : y * stride + layer.kernel[0], x * stride : x * stride + layer.kernel[1]]
        for m, n in itertools.product(range(layer.weight_bases.count), range(layer.input_bases.count)):
            dots = np.einsum("bijk,cijk->bc", window[..., n], B[..., m])
            acc[:, y, x] += layer.alpha[:, m] * layer.beta[n] * dots
    if layer.thresholds is None:
        assert layer.bias is not None
        return (acc + layer.bias).reshape(len(codes), channels)
    levels = (acc[..., None] >= layer.thresholds).sum(-1)
    p = layer.pool
    height, width, _ = layer.out_shape
    return levels[:, : height * p, : width * p].reshape(-1, height, p, width, p, channels).max((2, 4))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "BATCH", 5)


def assert_same(model: ABCNet, network: Network, images: np.ndarray) -> None:
    codes: np.ndarray = images
    for layer, ours in zip(network.layers, trace_integer(model, images), strict=True):
        codes = ref_layer(layer, codes)
        assert np.array_equal(ours, codes), layer.name
    assert np.array_equal(evaluate_integer(model, images), codes)


def classifier(**changes: Any) -> Block:
    return Block(name="out", kind="dense", channels=3, norm="none", **changes)


NETS: dict[str, list[Block]] = {
    "pooled": [
        Block(name="conv1", kind="conv", channels=12, kernel=3, padding=1, pool=2),
        Block(name="conv2", kind="conv", channels=11, kernel=3, padding=2, pool=2, relu=True),
        Block(name="fc1", kind="dense", channels=13),
        classifier(),
    ],
    "signed": [
        Block(name="conv1", kind="conv", channels=12, kernel=5, stride=2, norm="signed"),
        Block(name="conv2", kind="conv", channels=11, kernel=1, norm="signed", relu=True),
        classifier(),
    ],
    "bare": [
        Block(name="conv1", kind="conv", channels=12, kernel=3, stride=2, padding=1, norm="none"),
        Block(name="fc1", kind="dense", channels=13, norm="signed"),
        Block(name="fc2", kind="dense", channels=13, relu=True),
        classifier(),
    ],
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 3), (3, 2), (5, 5)])
def test_integer_network_equals_pytorch_in_every_layer(net: str, M: int, N: int) -> None:
    kind: ScaleKind = {1: "csd", 2: "fixed", 3: "pow2", 5: "csd"}[M]  # type: ignore[assignment]
    form = ScaleForm(kind=kind, bits=5)
    varieties = []
    for seed in range(4):
        model = random_model(NETS[net], SHAPE, seed, M=M, N=N, scale=form)
        network = lowering.to_network(model, name=net, classes=CLASSES)
        images = random_images(12, SHAPE, seed)
        assert_same(model, network, images)
        varieties.append(len(np.unique(evaluate_integer(model, images), axis=0)))
    assert max(varieties) > 6  # the scores do depend on the images


@pytest.mark.parametrize(
    "options", [{"channel_wise": False}, {"learnable_u": True}, {"M": (2, 3, 1, 4), "N": (8, 1, 4, 2)}]
)
def test_integer_network_of_the_other_options(options: dict[str, Any]) -> None:
    model = random_model(NETS["pooled"], SHAPE, 7, **options)
    images = random_images(12, SHAPE, 7)
    assert_same(model, lowering.to_network(model, name="net", classes=CLASSES), images)


@pytest.mark.parametrize("net", NETS)
def test_scores_are_those_of_the_float64_model_up_to_the_rounded_bias(net: str) -> None:
    model = random_model(NETS[net], SHAPE, 3).double()
    images = random_images(12, SHAPE, 3)
    scores = evaluate_integer(model, images)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            real = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    finally:
        torch.set_default_dtype(torch.float32)
    last = list(model)[-1].layer
    unit = last.integers()[2][0].item() * last.input_bases.integers()[1].item()
    assert np.abs(real / unit - scores).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 2), (3, 2), (2, 3)])
def test_residual_bases_are_stored_as_planes(M: int, N: int) -> None:
    model = random_model(NETS["pooled"], SHAPE, 2, M=M, N=N, kind="residual")
    network = lowering.to_network(model, name="net", classes=CLASSES)
    assert all(layer.weight_bases == Bases(kind="planes", count=M) for layer in network.layers)
    assert all(layer.input_bases == Bases(kind="planes", count=N) for layer in network.layers[1:])
    assert_same(model, network, random_images(12, SHAPE, 2))


def test_a_model_in_full_precision_has_no_integer_network() -> None:
    model = ABCNet(NETS["pooled"], SHAPE, kind="float").eval()
    with pytest.raises(InputError, match="kind: expected weights on bases, found float"):
        lowering.to_network(model, name="net", classes=CLASSES)


def test_training_record_and_names_are_kept() -> None:
    model = random_model(NETS["pooled"], SHAPE, 0)
    network = lowering.to_network(model, name="my-net", classes=CLASSES, training={"epochs": 3})
    assert (network.name, network.classes, network.training) == ("my-net", CLASSES, {"epochs": 3})
    assert [layer.name for layer in network.layers] == ["conv1", "conv2", "fc1", "out"]
    assert network.input_shape == SHAPE


def test_channels_that_never_change_have_thresholds_at_the_ends() -> None:
    model = random_model(NETS["pooled"], SHAPE, 1)
    conv2 = model.blocks["conv2"]
    with torch.no_grad():
        conv2.norm.weight[0] = 0.0  # slope 0
        conv2.norm.bias[0] = 100.0
        conv2.norm.weight[1] = 0.0
        conv2.norm.bias[1] = -100.0
        model.blocks["fc1"].layer.input_bases.v.copy_(0.5 - torch.tensor([0.5, 0.1, 0.9]))
    network = lowering.to_network(model, name="net", classes=CLASSES)
    layer = network.layers[1]
    least, greatest = layer.acc_bounds
    assert layer.thresholds is not None
    assert layer.thresholds[0].tolist() == [least[0]] * 3
    assert layer.thresholds[1].tolist() == [greatest[1] + 1] * 3
    assert_same(model, network, random_images(6, SHAPE, 1))


def test_sums_beyond_float32_are_still_exact() -> None:
    form = ScaleForm(kind="fixed", bits=16)
    blocks = [Block(name="fc1", kind="dense", channels=4), classifier()]
    model = random_model(blocks, (16, 16, 4), 5, M=3, N=3, scale=form)
    assert quantise(model)[0].greatest_sum >= 1 << 24
    images = random_images(6, (16, 16, 4), 5)
    assert_same(model, lowering.to_network(model, name="net", classes=CLASSES), images)


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["layer.weight", "norm.bias", "norm.running_var", "layer.input_bases.v"])
def test_numbers_that_are_not_finite_are_refused_by_name(parameter: str) -> None:
    model = random_model(NETS["pooled"], SHAPE, 0)
    with torch.no_grad():
        model.state_dict()[f"blocks.conv2.{parameter}"].flatten()[0] = math.nan
    with pytest.raises(InputError, match=f"conv2.{parameter}: expected finite numbers"):
        lowering.to_network(model, name="net", classes=CLASSES)


def test_a_negative_slope_behind_a_pool_is_refused() -> None:
    model = random_model(NETS["pooled"], SHAPE, 0)
    norm = model.blocks["conv1"].norm
    norm.positive = False
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(5, -6, 12))
    with pytest.raises(InputError, match=r"conv1\.norm: expected positive slopes .*, found -.* in channel 6"):
        lowering.to_network(model, name="net", classes=CLASSES)
