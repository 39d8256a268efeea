"""What a step of training descends on: the cross-entropy, and the scores of a teacher beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..data import Split
from ..errors import InputError
from .forward import batch_of, multiplying_in
from .recipes import TrainingConfig
from .starting import trained_model


class Objective:
    """The loss of scores, as a configuration says.

    Images ``train`` are what a teacher that is a network file is fitted on (:func:`trained_model`). With a
    ``teacher`` it is ``(1 - s) cross-entropy + s T^2 KL(teacher / T, scores / T)`` of the classes'
    probabilities, s being ``teacher_share`` and T ``temperature`` (Hinton, Vinyals, Dean, arXiv 1503.02531).

    Raises
    ------
    InputError : a teacher that cannot be read, or is of other images or classes
    """

    def __init__(self, config: TrainingConfig, train: Split, classes: Sequence[str]) -> None:
        self.config = config
        self.teacher = None
        if config.teacher:
            trained = trained_model(config.teacher, train)
            found, wanted = (trained.in_shape, trained.classes), (train.images.shape[1:], tuple(classes))
            if found != wanted:
                said = f"expected a teacher of {_said(*wanted)}, found {_said(*found)}"
                raise InputError(f"{config.teacher}: {said}")
            self.teacher = trained.model.requires_grad_(False)

    def __call__(self, scores: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """The mean loss of scores [B, classes] for labels int64 [B] and images uint8 [B, H, W, C]."""
        config = self.config
        loss = functional.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
        if self.teacher is None:
            return loss
        with torch.no_grad(), multiplying_in(config.precision, images):
            wanted = self.teacher.to(images.device)(batch_of(self.teacher, images)).float()
        hot = config.temperature
        kl = functional.kl_div(
            functional.log_softmax(scores / hot, 1), functional.log_softmax(wanted / hot, 1),
            reduction="batchmean", log_target=True,
        )
        return (1 - config.teacher_share) * loss + config.teacher_share * hot**2 * kl


def _said(shape: tuple[int, ...], classes: Sequence[str]) -> str:
    return f"{len(classes)} classes on images {'x'.join(map(str, shape))}"
