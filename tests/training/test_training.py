"""Training runs on the small digits: what they compute, write, resume and refuse."""

import csv
import dataclasses
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abc_hw import data
from abc_hw.errors import InputError
from abc_hw.sim import fast
from abc_hw.training import loop, lowering
from abc_hw.training.checkpoints import Trained
from abc_hw.training.quantised import evaluate_float, evaluate_integer, trace_integer
from abc_hw.training.recipes import RECIPES


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def short(**changes: Any) -> loop.TrainingConfig:
    return loop.config_for("digits", **{"epochs": 3, "integer_epochs": 1, "M": 2, "N": 2, **changes})


def train(config: loop.TrainingConfig | None, folder: Path, **options: Any) -> Trained:
    return loop.train(config, folder, progress=False, accelerator="cpu", **options)


def state(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.model.state_dict()


def assert_equal_states(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A short run and its folder; tests do not change them."""
    folder = tmp_path_factory.mktemp("run")
    return train(short(augment="crop"), folder), folder


# -- what a run gives ---------------------------------------------------------------------------------------


def test_default_recipe_learns_the_digits(tmp_path: Path) -> None:
    trained = train(loop.config_for("digits"), tmp_path)
    assert trained.accuracy["test"] > 0.96
    assert trained.model.integer
    dataset = data.load("digits")
    network = lowering.to_network(trained.model, name="digits", classes=trained.classes, training=trained.record)
    assert network.training["accuracy"]["test"] == trained.accuracy["test"]
    scores = evaluate_integer(trained.model, dataset.test.images)
    assert (scores.argmax(1) == dataset.test.labels).mean() == trained.accuracy["test"]


def test_residual_bases_learn_the_digits_and_export_exactly(tmp_path: Path) -> None:
    trained = train(short(kind="residual", epochs=8, precision="bfloat16"), tmp_path)
    assert trained.accuracy["test"] > 0.9
    network = lowering.to_network(trained.model, name="digits", classes=trained.classes)
    test = data.load("digits").test
    assert np.array_equal(fast.run(network, test.images), evaluate_integer(trained.model, test.images))
    again = loop.load_checkpoint(trained.checkpoint).model
    assert np.array_equal(evaluate_integer(again, test.images), evaluate_integer(trained.model, test.images))


def test_full_precision_learns_the_digits_for_comparison(tmp_path: Path) -> None:
    trained = train(short(kind="float", epochs=8), tmp_path)
    assert trained.accuracy["test"] > 0.95
    test = data.load("digits").test
    scores = evaluate_float(trained.model, test.images)
    assert (scores.argmax(1) == test.labels).mean() == trained.accuracy["test"]


def test_bfloat16_is_what_convolutions_multiply_in_while_training_integer_epochs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    convolve = torch.nn.functional.conv2d

    def watched(x: torch.Tensor, *others: Any) -> torch.Tensor:
        y = convolve(x, *others)
        if torch.is_grad_enabled():
            seen.append(y.dtype)
        return y

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    train(short(epochs=2, integer_epochs=1, precision="bfloat16"), tmp_path / "bfloat16")
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    train(short(epochs=1, integer_epochs=1), tmp_path / "other")
    assert set(seen) == {torch.float32}


def test_the_same_seed_gives_the_same_weights_on_any_number_of_threads_and_another_seed_others(
    run: tuple[Trained, Path], tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    again = train(short(augment="crop"), tmp_path / "again")
    assert torch.get_num_threads() == 2
    assert_equal_states(state(run[0]), state(again))
    other = train(short(augment="crop", seed=2), tmp_path / "other")
    assert not torch.equal(state(run[0])["blocks.conv1.layer.weight"], state(other)["blocks.conv1.layer.weight"])


def test_training_leaves_the_random_numbers_of_building_a_model_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    loop.build_model(short(), (8, 8, 1), 10)
    assert torch.equal(torch.rand(4), expected)


def test_validation_accuracy_of_every_epoch_is_in_the_log(run: tuple[Trained, Path]) -> None:
    (log,) = run[1].glob("log/*/metrics.csv")
    rows = [row for row in csv.DictReader(log.read_text().splitlines()) if row["validation_accuracy"]]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(0 <= float(row["validation_accuracy"]) <= 1 for row in rows)


def test_nothing_but_the_announced_files_is_written(run: tuple[Trained, Path]) -> None:
    assert sorted(path.name for path in run[1].iterdir()) == ["last.ckpt", "log", "model.ckpt", "run.toml"]


def test_the_last_epochs_compute_with_integers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    step = loop.ABCTraining.training_step

    def watch(self: loop.ABCTraining, batch: Any, index: int) -> torch.Tensor:
        seen.append((self.current_epoch, self.model.integer))
        return step(self, batch, index)

    monkeypatch.setattr(loop.ABCTraining, "training_step", watch)
    train(short(epochs=3, integer_epochs=2), tmp_path)
    assert set(seen) == {(0, False), (1, True), (2, True)}


# -- checkpoints --------------------------------------------------------------------------------------------


def test_a_checkpoint_gives_back_the_trained_model(run: tuple[Trained, Path]) -> None:
    trained, folder = run
    loaded = loop.load_checkpoint(folder / "model.ckpt")
    assert_equal_states(state(trained), state(loaded))
    assert (loaded.config, loaded.classes, loaded.accuracy) == (trained.config, trained.classes, trained.accuracy)
    images = data.load("digits").test.images
    for one, two in zip(trace_integer(trained.model, images), trace_integer(loaded.model, images), strict=True):
        assert np.array_equal(one, two)
    networks = [lowering.to_network(t.model, name="n", classes=t.classes) for t in (trained, loaded)]
    assert networks[0].digest == networks[1].digest


def test_the_checkpoint_of_an_epoch_loads_too(run: tuple[Trained, Path]) -> None:
    loaded = loop.load_checkpoint(run[1] / "last.ckpt")
    assert loaded.accuracy == {}
    assert loaded.model.integer
    assert not loaded.model.training


@pytest.mark.parametrize("exception", [RuntimeError("power cut"), KeyboardInterrupt()])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    run: tuple[Trained, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exception: BaseException
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    step = loop.ABCTraining.training_step

    def cut(self: loop.ABCTraining, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == 2 and index == 5:
            raise exception
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(loop.ABCTraining, "training_step", cut)
        with pytest.raises(type(exception)):
            train(short(augment="crop"), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "model.ckpt").exists()
    torch.manual_seed(99)  # what happened in between must not matter
    resumed = train(None, tmp_path, resume=True)
    assert_equal_states(state(run[0]), state(resumed))
    assert resumed.accuracy == run[0].accuracy


def test_resuming_a_finished_run_changes_nothing(run: tuple[Trained, Path]) -> None:
    assert_equal_states(state(run[0]), state(train(short(augment="crop"), run[1], resume=True)))


def damaged(content: bytes, kind: str) -> bytes:
    return {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "cut short": content[:-40],
        "foreign": b"\x89PNG\r\n" + content[:500],
        "text": b"hello\n" * 20,
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "truncated", "cut short", "foreign", "text"])
def test_damaged_checkpoints_are_refused_in_one_line(run: tuple[Trained, Path], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(damaged((run[1] / "model.ckpt").read_bytes(), kind))
    for load in (lambda: loop.load_checkpoint(path), lambda: train(None, tmp_path, resume=True)):
        with pytest.raises(InputError, match=r"^\S*last.ckpt: expected a checkpoint, found a file that torch .*$"):
            load()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"abc_hw": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil\.ckpt: expected a checkpoint"):
        loop.load_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "touched").exists()


def without_weight(content: dict[str, Any]) -> None:
    del content["state_dict"]["model.blocks.conv2.layer.weight"]


def other_shape(content: dict[str, Any]) -> None:
    content["state_dict"]["model.blocks.conv2.layer.weight"] = torch.zeros(3, 3)


def other_config(content: dict[str, Any]) -> None:
    content["abc_hw"]["config"]["epochs"] = 0


def no_config(content: dict[str, Any]) -> None:
    del content["abc_hw"]["config"]


def other_format(content: dict[str, Any]) -> None:
    content["abc_hw"]["format"] = 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without_weight, "found .*conv2.layer.weight"),
        (other_shape, "found .*conv2.layer.weight"),
        (other_config, "found .*epochs"),
        (no_config, "found 'config'"),
        (other_format, "expected checkpoint format 1, found 2"),
        (dict.clear, "expected a checkpoint of abc-hw, found another file of torch"),
    ],
)
def test_edited_checkpoints_are_refused_in_one_line(
    run: tuple[Trained, Path], tmp_path: Path, edit: Any, message: str
) -> None:
    content = torch.load(run[1] / "model.ckpt", weights_only=True)
    edit(content)
    torch.save(content, tmp_path / "edited.ckpt")
    with pytest.raises(InputError, match=rf"^\S*edited.ckpt: .*{message}.*$"):
        loop.load_checkpoint(tmp_path / "edited.ckpt")


def test_a_failed_write_leaves_the_old_checkpoint(run: tuple[Trained, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"old")
    broken = dataclasses.replace(run[0], checkpoint=path, accuracy={"test": lambda: 0})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="pickle"):
        loop.save_checkpoint(broken)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# -- augmentation -------------------------------------------------------------------------------------------


def test_augmentation_moves_and_mirrors_whole_images() -> None:
    torch.manual_seed(0)
    images = torch.randint(1, 256, (64, 8, 6, 2), dtype=torch.uint8)
    assert loop.augment_images(images, "none") is images
    framed = torch.nn.functional.pad(images, (0, 0, 2, 2, 2, 2))
    seen = set()
    for before, after in zip(framed, loop.augment_images(images, "flip-crop"), strict=True):
        places = {
            (dy, dx, mirrored)
            for dy in range(5) for dx in range(5) for mirrored in (False, True)
            if torch.equal((before.flip(1) if mirrored else before)[dy : dy + 8, dx : dx + 6], after)
        }
        assert len(places) == 1
        seen |= places
    assert {mirrored for *_, mirrored in seen} == {False, True}
    assert {dy for dy, *_ in seen} == {dx for _, dx, _ in seen} == set(range(5))


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, found 0"),
        ({"lr": -1}, "lr: input should be greater than 0, found -1"),
        ({"lr": float("nan")}, "lr: .*, found nan"),
        ({"scale": "float"}, "scale: .*, found 'float'"),
        ({"M": "three"}, "M: .*, found 'three'"),
        ({"kind": "ternary"}, "kind: .*, found 'ternary'"),
        ({"width": 0}, "width: input should be greater than 0, found 0"),
        ({"speed": 3}, "speed: extra inputs are not permitted, found 3"),
    ],
)
def test_configurations_that_cannot_be_are_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        short(**changes)


def test_what_the_images_or_the_folder_do_not_allow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"conv1\.tie_steps: expected weights of kind abc, found residual"):
        train(short(kind="residual", tie_steps=True), tmp_path)
    with pytest.raises(InputError, match=r"conv2\.M: expected an integer from 1 to 8, found 0"):
        train(short(M=(1, 0, 1, 1)), tmp_path)
    with pytest.raises(InputError, match="model: expected one of"):
        train(short(model="alexnet"), tmp_path)
    with pytest.raises(InputError, match="dataset: expected one of"):
        train(loop.config_for("imagenet"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/run: expected a folder that can be written, found Not a directory"):
        train(short(), tmp_path / "file" / "run")


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match="run: expected a folder that can be written, found no permission"):
        train(short(), tmp_path / "run")


def test_resuming_needs_a_checkpoint_and_the_same_configuration(run: tuple[Trained, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"last\.ckpt: expected a checkpoint, found no such file"):
        train(None, tmp_path, resume=True)
    shutil.copy(run[1] / "model.ckpt", tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt: expected a checkpoint of an epoch, found that of"):
        train(None, tmp_path, resume=True)
    with pytest.raises(InputError, match=r"seed: expected 1, as .*last\.ckpt was trained, found 5"):
        train(short(augment="crop", seed=5), run[1], resume=True)
    with pytest.raises(InputError, match="config: expected a configuration for a new run, found none"):
        train(None, tmp_path)


def test_images_of_another_size_or_type_are_refused(run: tuple[Trained, Path]) -> None:
    model = run[0].model
    with pytest.raises(InputError, match=r"images: expected uint8 \(8, 8, 1\), found uint8 \(9, 8, 1\)"):
        evaluate_integer(model, np.zeros((2, 9, 8, 1), np.uint8))
    with pytest.raises(InputError, match=r"images: expected uint8 \(8, 8, 1\), found float64 \(8, 8, 1\)"):
        evaluate_integer(model, np.zeros((2, 8, 8, 1)))  # type: ignore[arg-type]


def test_every_recipe_is_a_configuration_of_a_known_data_set() -> None:
    assert set(RECIPES) == set(data.DATASETS)
    for dataset in RECIPES:
        assert loop.config_for(dataset).dataset == dataset
