"""Descriptions of networks without training: what they make, and what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import EXAMPLES
from random_networks import random_images

from abc_hw.errors import InputError
from abc_hw.network import Bases, ScaleForm, description
from abc_hw.sim import golden

TINY = (EXAMPLES / "tiny.toml").read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.toml"


def test_tiny_is_what_it_says() -> None:
    network, folding = description.load(EXAMPLES / "tiny.toml")
    conv, dense = network.layers
    assert network.name == "tiny"
    assert network.classes == ("left", "right", "none")
    assert network.training == {"note": "random weights, not trained", "seed": 7}
    assert (conv.name, dense.name) == ("conv1", "dense2")
    assert (conv.in_shape, conv.kernel, conv.padding, conv.pool) == ((8, 8, 1), (3, 3), 1, 2)
    assert (dense.in_shape, dense.kernel, dense.out_shape) == ((4, 4, 4), (4, 4), (1, 1, 3))
    assert conv.input_bases == Bases(kind="planes", count=8)
    assert conv.beta.tolist() == [1, 2, 4, 8, 16, 32, 64, 128]
    assert dense.input_bases == conv.weight_bases == dense.weight_bases == Bases(kind="thermometer", count=2)
    assert conv.alpha_scale == dense.alpha_scale == dense.beta_scale == ScaleForm(kind="csd", bits=6, terms=2)
    assert folding == {"conv1": {"simd": 3, "pe": 2}, "dense2": {"simd": 8, "pe": 1, "mp": 1, "np": 2}}


def test_layers_may_say_otherwise(path: Path) -> None:
    path.write_text("""
        name = "mixed"
        input_shape = [6, 5, 2]
        input_bits = 4
        classes = 2
        M = 1
        N = 1
        [[layers]]
        name = "first"
        kind = "conv"
        out_channels = 3
        kernel = [3, 1]
        stride = 2
        M = 5
        scale = { kind = "pow2", bits = 3 }
        [[layers]]
        kind = "dense"
        N = 3
    """)
    network, folding = description.load(path)
    first, dense = network.layers
    assert first.name == "first"
    assert (first.kernel, first.stride, first.conv_shape) == ((3, 1), 2, (2, 3, 3))
    assert (first.weight_bases.count, first.input_bases.count) == (5, 4)
    assert first.alpha_scale == ScaleForm(kind="pow2", bits=3)
    assert (dense.weight_bases.count, dense.input_bases.count) == (1, 3)
    assert set(np.unique(dense.alpha)) <= {-1, 1}
    assert network.classes == ("0", "1")
    assert folding == {}


def test_bases_are_planes_where_it_says_so(path: Path) -> None:
    path.write_text('bases = "planes"\n' + TINY)
    network, _ = description.load(path)
    for index, layer in enumerate(network.layers):
        assert (layer.weight_bases.kind, layer.input_bases.kind) == ("planes", "planes")
        assert layer.weight_bases.levels == 1 << layer.weight_bases.count
        assert index or layer.beta.tolist() == [1 << bit for bit in range(8)]
        assert layer.weight_bases.count == 1 or len({tuple(pair) for pair in np.abs(layer.alpha)}) > 1
        assert not index or (np.diff(layer.beta) >= 0).all()
    path.write_text(path.read_text().replace("planes", "signs"))
    with pytest.raises(InputError, match=r"bases\.kind: expected thermometer or planes, found 'signs'"):
        description.load(path)


def test_seeds_decide_the_weights(path: Path) -> None:
    digests = []
    for seed in (1, 1, 2):
        path.write_text(TINY.replace("seed = 7", f"seed = {seed}"))
        digests.append(description.load(path)[0].digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["lenet", "mlp", "tiny", "vgg"])
def test_every_level_of_the_examples_is_alive(name: str) -> None:
    """No level of any layer is rarer than 1 in 50 and no two random images score alike.

    Two things are not claimed: with random weights all images may fall into one class, and images of one
    flat value, far from what the thresholds were placed for, may saturate a layer.
    """
    network, _ = description.load(EXAMPLES / f"{name}.toml")
    trace = golden.run(network, random_images(np.random.default_rng(0), network, 22)[2:])
    for before, after, layer in zip(network.layers, network.layers[1:], trace.layers, strict=False):
        shares = np.bincount(layer.output.ravel(), minlength=after.input_bases.levels) / layer.output.size
        assert shares.min() > 0.02, before.name
    assert len(np.unique(trace.scores, axis=0)) == 20


def test_random_layers_use_their_whole_range() -> None:
    """With extremes, thresholds lie at the very bounds of acc; without, every level is met."""
    options: dict[str, Any] = {
        "name": "one", "in_shape": (8, 8, 4), "out_channels": 16, "kernel": (3, 3), "levels": 4,
    }  # fmt: skip
    at_ends = description.random_layer(np.random.default_rng(1), **options, extremes=True)
    least, greatest = at_ends.acc_bounds
    assert at_ends.thresholds is not None
    assert (at_ends.thresholds == least[:, None]).any()
    assert (at_ends.thresholds == greatest[:, None] + 1).any()
    plain = description.random_layer(np.random.default_rng(1), **options)
    codes = np.random.default_rng(2).integers(4, size=(20, 8, 8, 4), dtype=np.uint8)
    shares = np.bincount(golden.run_layer(plain, codes).output.ravel(), minlength=4) / (20 * 36 * 16)
    assert shares.min() > 0.2


@pytest.mark.parametrize("kind", ["thermometer", "planes"])
@pytest.mark.parametrize(
    "form", [ScaleForm(kind="fixed", bits=5), ScaleForm(bits=4), ScaleForm(kind="pow2", bits=3)]
)
def test_coefficients_keep_to_their_form_and_take_both_signs(kind: Any, form: ScaleForm) -> None:
    for plain in (True, False):
        layer = description.random_layer(
            np.random.default_rng(3), name="one", in_shape=(2, 2, 3), out_channels=40, kernel=(2, 2), M=3, N=3,
            weight_kind=kind, input_kind=kind, alpha_scale=form, beta_scale=form, levels=None, plain=plain,
        )  # fmt: skip
        assert form.allows(layer.alpha).all()
        assert form.allows(layer.beta).all()
        assert (layer.alpha > 0).any()
        assert (layer.alpha < 0).any()
        assert (layer.alpha == 0).any() != plain


REFUSALS: list[tuple[str, str, str]] = [
    ("M = 2", "M = 0", "M: expected greater than or equal to 1, found 0"),
    ("N = 2", "N = 9", "N: expected less than or equal to 8, found 9"),
    ("M = 2", "M = 2.5", "M: expected a valid integer, found 2.5"),
    ("M = 2", "M = true", "M: expected a valid integer, found True"),
    ("M = 2", "M = nan", "M: expected a valid integer, found nan"),
    ("seed = 7", "sed = 7", "sed: expected no such field, found 7"),
    ("seed = 7", "seed = -1", "seed: expected greater than or equal to 0, found -1"),
    ("seed = 7", "input_bits = 0", "input_bits: expected greater than or equal to 1, found 0"),
    ("seed = 7", "scale = { bits = 20 }", "scale.bits: expected less than or equal to 16, found 20"),
    (
        "seed = 7",
        "scale = { kind = 'float' }",
        "scale.kind: expected 'fixed', 'csd' or 'pow2', found 'float'",
    ),
    ('name = "tiny"', 'name = "a b"', "name: expected letters, digits, - and _, a letter first, found 'a b'"),
    ('name = "tiny"', "", "name: expected a value, found none"),
    ('name = "tiny"', "name = tiny", "expected TOML, found Invalid value (at line 3, column 8)"),
    ("[8, 8, 1]", "[8, 8]", "input_shape[2]: expected a value, found none"),
    ("[8, 8, 1]", "[8, 0, 1]", "input_shape[1]: expected greater than or equal to 1, found 0"),
    (
        '["left", "right", "none"]',
        "0",
        "classes: expected a positive number or a list of names, found 0",
    ),
    ('["left", "right", "none"]', "[1]", "classes[0]: expected a valid string, found 1"),
    ("[[layers]]", "[[layer]]", "layers: expected a value, found none"),
    ('kind = "conv"', 'kind = "cnv"', "layers[0].kind: expected 'conv' or 'dense', found 'cnv'"),
    ('kind = "conv"', 'kind = "conv"\nname = "A"', "layer name: expected a lower-case identifier, found 'A'"),
    ("kernel = 3", "kernel = 0", "layers[0].kernel[0]: expected greater than or equal to 1, found 0"),
    ("kernel = 3", "", "conv1.kernel: expected a side or [height, width] in a conv layer, found none"),
    ("kernel = 3", "kernel = 30", "conv1.kernel: expected at most the padded input (8, 8), found (30, 30)"),
    (
        "kernel = 3",
        "kernel = 3\nN = 2",
        "conv1.N: expected none in the first layer, whose input is the image, found 2",
    ),
    ("padding = 1", "padding = 3", "conv1.padding: expected less than the kernel's sides (3, 3), found 3"),
    ("pool = 2", "pool = 9", "conv1.pool: expected at most the convolution's output (8, 8), found 9"),
    (
        "out_channels = 4",
        "",
        "conv1.out_channels: expected a number in every layer but the last, found none",
    ),
    (
        'kind = "dense"',
        'kind = "dense"\nkernel = 4',
        "dense2.kernel: expected no kernel, stride or padding in a dense layer, found (4, 4)",
    ),
    (
        'kind = "dense"',
        'kind = "dense"\nstride = 2',
        "dense2.stride: expected no kernel, stride or padding in a dense layer, found 2",
    ),
    ('kind = "dense"', 'kind = "dense"\nout_channels = 5', "classes: expected 5 names, one per output, found 3"),
    ("simd = 3", "smid = 3", "layers[0].folding.smid: expected no such field, found 3"),
    ("simd = 3", "simd = 0", "layers[0].folding.simd: expected greater than or equal to 1, found 0"),
]


@pytest.mark.parametrize(("before", "after", "message"), REFUSALS, ids=[after[:30] for _, after, _ in REFUSALS])
def test_descriptions_that_make_no_network_are_refused(path: Path, before: str, after: str, message: str) -> None:
    assert before in TINY
    path.write_text(TINY.replace(before, after))
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}$"):
        description.load(path)


def test_missing_file_is_refused(path: Path) -> None:
    message = f"{path}: expected a readable description, found No such file or directory"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        description.load(path)


def test_binary_file_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: expected TOML, found ')}[^\n]+$"):
        description.load(path)
