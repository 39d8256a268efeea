"""Trained models in files, which are read without running code from them."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pydantic
import torch
from torch import nn

from ..data import Features
from ..errors import InputError
from ..network import limits
from ..reading import check_regular
from ..validation import validate
from ..writing import write
from .layers import is_integer, set_integer
from .models import ABCNet
from .recipes import OF_MODELS, OWN, TrainingConfig, build_model
from .residual import ResidualNet

FORMAT = 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A model and what is known of it.

    ``accuracy`` maps ``validation`` and ``test`` to shares of 1, both by
    :func:`abc_hw.training.quantised.evaluate_integer`; it is empty for a model whose training has not ended.
    ``features`` is how numbers became codes, if it was trained on a table. ``in_shape`` is (H, W, C) of an image.
    ``origin`` is that of :mod:`abc_hw.training.origin`, if the file says it.
    Only :func:`abc_hw.training.loop.train` returns the ``scores`` [images, classes] behind the accuracies,
    and ``before_rounding``: the share of validation images right before the coefficients become integers.
    """

    model: nn.Module
    config: TrainingConfig
    classes: tuple[str, ...]
    accuracy: dict[str, float]
    checkpoint: Path
    features: Features | None = None
    in_shape: tuple[int, int, int] = (0, 0, 0)
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)
    before_rounding: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.model, ABCNet | ResidualNet):
            object.__setattr__(self, "in_shape", self.model.in_shape)

    @property
    def record(self) -> dict[str, Any]:
        """JSON values for ``Network.training``."""
        edges = {} if self.features is None else {"features": self.features.model_dump(mode="json")}
        idle = set(OF_MODELS) if self.config.model == OWN else set()
        said = self.config.told(exclude=idle)
        return {**said, "accuracy": self.accuracy, **edges, **self.origin}


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


class Facts(pydantic.BaseModel):
    """What a checkpoint says of itself: of a training that is over, or with what another epoch goes on from."""

    config: TrainingConfig
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    accuracy: dict[str, float]
    origin: dict[str, dict[str, Any]] = {}
    resumable: bool


def read_facts(path: Path) -> Facts:
    """What a checkpoint says of itself, without its model; InputError as of :func:`load_checkpoint`."""
    content = _read_checkpoint(path)
    return validate(Facts, content["abc_hw"] | {"resumable": "optimizer_states" in content}, str(path))


def load_checkpoint(path: Path | str, *, to_resume: bool = False, model: nn.Module | None = None) -> Trained:
    """The model of a checkpoint of :func:`abc_hw.training.loop.train`, in evaluation mode on the CPU.

    Runs no code from the file. With ``to_resume`` it must also hold what training goes on from. ``model`` is the
    module of one's own that was trained, if it was one: it gets the numbers of the file.

    Raises
    ------
    InputError : no such file, a truncated or foreign one, or one whose tensors do not fit its model.
    """
    path = Path(path)
    content = _read_checkpoint(path)
    if to_resume and "optimizer_states" not in content:
        raise InputError(f"{path}: expected a checkpoint of an epoch, found that of a finished training")
    said = content["abc_hw"]
    _check_owner(path, said, model)
    try:
        config = TrainingConfig(**said["config"])
        shape, classes = tuple(said["shape"]), tuple(said["classes"])
        limits.check_shape("shape", (*shape, len(classes))[:4])
        model = build_model(config, shape, len(classes)) if model is None else model
        state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
        model.load_state_dict(state)
        set_integer(model, bool(said["integer"]))
        features = None if said.get("features") is None else Features(**said["features"])
        accuracy = {str(name): float(value) for name, value in said["accuracy"].items()}
        made_by = {str(name): dict(facts) for name, facts in said.get("origin", {}).items()}
    except (pydantic.ValidationError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a checkpoint whose parts fit each other, found {reason}") from None
    return Trained(
        model=model.eval(), config=config, classes=classes, accuracy=accuracy, checkpoint=path, features=features,
        in_shape=shape, origin=made_by,
    )


def _check_owner(path: Path, said: dict[str, Any], model: nn.Module | None) -> None:
    """InputError unless a module is given exactly where the file holds the numbers of a user's own."""
    config = said.get("config")
    if isinstance(config, dict) and (config.get("model") == OWN) != (model is not None):
        wanted = "no module beside it" if model is not None else "the module that was trained, as model="
        raise InputError(f"{path}: expected {wanted}, found {'one' if model is not None else 'none'}")


def save_checkpoint(trained: Trained) -> None:
    """Write ``trained.checkpoint``, whole or not at all; InputError if it cannot be written."""
    model = trained.model
    content = {
        "abc_hw": describe(
            trained.config, trained.in_shape, trained.classes, is_integer(model), trained.accuracy,
            trained.features, trained.origin,
        ),
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write(trained.checkpoint, buffer.getvalue())


def describe(
    config: TrainingConfig, shape: Sequence[int], classes: Sequence[str], integer: bool,
    accuracy: dict[str, float], features: Features | None = None, origin: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a checkpoint says about its model, in plain values."""
    return {
        "format": FORMAT, "config": config.model_dump(mode="json"), "shape": list(shape), "classes": list(classes),
        "integer": integer, "accuracy": accuracy, "origin": origin or {},
        "features": None if features is None else features.model_dump(mode="json"),
    }
