"""Training with PyTorch Lightning, checkpoints, and the exact integer evaluation of a trained model."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import numpy.typing as npt
import pydantic
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from .data import Dataset, Images, Split, load
from .errors import InputError
from .fold import QuantisedLayer, quantise
from .models import ABCNet, blocks_of, reestimate_batch_norm
from .network import ScaleForm, ScaleKind

LAST = "last.ckpt"
"""Written after every epoch in the run's folder; training resumes from it."""

FINAL = "model.ckpt"
"""The trained model in the run's folder, with batch norm re-estimated and its accuracies."""

FORMAT = 1
WARM_UP_STEPS = 50
SHIFT_RATE = 0.3
"""Learning rate of v and beta as a share of that of the weights."""

# -- configuration ------------------------------------------------------------------------------------------


class TrainingConfig(pydantic.BaseModel):
    """All that decides what a training run computes; equal configurations give equal models on one machine.

    ``M`` and ``N`` are one number for all layers or one per layer (:class:`abc_hw.models.ABCNet`).
    ``integer_epochs`` is how many of the last epochs compute with integer alpha and beta. ``augment`` moves images by
    up to 4 pixels (``crop``; 2 pixels under 32), and mirrors half of them (``flip-crop``).
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    dataset: str = "digits"
    model: str = "lenet"
    M: int | tuple[int, ...] = 3
    N: int | tuple[int, ...] = 3
    scale: ScaleKind = "csd"
    scale_bits: int = pydantic.Field(6, ge=1, le=16)
    scale_terms: int = pydantic.Field(2, ge=1, le=4)
    channel_wise: bool = True
    learnable_u: bool = False
    epochs: int = pydantic.Field(30, ge=1)
    integer_epochs: int = pydantic.Field(4, ge=0)
    batch: int = pydantic.Field(128, ge=2)
    lr: float = pydantic.Field(5e-3, gt=0, allow_inf_nan=False)
    augment: Literal["none", "crop", "flip-crop"] = "none"
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    seed: int = pydantic.Field(1, ge=0)

    @property
    def scale_form(self) -> ScaleForm:
        """The form of the integers alpha and beta."""
        return ScaleForm(kind=self.scale, bits=self.scale_bits, terms=self.scale_terms)


RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 30, "integer_epochs": 8, "batch": 64},
    "mnist": {"epochs": 12, "integer_epochs": 3},
    "fashion-mnist": {"epochs": 12, "integer_epochs": 3},
    "cifar-10": {"model": "vgg", "epochs": 30, "integer_epochs": 5, "augment": "flip-crop"},
}
"""What differs from the defaults of :class:`TrainingConfig` for each data set."""


def config_for(dataset: str, **changes: Any) -> TrainingConfig:
    """The recipe of that data set with ``changes``; InputError names the first field that cannot be."""
    try:
        return TrainingConfig(**{"dataset": dataset, **RECIPES.get(dataset, {}), **changes})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"][:1]))
        raise InputError(f"{field}: {first['msg'].lower()}, found {first['input']!r}") from None


def build_model(config: TrainingConfig, shape: tuple[int, int, int], classes: int) -> ABCNet:
    """An untrained model; the seed decides its weights. InputError if the configuration does not fit the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = ABCNet(
            blocks_of(config.model, shape, classes), shape, M=config.M, N=config.N, scale=config.scale_form,
            channel_wise=config.channel_wise, learnable_u=config.learnable_u,
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


# -- batches ------------------------------------------------------------------------------------------------


class _Images(TorchDataset[tuple[Tensor, Tensor]]):
    """A split of which whole batches are fetched at once: uint8 [B, H, W, C], int64 [B]."""

    def __init__(self, split: Split) -> None:
        self.images = torch.from_numpy(np.ascontiguousarray(split.images))
        self.labels = torch.from_numpy(split.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(indices)
        return self.images[index], self.labels[index]


class _EpochShuffle(Sampler[int]):
    """An order that depends on seed and epoch only, so that a resumed run sees the same batches."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist())


def _whole(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch


def _loader(split: Split, batch: int, sampler: Sampler[int] | None) -> DataLoader[tuple[Tensor, Tensor]]:
    train = sampler is not None
    drop = train and len(split) >= batch
    return DataLoader(_Images(split), batch, sampler=sampler, drop_last=drop, collate_fn=_whole)


def augment_images(images: Tensor, kind: str) -> Tensor:
    """uint8 [B, H, W, C] moved and mirrored at random as ``augment`` of :class:`TrainingConfig` says."""
    if kind == "none":
        return images
    count, height, width, _ = images.shape
    if kind == "flip-crop":
        mirrored = torch.rand(count, device=images.device) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(2), images)
    reach = 4 if min(height, width) >= 32 else 2
    padded = functional.pad(images, (0, 0, reach, reach, reach, reach))
    moves = torch.randint(0, 2 * reach + 1, (2, count, 1), device=images.device)
    rows = moves[0] + torch.arange(height, device=images.device)
    columns = moves[1] + torch.arange(width, device=images.device)
    everyone = torch.arange(count, device=images.device).view(-1, 1, 1)
    return padded[everyone, rows.unsqueeze(2), columns.unsqueeze(1)]


# -- the Lightning module -----------------------------------------------------------------------------------


class ABCTraining(lightning.LightningModule):
    """Trains an ABCNet as ``config`` says; batches are uint8 [B, H, W, C] and int64 [B]."""

    def __init__(self, config: TrainingConfig, shape: tuple[int, int, int], classes: Sequence[str]) -> None:
        super().__init__()
        self.config, self.shape, self.classes = config, shape, tuple(classes)
        self.model = build_model(config, shape, len(self.classes))

    def on_train_epoch_start(self) -> None:
        """Everything random in an epoch follows from seed, epoch and rank; the last epochs are the integer ones."""
        torch.manual_seed((self.config.seed * 1_000_003 + self.current_epoch) * 1009 + self.global_rank)
        self.model.set_integer(self.current_epoch >= self.config.epochs - self.config.integer_epochs)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The cross-entropy of a batch."""
        images, labels = batch
        images = augment_images(images, self.config.augment)
        scores = self.model(images.permute(0, 3, 1, 2))
        loss = functional.cross_entropy(scores, labels, label_smoothing=self.config.label_smoothing)
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Logs the accuracy on held-back training images."""
        images, labels = batch
        right = (self.model(images.permute(0, 3, 1, 2)).argmax(1) == labels).float().mean()
        self.log("validation_accuracy", right, prog_bar=True, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam; 50 steps of warm-up, then a cosine to 0; v and beta at 0.3 of the rate."""
        shifts = self.model.shift_parameters()
        slow = {id(parameter) for parameter in shifts}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in slow]
        rate = self.config.lr
        optimizer = torch.optim.Adam([{"params": others, "lr": rate}, {"params": shifts, "lr": SHIFT_RATE * rate}])
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = min(WARM_UP_STEPS, max(1, steps // 10))

        def factor(step: int) -> float:
            return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what :func:`load_checkpoint` needs to rebuild the model."""
        checkpoint["abc_hw"] = describe(self.config, self.shape, self.classes, self.model.integer, {})


def describe(
    config: TrainingConfig, shape: Sequence[int], classes: Sequence[str], integer: bool, accuracy: dict[str, float]
) -> dict[str, Any]:
    """What a checkpoint says about its model, in plain values."""
    return {
        "format": FORMAT, "config": config.model_dump(mode="json"), "shape": list(shape), "classes": list(classes),
        "integer": integer, "accuracy": accuracy,
    }


# -- checkpoints --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A model and what is known of it.

    ``accuracy`` maps ``validation`` and ``test`` to shares of 1, both by :func:`evaluate_integer`; it is empty for a
    model whose training has not ended.
    """

    model: ABCNet
    config: TrainingConfig
    classes: tuple[str, ...]
    accuracy: dict[str, float]
    checkpoint: Path

    @property
    def record(self) -> dict[str, Any]:
        """JSON values for ``Network.training``."""
        return {**self.config.model_dump(mode="json"), "accuracy": self.accuracy}


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a checkpoint, found no such file") from None
    except Exception as error:  # foreign bytes make the reader fail in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a checkpoint of abc-hw, found a file that does not load: {reason}") from None
    if not isinstance(content, dict) or not isinstance(content.get("abc_hw"), dict):
        raise InputError(f"{path}: expected a checkpoint of abc-hw, found another file of torch")
    if content["abc_hw"].get("format") != FORMAT:
        raise InputError(f"{path}: expected checkpoint format {FORMAT}, found {content['abc_hw'].get('format')!r}")
    return content


def load_checkpoint(path: Path | str) -> Trained:
    """The model of a checkpoint of :func:`train`, in evaluation mode on the CPU. Runs no code from the file.

    Raises
    ------
    InputError : no such file, a truncated or foreign one, or one whose tensors do not fit its model.
    """
    path = Path(path)
    content = _read_checkpoint(path)
    said = content["abc_hw"]
    try:
        config = TrainingConfig(**said["config"])
        shape, classes = tuple(said["shape"]), tuple(said["classes"])
        model = build_model(config, shape, len(classes))
        state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
        model.load_state_dict(state)
        model.set_integer(bool(said["integer"]))
        accuracy = {str(name): float(value) for name, value in said["accuracy"].items()}
    except (pydantic.ValidationError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a checkpoint whose parts fit each other, found {reason}") from None
    return Trained(model=model.eval(), config=config, classes=classes, accuracy=accuracy, checkpoint=path)


def save_checkpoint(trained: Trained) -> None:
    """Write ``trained.checkpoint``: under a temporary name first, then renamed."""
    model = trained.model
    content = {
        "abc_hw": describe(trained.config, model.in_shape, trained.classes, model.integer, trained.accuracy),
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
    }
    temporary = trained.checkpoint.with_name(trained.checkpoint.name + ".tmp")
    torch.save(content, temporary)
    os.replace(temporary, trained.checkpoint)


# -- training -----------------------------------------------------------------------------------------------


def train(
    config: TrainingConfig | None,
    folder: Path | str,
    *,
    data_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    **trainer_options: Any,
) -> Trained:
    """Train a model and return it, quantised, with its accuracy on validation and test images.

    Writes ``last.ckpt`` after every epoch, ``model.ckpt`` at the end and ``log/*/metrics.csv`` into ``folder``.
    The test images are used once, after everything else.

    Parameters
    ----------
    config : None only with ``resume``: the configuration in the checkpoint
    folder : of the run; made if need be
    data_dir : where the data sets lie (:func:`abc_hw.data.load`)
    resume : go on from ``last.ckpt`` in the folder; ends with the same weights as a run without interruption
    progress : show a progress bar
    trainer_options : for ``lightning.Trainer``, such as ``accelerator``, ``devices``, ``num_nodes``

    Raises
    ------
    InputError : a configuration, data file, folder or checkpoint that cannot be used.
    """
    folder = Path(folder)
    last = folder / LAST
    config = _config_of_run(config, last, resume)
    dataset = load(config.dataset, data_dir)
    module = ABCTraining(config, dataset.shape, dataset.classes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be written, found {error.strerror}") from None
    with _quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            logger=CSVLogger(folder, name="log"),
            callbacks=_callbacks(folder, progress),
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=50,
            **trainer_options,
        )
        trainer.fit(
            module,
            _loader(dataset.train, config.batch, _EpochShuffle(len(dataset.train), config.seed)),
            _loader(dataset.validation, 256, None),
            ckpt_path=last if resume else None,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    return _finish(module.model.cpu(), config, dataset, folder / FINAL)


def _config_of_run(config: TrainingConfig | None, last: Path, resume: bool) -> TrainingConfig:
    if not resume:
        if config is None:
            raise InputError("config: expected a configuration for a new run, found none")
        return config
    said = load_checkpoint(last).config
    for field in TrainingConfig.model_fields:
        if config is not None and getattr(config, field) != getattr(said, field):
            raise InputError(
                f"{field}: expected {getattr(said, field)!r}, as {last} was trained, found {getattr(config, field)!r}"
            )
    return said


def _callbacks(folder: Path, progress: bool) -> list[Any]:
    every_epoch = ModelCheckpoint(
        dirpath=folder, filename=LAST.removesuffix(".ckpt"), enable_version_counter=False, save_on_train_epoch_end=True
    )
    return [every_epoch, *([RichProgressBar()] if progress else [])]


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keeps back what Lightning says about matters that are as they should be."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*LeafSpec.* is deprecated",  # Lightning's own use of a torch class
                ".*does not have many workers",  # the images are in memory
                ".*Checkpoint directory .* exists and is not empty",  # a resumed or repeated run
                ".*number of training batches .* is smaller than the logging interval",  # a small data set
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        logger.setLevel(level)


def _finish(model: ABCNet, config: TrainingConfig, dataset: Dataset, path: Path) -> Trained:
    model.set_integer(True)
    chosen = np.random.default_rng(config.seed).permutation(len(dataset.train))[:12_800]
    batches = (dataset.train[index].images for index in np.array_split(chosen, math.ceil(len(chosen) / 256)))
    reestimate_batch_norm(model, (torch.from_numpy(images).permute(0, 3, 1, 2) for images in batches))
    accuracy = {
        name: float((evaluate_integer(model, split.images).argmax(1) == split.labels).mean())
        for name, split in (("validation", dataset.validation), ("test", dataset.test))
    }
    trained = Trained(model=model, config=config, classes=dataset.classes, accuracy=accuracy, checkpoint=path)
    save_checkpoint(trained)
    return trained


# -- exact evaluation ---------------------------------------------------------------------------------------


def evaluate_integer(model: ABCNet, images: Images, *, batch: int = 256) -> npt.NDArray[np.int64]:
    """Scores int64 [B, classes] of uint8 images [B, H, W, C] by the quantised network, exactly.

    The class is the lowest index among the maxima, as ``argmax`` gives it.

    Raises
    ------
    InputError : images of another shape or type.
    """
    return trace_integer(model, images, batch=batch)[-1]


def trace_integer(model: ABCNet, images: Images, *, batch: int = 256) -> list[npt.NDArray[Any]]:
    """What every layer hands on, exactly: level codes uint8 [B, H, W, C], and the scores int64 [B, classes] last."""
    if images.dtype != np.uint8 or images.shape[1:] != model.in_shape:
        raise InputError(f"images: expected uint8 {model.in_shape}, found {images.dtype} {images.shape[1:]}")
    layers = quantise(model)
    parts = [_run(layers, images[start : start + batch]) for start in range(0, max(1, len(images)), batch)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


@torch.no_grad()
def _run(layers: Sequence[QuantisedLayer], images: Images) -> list[npt.NDArray[Any]]:
    values = 2 * torch.tensor(images).permute(0, 3, 1, 2).long() - 255  # sum of the bit-planes, 2^b each
    outputs: list[npt.NDArray[Any]] = []
    for index, layer in enumerate(layers):
        acc = accumulate(layer, values)
        if layer.a is None or layer.b is None or layer.t is None:
            assert layer.bias is not None
            outputs.append((acc.flatten(1) + layer.bias).numpy())
            break
        x = functional.max_pool2d(acc.double(), layer.pool) * layer.a.view(-1, 1, 1) + layer.b.view(-1, 1, 1)
        x = x.clamp(min=0) if layer.relu else x
        beta = layers[index + 1].beta
        high = x.unsqueeze(-1) >= layer.t
        values = (torch.where(high, beta, -beta)).sum(-1)
        outputs.append(high.sum(-1).permute(0, 2, 3, 1).to(torch.uint8).numpy())
    return outputs


def accumulate(layer: QuantisedLayer, values: Tensor) -> Tensor:
    """acc of a layer, int64 [B, C_out, OH, OW], for input values sum_n beta_n A_n, int64 [B, C_in, H, W].

    A float matrix product, exact because every partial sum is an integer below the type's mantissa; unfolded here,
    since a library's convolution may take a transform that rounds.
    """
    exact = torch.float32 if layer.greatest_sum < 1 << 24 else torch.float64
    lowest = -float(layer.beta.sum())
    padded = functional.pad(values.to(exact), [layer.padding] * 4, value=lowest)
    columns = functional.unfold(padded, layer.kernel, stride=layer.stride)
    acc = layer.weight_values.to(exact).flatten(1) @ columns
    height = (padded.shape[2] - layer.kernel[0]) // layer.stride + 1
    return acc.long().unflatten(2, (height, -1))
