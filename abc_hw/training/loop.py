"""Training with PyTorch Lightning."""

from __future__ import annotations

import contextlib
import io
import math
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from ..data import Dataset, Images, from_torch, load
from ..errors import InputError
from ..writing import own_folder, telling, write
from . import kernels
from .batches import Place, augment_images, check_shares, training_batches, validation_batches
from .checkpoints import Trained, describe, load_checkpoint, save_checkpoint
from .descent import averaging, clamp_weights, optimizer_for, rate_over_steps
from .forward import batch_of, macs_of, multiplying_in
from .layers import BatchNorm, abc_layers, is_integer, set_free, set_integer
from .models import ABCNet, reestimate_batch_norm
from .objective import Objective
from .origin import check_same_data, origin
from .progress import Bar, Epoch, TellEpochs, quiet_lightning
from .quantised import evaluate_float, evaluate_integer
from .recipes import OWN, RUN, TrainingConfig, build_model, config_for, config_text
from .residual import ResidualNet
from .starting import start_from
from .threads import FEW_MACS, on_one_thread
from .tracing import check_module

__all__ = [
    "ABCTraining", "Trained", "TrainingConfig", "augment_images", "config_for", "evaluate_integer",
    "load_checkpoint", "save_checkpoint", "train",
]

LAST = "last.ckpt"
"""Written after every epoch in the run's folder; training resumes from it."""

FINAL = "model.ckpt"
"""The trained model in the run's folder, with batch norm re-estimated and its accuracies."""

LONG_MACS = 2e11
"""Multiplications of a training, forward, from which on it is worth compiling kernels for."""

NORM_IMAGES = 12_800
"""How many training images the final statistics of batch norm are taken from."""

# -- the Lightning module -----------------------------------------------------------------------------------


class ABCTraining(lightning.LightningModule):
    """Trains an ABCNet or the ``model`` given, as ``config`` says; batches are uint8 [B, H, W, C], int64 [B]."""

    def __init__(self, config: TrainingConfig, data: Dataset, model: nn.Module | None = None) -> None:
        super().__init__()
        self.config, self.shape, self.classes, self.features = config, data.shape, data.classes, data.features
        self.model = build_model(config, self.shape, len(self.classes)) if model is None else model
        self.objective = Objective(config, data.train, self.classes)
        self.begun = False
        self.data: Dataset | None = data
        self.origin = origin(data)
        self._told = torch.zeros(2, dtype=torch.float64)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs, whose weights are averages: no data and no teacher."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "data": None, "objective": None}

    @property
    def place(self) -> Place:
        """Which of the processes that train together this is."""
        return Place(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> Any:
        """This process's share of each batch."""
        assert self.data is not None  # only copies have none
        return training_batches(self.data.train, self.config.batch, self.config.seed, self.place)

    def val_dataloader(self) -> Any:
        """This process's share of the validation images."""
        assert self.data is not None
        return validation_batches(self.data.validation, self.place)

    def on_train_start(self) -> None:
        """All that a checkpoint holds is in its place; batch norm is over the images of all processes."""
        self.begun = True
        self._share_norms(self.place.of > 1)

    def on_train_end(self) -> None:
        """From now on every process computes by itself."""
        self._share_norms(False)

    def _share_norms(self, on: bool) -> None:
        for part in self.modules():
            if isinstance(part, BatchNorm):
                part.together = on

    def _seed(self, index: int, rank: int) -> None:
        numbers = [self.config.seed, self.current_epoch, index, rank]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """All that is random in a step follows from seed, step and rank; the last epochs are integer ones."""
        self._seed(index, 0)
        set_integer(self.model, self.current_epoch >= self.config.epochs - self.config.integer_epochs)
        set_free(self.model, self.current_epoch < self.config.float_epochs)

    def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:
        """Weights stay within what is asked for."""
        if self.config.clamp < 1:
            clamp_weights(self.model, self.config.clamp)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The cross-entropy of a batch."""
        images, labels = batch
        images = augment_images(images, self.config.augment, self.place, cutout=self.config.cutout)
        if self.place.rank:  # what a module draws is its own
            self._seed(index, self.place.rank)
        with multiplying_in(self.config.precision, images):
            scores = self.model(batch_of(self.model, images))
        loss = self.objective(scores.float(), labels, images)
        if not bool(loss.isfinite()):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise InputError(
                f"lr: expected a finite loss, found {loss.item()} at step {self.global_step} with rate {rate:.3g}"
            )
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels), sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Nothing is told yet."""
        self._told = torch.zeros(2, dtype=torch.float64)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Counts what is right on held-back training images."""
        images, labels = batch
        right = (self.model(batch_of(self.model, images)).argmax(1) == labels).sum()
        self._told += torch.tensor([float(right), len(labels)], dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """Logs the accuracy on the images of all processes."""
        right, count = self.trainer.strategy.reduce(self._told.to(self.device, torch.float32), reduce_op="sum")
        self.log("validation_accuracy", right / count, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """As :mod:`abc_hw.training.descent` has them."""
        optimizer = optimizer_for(self.model, self.config)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = rate_over_steps(optimizer, self.config, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what :func:`load_checkpoint` needs to rebuild the model."""
        checkpoint["abc_hw"] = describe(
            self.config, self.shape, self.classes, is_integer(self.model), {}, self.features, self.origin
        )


# -- training -----------------------------------------------------------------------------------------------


def train(
    config: TrainingConfig | None = None,
    folder: Path | str = "runs/own",
    *,
    model: nn.Module | None = None,
    dataset: Dataset | Iterable[Any] | None = None,
    data_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    on_epoch: Callable[[Epoch], None] | None = None,
    **trainer_options: Any,
) -> Trained:
    """Train a model and return it, quantised, with its accuracy on validation and test images.

    Writes ``run.toml``, the configuration, ``last.ckpt`` after every epoch, ``model.ckpt`` at the end and
    ``log/*/metrics.csv`` into ``folder``.
    The test images are used once, after everything else.

    Parameters
    ----------
    config : None: the configuration in the checkpoint with ``resume``, else the defaults for a ``model`` or
        ``dataset`` of one's own
    folder : of the run; made if need be
    model : a module of one's own in the place of the configuration's: on bases, or in full precision. It takes
        uint8 [B, C, H, W] (:class:`~abc_hw.training.normalise.Normalise` is for modules in full precision), and is
        trained in place. A checkpoint has its numbers only, so ``resume`` needs it again, as it was made
    dataset : in the place of the configuration's: a :class:`abc_hw.data.Dataset`, or one of
        ``torch.utils.data``, of which a part is held out (:func:`abc_hw.data.from_torch`)
    data_dir : where the data sets lie (:func:`abc_hw.data.load`)
    resume : go on from ``last.ckpt`` in the folder; ends with the same weights as a run without interruption
    progress : show a progress bar
    on_epoch : called with what each epoch came to
    trainer_options : for ``lightning.Trainer``, such as ``accelerator``, ``devices`` (1 unless said),
        ``num_nodes``, ``strategy``. A batch is shared out among all processes, so their number changes rounding
        only, and a run may be resumed with another; batch norms of torch's own, and dropout, are each process's

    Raises
    ------
    InputError : a configuration, data file, folder or checkpoint that cannot be used.
    KeyboardInterrupt : Ctrl-C; what was trained up to the last full epoch is in ``last.ckpt``.
    """
    folder = Path(folder)
    last = folder / LAST
    if dataset is not None and not isinstance(dataset, Dataset):
        dataset = from_torch(dataset)
    config, before = _config_of_run(_with_own(config, model, dataset, resume), last, resume, model)
    dataset = load(config.dataset, data_dir, config.reading) if dataset is None else dataset
    check_same_data(before, dataset, last)
    if model is not None:
        check_module(model, dataset.shape, len(dataset.classes))
    module = ABCTraining(config, dataset, model).train()
    if config.start and not resume:
        if not isinstance(module.model, ABCNet | ResidualNet):
            raise InputError("start: expected none beside a module of one's own, which starts as it is, found one")
        start_from(module.model, config.start, dataset.train)
    small = config.batch * macs_of(module.model, dataset.shape) < FEW_MACS
    with _for_itself(folder), telling(folder, "a folder"), on_one_thread(small):
        if is_first():
            write(folder / RUN, config_text(config).encode())
        return _train(module, dataset, folder, resume, progress, on_epoch, trainer_options)


def is_first() -> bool:
    """Whether this process is the first, or the only one, of those that train together; it writes the files."""
    return not getattr(rank_zero_only, "rank", 0)


def _for_itself(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """The run's folder, which the first of the processes that train together takes for all of them."""
    return own_folder(folder) if is_first() else contextlib.nullcontext(folder)


def _train(
    module: ABCTraining, dataset: Dataset, folder: Path, resume: bool, progress: bool,
    on_epoch: Callable[[Epoch], None] | None, options: dict[str, Any],
) -> Trained:
    config, final = module.config, folder / FINAL
    with quiet_lightning():
        callbacks = [*averaging(config), *_callbacks(folder, progress, on_epoch)]
        trainer = _trainer(config, folder, callbacks, options)
        check_shares(dataset.train, config.batch, trainer.world_size)
        long = config.epochs * len(dataset.train) * macs_of(module.model, dataset.shape) > LONG_MACS
        with _as_lightning_ends(module, folder / LAST if resume else None) as last, kernels.compiling(long):
            trainer.fit(module, ckpt_path=last)
    if trainer.is_global_zero:
        with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bars:
            trained = _finish(module.model.cpu(), config, dataset, final, bars)
        save_checkpoint(trained)
    trainer.strategy.barrier()
    if not trainer.is_global_zero:
        trained = load_checkpoint(final, model=module.model if config.model == OWN else None)
    return trained


def _trainer(
    config: TrainingConfig, folder: Path, callbacks: list[Any], options: dict[str, Any]
) -> lightning.Trainer:
    """Lightning's trainer; InputError for machines or processes that it cannot train on."""
    if torch.backends.mps.is_available():  # it has no float64, which the integer epochs need
        options.setdefault("accelerator", "cpu")
    options.setdefault("devices", 1)
    try:
        return lightning.Trainer(
            max_epochs=config.epochs,
            logger=CSVLogger(folder, name="log"),
            callbacks=callbacks,
            enable_progress_bar=any(isinstance(callback, Bar) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=50,
            inference_mode=False,  # else validation would need kernels of its own
            use_distributed_sampler=False,  # the batches are shared out already
            plugins=[_Checkpoints(), *options.pop("plugins", ())],
            **options,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        said = ", ".join(f"{name} {value}" for name, value in options.items())
        reason = " ".join(str(error).split())
        raise InputError(f"machines: expected what Lightning can train on, found {said}: {reason}") from None


@contextlib.contextmanager
def _as_lightning_ends(module: ABCTraining, last: Path | None) -> Iterator[Path | None]:
    """The checkpoint to go on from, and ways in which Lightning ends a training in the words of this one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield last
    except SystemExit as ended:  # with 1: Lightning's answer to Ctrl-C, which it ignores from then on
        if ended.code != 1:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if last is None or module.begun or isinstance(error, InputError):
            raise
        reason = f"parts that do not fit each other ({type(error).__name__}: {' '.join(str(error).split())})"
        raise InputError(f"{last}: expected what training goes on from, found {reason}") from None


def _with_own(
    config: TrainingConfig | None, model: nn.Module | None, dataset: Dataset | None, resume: bool
) -> TrainingConfig | None:
    """The configuration that says that model and data are the user's own, as far as they are."""
    if (model is None and dataset is None) or (config is None and resume):
        return config
    changes: dict[str, Any] = {} if dataset is None else {"dataset": dataset.source or dataset.name}
    if dataset is not None and dataset.reading is not None:
        changes["reading"] = dataset.reading
    if model is not None:
        changes |= {"model": OWN} if abc_layers(model) else {"model": OWN, "kind": "float"}
    return (config or config_for("own")).model_copy(update=changes)


def _config_of_run(
    config: TrainingConfig | None, last: Path, resume: bool, model: nn.Module | None
) -> tuple[TrainingConfig, dict[str, Any]]:
    """The configuration, and the origin of a run that goes on."""
    if not resume:
        if config is None:
            raise InputError("config: expected a configuration for a new run, found none")
        return config, {}
    trained = load_checkpoint(last, to_resume=True, model=model)
    said = trained.config
    for field in TrainingConfig.model_fields if config is not None else ():
        was, now = getattr(said, field), getattr(config, field)
        if was != now:
            raise InputError(f"{field}: expected {was!r}, as {last} was trained, found {now!r}")
    return said, trained.origin


class _Checkpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; Lightning's own copies it there from ``TMPDIR``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write(path, buffer.getvalue())


def _callbacks(folder: Path, progress: bool, on_epoch: Callable[[Epoch], None] | None) -> list[Any]:
    every_epoch = ModelCheckpoint(
        dirpath=folder, filename=LAST.removesuffix(".ckpt"), enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    return [every_epoch, *([Bar()] if progress else []), *([TellEpochs(on_epoch)] if on_epoch else [])]


def _finish(
    model: nn.Module, config: TrainingConfig, dataset: Dataset, path: Path, bars: Progress
) -> Trained:
    chosen = np.random.default_rng(config.seed).permutation(len(dataset.train))[:NORM_IMAGES]

    def settle(integer: bool) -> None:
        set_integer(model, integer)
        batches = np.array_split(chosen, math.ceil(len(chosen) / 256))
        torch.manual_seed(config.seed)
        images = (batch_of(model, seen(dataset.train[index].images)) for index in batches)
        reestimate_batch_norm(model, bars.track(images, len(batches), description="batch norm"))

    def seen(images: Images) -> Tensor:
        """As training sees them: statistics of others would not be those that the weights were trained with."""
        return augment_images(torch.from_numpy(images), config.augment, cutout=config.cutout)

    def score(name: str, evaluate: Callable[..., Any], images: Any) -> Any:
        task = bars.add_task(f"{name} images", total=len(images))
        return evaluate(model, images, progress=lambda done, _: bars.update(task, completed=done))

    before = None
    if isinstance(model, ABCNet):  # the sums of a residual one are integers in training already
        settle(False)
        told = score("validation", evaluate_float, dataset.validation.images).argmax(1)
        before = float((told == dataset.validation.labels).mean())
    settle(True)
    parts = {"validation": dataset.validation, "test": dataset.test}
    evaluate = evaluate_float if config.kind == "float" else evaluate_integer
    scores = {name: score(name, evaluate, split.images) for name, split in parts.items()}
    accuracy = {name: float((scores[name].argmax(1) == split.labels).mean()) for name, split in parts.items()}
    return Trained(
        model=model, config=config, classes=dataset.classes, accuracy=accuracy, checkpoint=path,
        features=dataset.features, in_shape=dataset.shape, origin=origin(dataset), scores=scores,
        before_rounding=before,
    )
