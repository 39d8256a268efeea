"""Trained models in files, which are read without running code from them."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import torch

from ..data import Features
from ..errors import InputError
from ..network import limits
from ..reading import check_regular
from ..writing import write
from .models import ABCNet
from .recipes import TrainingConfig, build_model
from .residual import ResidualNet

FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A model and what is known of it.

    ``accuracy`` maps ``validation`` and ``test`` to shares of 1, both by
    :func:`abc_hw.training.quantised.evaluate_integer`; it is empty for a model whose training has not ended.
    ``features`` is how numbers became codes, if it was trained on a table.
    """

    model: ABCNet | ResidualNet
    config: TrainingConfig
    classes: tuple[str, ...]
    accuracy: dict[str, float]
    checkpoint: Path
    features: Features | None = None

    @property
    def record(self) -> dict[str, Any]:
        """JSON values for ``Network.training``."""
        edges = {} if self.features is None else {"features": self.features.model_dump(mode="json")}
        return {**self.config.model_dump(mode="json"), "accuracy": self.accuracy, **edges}


def _read_checkpoint(path: Path) -> dict[str, Any]:
    check_regular(path, "a checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a checkpoint, found no such file") from None
    except pickle.UnpicklingError:  # its message advises to run what is in the file
        reason = "it is damaged, or holds more than plain tensors"
        raise InputError(f"{path}: expected a checkpoint, found a file that torch cannot load: {reason}") from None
    except Exception as error:  # foreign bytes make the reader fail in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: expected a checkpoint, found a file that torch cannot load: {reason}") from None
    if not isinstance(content, dict) or not isinstance(content.get("abc_hw"), dict):
        raise InputError(f"{path}: expected a checkpoint of abc-hw, found another file of torch")
    if content["abc_hw"].get("format") != FORMAT:
        raise InputError(f"{path}: expected checkpoint format {FORMAT}, found {content['abc_hw'].get('format')!r}")
    return content


def load_checkpoint(path: Path | str, *, to_resume: bool = False) -> Trained:
    """The model of a checkpoint of :func:`abc_hw.training.loop.train`, in evaluation mode on the CPU.

    Runs no code from the file. With ``to_resume`` it must also hold what training goes on from.

    Raises
    ------
    InputError : no such file, a truncated or foreign one, or one whose tensors do not fit its model.
    """
    path = Path(path)
    content = _read_checkpoint(path)
    if to_resume and "optimizer_states" not in content:
        raise InputError(f"{path}: expected a checkpoint of an epoch, found that of a finished training")
    said = content["abc_hw"]
    try:
        config = TrainingConfig(**said["config"])
        shape, classes = tuple(said["shape"]), tuple(said["classes"])
        limits.check_shape("shape", (*shape, len(classes))[:4])
        model = build_model(config, shape, len(classes))
        state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
        model.load_state_dict(state)
        model.set_integer(bool(said["integer"]))
        features = None if said.get("features") is None else Features(**said["features"])
        accuracy = {str(name): float(value) for name, value in said["accuracy"].items()}
    except (pydantic.ValidationError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a checkpoint whose parts fit each other, found {reason}") from None
    return Trained(
        model=model.eval(), config=config, classes=classes, accuracy=accuracy, checkpoint=path, features=features
    )


def save_checkpoint(trained: Trained) -> None:
    """Write ``trained.checkpoint``, whole or not at all; InputError if it cannot be written."""
    model = trained.model
    content = {
        "abc_hw": describe(
            trained.config, model.in_shape, trained.classes, model.integer, trained.accuracy, trained.features
        ),
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write(trained.checkpoint, buffer.getvalue())


def describe(
    config: TrainingConfig, shape: Sequence[int], classes: Sequence[str], integer: bool,
    accuracy: dict[str, float], features: Features | None = None,
) -> dict[str, Any]:
    """What a checkpoint says about its model, in plain values."""
    return {
        "format": FORMAT, "config": config.model_dump(mode="json"), "shape": list(shape), "classes": list(classes),
        "integer": integer, "accuracy": accuracy,
        "features": None if features is None else features.model_dump(mode="json"),
    }
