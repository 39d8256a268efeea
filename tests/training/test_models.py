"""Models from lists of blocks: shapes, M and N per layer, batch norm re-estimation, refusals."""

from typing import Any

import pytest
import torch

from abc_hw.errors import InputError
from abc_hw.network import Bases, ScaleForm
from abc_hw.training.activation_bases import PixelBases, ResidualBases, ThresholdBases, Unquantised
from abc_hw.training.layers import ABCConv2d, ABCLinear, shift_parameters
from abc_hw.training.models import MODELS, ABCNet, Block, blocks_of, reestimate_batch_norm

SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar": (32, 32, 3)}

LAYERS = {
    ("lenet", "mnist"): [(16, (24, 24)), (32, (8, 8)), (128, None), (10, None)],
    ("lenet", "digits"): [(16, (8, 8)), (32, (4, 4)), (64, None), (10, None)],
    ("mlp", "mnist"): [(256, None), (256, None), (10, None)],
    ("seed-lenet", "cifar"): [(32, (32, 32)), (64, (16, 16)), (1024, None), (10, None)],
    ("vgg", "cifar"): [(32, (32, 32)), (64, (16, 16)), (128, (8, 8)), (128, (8, 8)), (256, (4, 4)), (10, None)],
    ("vgg-tiny", "cifar"): [(64, (32, 32)), (128, (16, 16)), (224, (8, 8)), (10, None)],
    ("vgg-small", "cifar"): [
        (128, (32, 32)), (128, (32, 32)), (256, (16, 16)), (256, (16, 16)), (512, (8, 8)), (512, (8, 8)),
        (10, None),
    ],
    ("cnv", "cifar"): [
        (64, (30, 30)), (64, (28, 28)), (128, (12, 12)), (128, (10, 10)), (256, (3, 3)), (256, (1, 1)),
        (512, None), (512, None), (10, None),
    ],
}


@pytest.mark.parametrize(("name", "images"), LAYERS)
def test_layers_have_the_documented_sizes(name: str, images: str) -> None:
    model = ABCNet(blocks_of(name, SHAPES[images], 10), SHAPES[images], M=2, N=2).eval()
    seen = []
    for block in model:
        block.layer.register_forward_hook(
            lambda _, __, y: seen.append((y.shape[1], tuple(y.shape[2:]) if y.ndim == 4 else None))
        )
    pixels = torch.randint(0, 256, (2, *SHAPES[images]), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert model(pixels).shape == (2, 10)
    assert seen == LAYERS[name, images]


@pytest.mark.parametrize("name", ["mlp", "lenet", "seed-lenet"])
def test_every_model_takes_small_digits_and_trains_all_its_parameters(name: str) -> None:
    model = ABCNet(blocks_of(name, SHAPES["digits"], 10), SHAPES["digits"])
    scores = model(torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8))
    torch.nn.functional.cross_entropy(scores, torch.randint(0, 10, (32,))).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []


def test_width_multiplies_the_channels_of_all_layers_but_the_classifier() -> None:
    plain = blocks_of("lenet", SHAPES["mnist"], 10)
    wide = blocks_of("lenet", SHAPES["mnist"], 10, width=1.5)
    assert [block.channels for block in plain] == [16, 32, 128, 10]
    assert [block.channels for block in wide] == [24, 48, 192, 10]


def test_the_kind_reaches_every_layer_and_pixels_stay_planes() -> None:
    residual, full = (
        [block.layer for block in ABCNet(blocks_of("lenet", SHAPES["mnist"], 10), SHAPES["mnist"], kind=kind)]
        for kind in ("residual", "float")
    )
    assert all(layer.weight_bases == Bases(kind="planes", count=3) for layer in residual)
    assert all(isinstance(layer.input_bases, ResidualBases) for layer in residual[1:])
    assert all(isinstance(layer.input_bases, Unquantised) for layer in full[1:])
    assert all(isinstance(layers[0].input_bases, PixelBases) for layers in (residual, full))


def test_first_layer_has_pixel_planes_and_the_last_one_a_common_scale() -> None:
    model = ABCNet(blocks_of("lenet", SHAPES["mnist"], 10), SHAPES["mnist"], M=(1, 2, 3, 4), N=(8, 1, 2, 3))
    layers = [block.layer for block in model]
    assert [type(layer) for layer in layers] == [ABCConv2d, ABCConv2d, ABCLinear, ABCLinear]
    assert isinstance(layers[0].input_bases, PixelBases)
    assert all(isinstance(layer.input_bases, ThresholdBases) for layer in layers[1:])
    assert [layer.M for layer in layers] == [1, 2, 3, 4]
    assert [layer.input_bases.bases.count for layer in layers] == [8, 1, 2, 3]
    assert [layer.common_scale for layer in layers] == [False, False, False, True]
    assert [block.norm is None for block in model] == [False, False, False, True]
    assert len(shift_parameters(model)) == 6


def test_scale_form_reaches_every_layer_and_integer_mode_switches_all() -> None:
    form = ScaleForm(kind="pow2", bits=4)
    model = ABCNet(blocks_of("mlp", SHAPES["digits"], 10), SHAPES["digits"], scale=form)
    assert all(block.layer.scale == form for block in model)
    assert all(block.layer.input_bases.scale == form for block in list(model)[1:])
    model.set_integer(True)
    assert model.integer
    assert all(block.layer.integer and block.layer.input_bases.integer for block in model)
    model.set_integer(False)
    assert not model.integer


def test_reestimated_statistics_are_the_averages_over_the_batches() -> None:
    torch.manual_seed(0)
    model = ABCNet(blocks_of("lenet", SHAPES["digits"], 10), SHAPES["digits"])
    batches = [torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8) for _ in range(3)]
    first = model.blocks["conv1"]
    first.norm.running_mean.fill_(99.0)
    reestimate_batch_norm(model, batches)
    with torch.no_grad():
        pooled = [torch.nn.functional.max_pool2d(first.layer(batch), 2) for batch in batches]
    expected = torch.stack([x.mean((0, 2, 3)) for x in pooled]).mean(0)
    assert torch.allclose(first.norm.running_mean, expected, atol=1e-5)
    assert first.norm.momentum == 0.1
    assert not any(module.training for module in model.modules())


# -- refusals -----------------------------------------------------------------------------------------------


def _classifier(**changes: Any) -> Block:
    return Block(**{"name": "fc", "kind": "dense", "channels": 3, "norm": "none", **changes})


@pytest.mark.parametrize(
    ("blocks", "options", "message"),
    [
        ([], {}, "blocks: expected at least one"),
        ([_classifier(norm="positive")], {}, "fc: expected a dense classifier"),
        ([_classifier(relu=True)], {}, "fc: expected a dense classifier"),
        ([Block(name="fc", kind="dense", channels=4), _classifier()], {}, "expected names that differ, found fc"),
        ([_classifier()], {"M": 0}, "fc.M: expected an integer from 1 to 8, found 0"),
        ([_classifier()], {"M": (2, 2)}, "M: expected one number or 1, one per layer, found 2"),
        ([_classifier()], {"N": (3,)}, "fc.N: expected 8 for a layer on 8-bit pixels, found 3"),
    ],
)
def test_a_list_of_blocks_that_cannot_be_is_refused(
    blocks: list[Block], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ABCNet(blocks, (8, 8, 1), **options)


def test_unknown_models_and_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match=f"model: expected one of {', '.join(MODELS)}, found 'alexnet'"):
        blocks_of("alexnet", (28, 28, 1), 10)
    with pytest.raises(InputError, match="conv2: expected an input that kernel 3 and pool 2 leave something of"):
        blocks_of("lenet", (3, 3, 1), 10)
    with pytest.raises(InputError, match=r"conv1\.norm: expected positive or none behind .*, found signed"):
        Block(name="conv1", kind="conv", channels=4, kernel=3, pool=2, norm="signed")
