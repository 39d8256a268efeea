"""Modules in full precision on bases: what they compute before and after, and those that cannot be converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from teaching import teach
from torch import Tensor, nn
from torch.nn import functional

from abc_hw import data
from abc_hw.conversion import Converted, Normalise, convert, export
from abc_hw.conversion.fitting import fit
from abc_hw.errors import InputError
from abc_hw.network import Bases, Graph, files, onnx_export
from abc_hw.network.nodes import Conv
from abc_hw.sim import fast, golden
from abc_hw.training import loop
from abc_hw.training.binarize import lloyd_max
from abc_hw.training.layers import ABCConv2d, BatchNorm
from abc_hw.training.quantised import evaluate_float, evaluate_integer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning"),  # Lightning's use of a torch class
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),  # which is what is refused
]


class Digits(nn.Module):
    """A float network with functions in its forward, on pixels normalised by itself."""

    def __init__(self, normed: bool = True) -> None:
        super().__init__()
        self.normalise = Normalise(0.3, 0.35)
        self.conv1 = nn.Conv2d(1, 16, 3, padding="same", bias=not normed)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=not normed)
        self.norm1 = nn.BatchNorm2d(16) if normed else nn.Identity()
        self.norm2 = nn.BatchNorm2d(32) if normed else nn.Identity()
        self.fc = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm1(self.conv1(self.normalise(x)))), 2)
        x = functional.relu(self.norm2(functional.max_pool2d(self.conv2(x), 2)))
        return self.fc(functional.dropout(x.view(x.size(0), -1), 0.2, self.training))


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(scope="module", params=[True, False], ids=["batch norm", "no batch norm"])
def trained(request: pytest.FixtureRequest, digits: data.Dataset) -> Digits:
    torch.manual_seed(0)
    model = Digits(request.param)
    teach(model, digits.train, rate=4e-3, rounds=8)
    return model.eval()


# -- what comes out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "M", "N", "accuracy"), [
    ("abc", 1, 1, 0.12), ("abc", 3, 3, 0.8), ("abc", (5, 4, 3), (8, 5, 4), 0.9), ("residual", 4, 3, 0.95),
])
def test_a_converted_module_keeps_most_of_its_accuracy(
    trained: Digits, digits: data.Dataset, kind: Any, M: Any, N: Any, accuracy: float
) -> None:
    made = convert(trained, M=M, N=N, kind=kind, calibration=digits.train)
    assert made.accuracy["float"] > 0.97
    assert made.accuracy["converted"] > accuracy
    network = export(made.model, made.example, name="digits", classes=digits.classes)
    scores = evaluate_integer(made.model, digits.test.images)
    np.testing.assert_array_equal(fast.run(network, digits.test.images), scores)
    assert (scores.argmax(1) == digits.test.labels).mean() > accuracy - 0.05
    assert network.training["normalisation"] == {
        "mean": [pytest.approx(0.3)], "std": [pytest.approx(0.35)], "size": [8, 8],
    }


def test_what_is_otherwise_is_told(trained: Digits, digits: data.Dataset) -> None:
    made = convert(trained, M=2, N=2, calibration=digits.train)
    assert made.changes[:2] == [
        "conv1: takes pixels; mean 0.3 and std 0.35 are in its weights",
        "conv1: padding is pixel 77, where it was 76.5 (the mean)",
    ]
    assert [line.partition(",")[0] for line in made.changes[2:]] == [
        "conv2: its input has 3 levels", "conv2: padding is its lowest level", "fc: its input has 3 levels",
    ]
    assert {row.path: row.became for row in made.rows}["conv2"] == "layer conv2"
    assert isinstance(trained.conv1, nn.Conv2d)  # the given one is as it was


def test_bases_of_8_bits_lose_next_to_nothing(digits: data.Dataset) -> None:
    """The fold of the normalisation is exact away from the padding, whatever mean and deviation."""
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 3 * 3, 4)]
    images = np.random.default_rng(0).integers(0, 256, (300, 7, 7, 3), dtype=np.uint8)
    split = data.Split(images, np.zeros(300, np.int64))
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1.5)
    made = convert(nn.Sequential(*layers), M=8, N=4, kind="residual", calibration=split, mean=mean, std=std)
    given = evaluate_float(nn.Sequential(Normalise(mean, std), *layers).eval(), images)
    converted = evaluate_float(made.model, images)
    assert np.abs(given - converted).max() < 0.1 * np.abs(given).max()


def test_padding_is_the_nearest_pixel_to_0_in_each_channel(tmp_path: Path) -> None:
    """But for its weights the first layer gives what it gave, at the border as well; the same bits everywhere, and
    no checkpoint goes where padding is otherwise."""
    torch.manual_seed(2)
    mean, std = (26 / 255, 124 / 255, 230 / 255), (0.2, 0.3, 0.5)
    first = nn.Conv2d(3, 4, 3, padding=1, stride=2)
    layers = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 3))
    images = np.random.default_rng(0).integers(0, 256, (60, 7, 7, 3), dtype=np.uint8)
    split = data.Split(images, np.zeros(60, np.int64))
    made = convert(layers, M=8, N=2, kind="residual", calibration=split, mean=mean, std=std)
    assert made.changes[1] == "0: padding is pixel 26, 124, 230, where it was 26, 124, 230 (the mean)"
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    on_bases = made.model.get_submodule("0")
    assert isinstance(on_bases, ABCConv2d)
    weight = on_bases.approximate_weight() * 2 * torch.tensor(std).view(-1, 1, 1)
    given = functional.conv2d(Normalise(mean, std)(pixels), weight, first.bias, stride=2, padding=1)
    torch.testing.assert_close(on_bases(pixels), given)
    network = export(made.model, made.example, name="padded", classes="abc")
    assert isinstance(network, Graph)
    conv = network.nodes[0]
    assert isinstance(conv, Conv)
    assert conv.padding_code == (26, 124, 230)
    scores = evaluate_integer(made.model, images)
    np.testing.assert_array_equal(golden.run_graph(network, images).output, scores)
    np.testing.assert_array_equal(fast.run(network, images), scores)
    model = onnx_export.model(network).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["scores"], {"image": images})[0], scores)
    files.save(network, tmp_path / "padded.safetensors")
    assert files.load_any(tmp_path / "padded.safetensors").digest == network.digest
    other = convert(layers, M=8, N=2, kind="residual", calibration=split).model
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict(made.model.state_dict())


def test_normalised_floats_may_calibrate_as_well_as_pixels(digits: data.Dataset) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    pixels = torch.from_numpy(digits.train.images[:300]).permute(0, 3, 1, 2)
    labels = torch.from_numpy(digits.train.labels[:300])
    states = [
        convert(model, M=2, N=2, calibration=batches, mean=0.25, std=0.5)
        for batches in ([(pixels, labels)], [((pixels / 255 - 0.25) / 0.5, labels)], [pixels])
    ]
    for other in states[1:]:
        for one, two in zip(states[0].model.parameters(), other.model.parameters(), strict=True):
            assert torch.equal(one, two)
    assert states[2].accuracy == {}
    assert states[0].accuracy == states[1].accuracy != {}


def test_batch_norm_behind_a_pool_stays_rising(trained: Digits, digits: data.Dataset) -> None:
    made = convert(trained, M=2, N=2, calibration=digits.train)
    if isinstance(trained.norm2, nn.BatchNorm2d):
        assert isinstance(made.model.norm2, BatchNorm)
        assert isinstance(made.model.norm1, nn.BatchNorm2d)  # before its pool, any sign will do


# -- the fit ------------------------------------------------------------------------------------------------


def test_a_gaussian_gets_its_lloyd_max_levels() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    for count in (1, 2, 3):
        found = fit(values, Bases(kind="thermometer", count=count))
        t, beta = lloyd_max(count)
        np.testing.assert_allclose(found.thresholds, t, atol=0.03)
        np.testing.assert_allclose(found.beta, beta, atol=0.03)
        assert abs(found.offset) < 0.03


def test_more_bases_lose_less_and_equal_values_are_no_trouble() -> None:
    values = np.maximum(np.random.default_rng(0).normal(size=20_000), 0)
    for kind in ("thermometer", "planes"):
        errors = [fit(values, Bases(kind=kind, count=count)).error for count in (1, 2, 3, 4)]  # type: ignore[arg-type]
        assert errors == sorted(errors, reverse=True)
        assert errors[3] < 0.03
        flat = fit(np.zeros(10), Bases(kind=kind, count=3))  # type: ignore[arg-type]
        assert np.isfinite(flat.thresholds).all()
        assert np.isfinite(flat.beta).all()


# -- refusals -----------------------------------------------------------------------------------------------


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize(("model", "options", "message"), [
    (grouped(), {}, "1.groups: expected 1, found 2"),
    (nn.Sequential(nn.Conv2d(1, 4, (3, 3), stride=(1, 2))), {}, "0.stride: expected the same for both directions"),
    (nn.Sequential(nn.Conv2d(1, 4, 2, padding="same")), {}, "0.padding: expected an odd kernel for same"),
    (nn.Sequential(nn.Flatten(), nn.ReLU()), {}, "Sequential: expected modules Conv2d or Linear to put on bases"),
    (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 10)), {},
     "1: expected a max-pool, found AvgPool2d"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"M": (1, 2)}, "M: expected one number or 1, one per layer"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"M": 9}, "1.M: expected an integer from 1 to 8, found 9"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"std": 0.0}, "std: expected positive numbers, found 0.0"),
    (nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(64, 10)), {"mean": 0.5},
     "mean: expected one normalisation, in the module or as mean and std, found more"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"calibration": []}, "calibration: expected at least one"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"calibration": [torch.rand(4, 1, 8, 8)]},
     "calibration: expected pixels, or images normalised with mean and std, found numbers that become"),
    (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"calibration": [torch.rand(4, 64)]},
     "calibration: expected images [B, C, H, W], found (4, 64)"),
])
def test_what_cannot_be_converted_is_one_line(model: nn.Module, options: dict[str, Any], message: str) -> None:
    batches = [torch.zeros(4, 1, 8, 8, dtype=torch.uint8)]
    with pytest.raises(InputError) as refusal:
        convert(model, **{"calibration": batches, **options})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


# -- training modules of one's own --------------------------------------------------------------------------


def fine_tuned(folder: Path, made: Converted, digits: data.Dataset, **options: Any) -> loop.Trained:
    config = None if options.get("resume") else loop.config_for("digits", epochs=2, integer_epochs=1, lr=2e-3)
    return loop.train(config, folder, model=made.model, dataset=digits, progress=False, **options)


def test_modules_of_ones_own_are_trained_kept_and_resumed(
    tmp_path: Path, digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = Digits()
    config = loop.config_for("digits", epochs=3, lr=5e-3)
    full = loop.train(config, tmp_path / "float", model=model, dataset=digits, progress=False)
    assert full.accuracy["test"] > 0.85
    made = [convert(model, M=2, N=2, calibration=digits.train) for _ in range(4)]
    whole = fine_tuned(tmp_path / "bases", made[0], digits)
    assert whole.accuracy["test"] > made[0].accuracy["converted"]
    assert "M" not in whole.record
    step = loop.ABCTraining.training_step

    def cut(self: loop.ABCTraining, batch: Any, index: int) -> Tensor:
        if self.current_epoch == 1 and index == 5:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(loop.ABCTraining, "training_step", cut)
        with pytest.raises(RuntimeError):
            fine_tuned(tmp_path / "cut", made[1], digits)
    resumed = fine_tuned(tmp_path / "cut", made[2], digits, resume=True)
    loaded = loop.load_checkpoint(tmp_path / "bases" / "model.ckpt", model=made[3].model)
    images = digits.test.images
    for other in (resumed, loaded):
        np.testing.assert_array_equal(evaluate_integer(whole.model, images), evaluate_integer(other.model, images))
    with pytest.raises(InputError, match=r"model\.ckpt: expected the module that was trained, as model=, found"):
        loop.load_checkpoint(tmp_path / "bases" / "model.ckpt")


def test_modules_that_cannot_be_trained_are_refused_before(tmp_path: Path, digits: data.Dataset) -> None:
    for model, message in (
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), r"\(Normalise in front takes them\), found "),
        (nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(64, 9)), r"expected scores of shape \(1, 10\) for "),
    ):
        with pytest.raises(InputError, match=message):
            loop.train(None, tmp_path / "run", model=model, dataset=digits, progress=False)
    model = nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, 10))
    config = loop.config_for("digits", epochs=1, lr=1e30)
    with pytest.raises(InputError, match=r"^lr: expected a finite loss, found (nan|inf) at step \d+ with rate "):
        loop.train(config, tmp_path / "run", model=model, dataset=digits, progress=False)
    with pytest.raises(InputError, match="start: expected none beside a module of one's own"):
        loop.train(loop.config_for("digits", start="x"), tmp_path / "r", model=model, dataset=digits)
