"""What is told of a training while it runs: a line an epoch, a bar, and not what Lightning says by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lightning
from lightning.pytorch.callbacks import RichProgressBar

FIGURES = {"loss": "loss", "validation_accuracy": "val"}
"""What is logged of an epoch, and as what the bar shows it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch came to.

    Members
    -------
    number, of : which it was, from 1, and how many there will be
    seconds : it took, validation included
    loss : mean over its batches
    validation_accuracy : share of the held-back training images whose class is right
    """

    number: int
    of: int
    seconds: float
    loss: float
    validation_accuracy: float

    def __str__(self) -> str:
        return (
            f"epoch {self.number} of {self.of}: {self.seconds:.1f} s, loss {self.loss:.4f}, "
            f"validation {100 * self.validation_accuracy:.2f} %"
        )


class TellEpochs(lightning.Callback):
    """Calls ``tell`` after every epoch, in the first of the processes that train together."""

    def __init__(self, tell: Callable[[Epoch], None]) -> None:
        self.tell = tell
        self._begun = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Lightning calls it."""
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Lightning calls it, after validation."""
        if trainer.is_global_zero:
            figures = {name: float(trainer.callback_metrics[name]) for name in FIGURES}
            seconds, of = time.monotonic() - self._begun, int(trainer.max_epochs or 0)
            self.tell(Epoch(number=trainer.current_epoch + 1, of=of, seconds=seconds, **figures))


class Bar(RichProgressBar):
    """The bar with two figures of a fixed width, in the place of Lightning's long line."""

    def get_metrics(self, *arguments: Any) -> dict[str, int | str | float | dict[str, float]]:
        figures = super().get_metrics(*arguments)
        return {FIGURES[name]: f"{float(figures[name]):.4f}" for name in FIGURES if name in figures}  # type: ignore[arg-type]


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keeps back what Lightning says about matters that are as they should be."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*LeafSpec.* is deprecated",  # Lightning's own use of a torch class
                ".*does not have many workers",  # the images are in memory
                ".*Checkpoint directory .* exists and is not empty",  # a resumed or repeated run
                "The dirpath has changed from",  # a run whose folder was moved
                ".*number of training batches .* is smaller than the logging interval",  # a small data set
                "GPU available but not used",  # the user's choice
            ):
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
