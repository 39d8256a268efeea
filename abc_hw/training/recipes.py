"""What a training run computes, as data, and the recipe that works for each data set."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import pydantic
import tomli_w
import torch

from ..data import Reading
from ..errors import InputError
from ..network import ScaleForm, ScaleKind
from ..reading import read_toml
from ..validation import validate
from .kinds import FLOAT, KINDS
from .models import MODELS, ABCNet, blocks_of
from .residual import DESIGNS, ResidualNet


class TrainingConfig(pydantic.BaseModel):
    """All that decides what a training run computes; equal configurations give equal models on one machine.

    ``dataset`` is the name or the place of the data, ``reading`` how their images are read (:mod:`abc_hw.data`).
    ``M`` and ``N`` are one number for all layers or one per layer (:class:`abc_hw.training.models.ABCNet`).
    ``tie_steps`` lets two bit-planes stand for three bases (:class:`abc_hw.training.layers.ABCConv2d`).
    ``integer_epochs`` is how many of the last epochs compute with integer alpha and beta. ``kind`` is that of
    :class:`abc_hw.training.models.ABCNet`, ``width`` what the channels of all but the last layer are multiplied
    by. With ``precision`` bfloat16 the convolutions multiply in it, while training. ``augment`` moves
    images by up to 4 pixels (``crop``; 2 pixels if they are smaller than 32), and mirrors half of them
    (``flip-crop``); ``cutout`` is the side of a grey square put over each, in pixels. ``start`` is a checkpoint or
    network file to start from, if any (:mod:`abc_hw.training.starting`), ``teacher`` one whose scores
    are learned beside the labels (:mod:`abc_hw.training.objective`). In the first ``float_epochs`` the weights
    stay in full precision, while the activations are on bases already. ``shift_rate`` is the learning rate of v
    and beta as a share of ``lr``, ``average`` the decay of a moving average of the weights (0: none), ``clamp``
    the quantile beyond which weights are clamped (1: none) (:mod:`abc_hw.training.descent`).
    With ``model`` :data:`OWN` the fields of :data:`OF_MODELS` decide nothing.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    dataset: str = "digits"
    reading: Reading = Reading()
    model: str = "lenet"
    M: int | tuple[int, ...] = 3
    N: int | tuple[int, ...] = 3
    scale: ScaleKind = "csd"
    scale_bits: int = pydantic.Field(6, ge=1, le=16)
    scale_terms: int = pydantic.Field(2, ge=1, le=4)
    kind: str = "abc"
    width: float = pydantic.Field(1.0, gt=0, le=16)
    channel_wise: bool = True
    learnable_u: bool = False
    tie_steps: bool = False
    epochs: int = pydantic.Field(30, ge=1, le=1_000_000)
    integer_epochs: int = pydantic.Field(4, ge=0, le=1_000_000)
    batch: int = pydantic.Field(128, ge=2, le=1 << 20)
    lr: float = pydantic.Field(5e-3, gt=0, allow_inf_nan=False)
    augment: Literal["none", "crop", "flip-crop"] = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    cutout: int = pydantic.Field(0, ge=0, le=1 << 10)
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = pydantic.Field(0.0, ge=0, allow_inf_nan=False)
    warm_up: int = pydantic.Field(50, ge=0, le=1_000_000)
    shift_rate: float = pydantic.Field(0.3, ge=0, le=1)
    average: float = pydantic.Field(0.0, ge=0, lt=1)
    clamp: float = pydantic.Field(1.0, gt=0.5, le=1)
    float_epochs: int = pydantic.Field(0, ge=0, le=1_000_000)
    start: str = ""
    teacher: str = ""
    teacher_share: float = pydantic.Field(0.5, gt=0, le=1)
    temperature: float = pydantic.Field(4.0, gt=0, allow_inf_nan=False)
    seed: int = pydantic.Field(1, ge=0, lt=1 << 63)

    @pydantic.field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in (*KINDS, FLOAT):
            raise ValueError(f"Input should be {', '.join(map(repr, KINDS))} or {FLOAT!r}")
        return kind

    @pydantic.field_validator("float_epochs")
    @classmethod
    def _before_integers(cls, count: int, info: pydantic.ValidationInfo) -> int:
        most = max(0, info.data.get("epochs", count) - info.data.get("integer_epochs", 0))
        if count > most:
            raise ValueError(f"Input should be at most {most}, the epochs before integer ones")
        return count

    def told(self, *, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The fields as JSON values, for who is elsewhere: files that it started from or learned from by their
        names alone, as their folders mean nothing there."""
        said = self.model_dump(mode="json", exclude=set(exclude))
        return said | {field: Path(said[field]).name for field in ("start", "teacher") if said.get(field)}

    @property
    def scale_form(self) -> ScaleForm:
        """The form of the integers alpha and beta."""
        return ScaleForm(kind=self.scale, bits=self.scale_bits, terms=self.scale_terms)


RUN = "run.toml"
"""The configuration of a run, in its folder."""


def read_config(path: Path) -> dict[str, Any]:
    """The fields of :class:`TrainingConfig` that a TOML file gives: :func:`config_text` of another run, or less.

    Raises
    ------
    InputError : no readable TOML, a field that there is not, or a value that cannot be
    """
    said = validate(TrainingConfig, read_toml(path, "a readable configuration"), str(path))
    return said.model_dump(exclude_unset=True)


def read_setting(text: str) -> tuple[str, Any]:
    """Field and value of ``NAME=VALUE``; the value as TOML has it, or a bare word.

    Raises
    ------
    InputError : no such form, or no such field
    """
    name, is_one, value = text.partition("=")
    if not is_one or name not in TrainingConfig.model_fields:
        raise InputError(f"set: expected NAME=VALUE with the name of a field of {RUN}, found {text!r}")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def config_text(config: TrainingConfig) -> str:
    """A configuration as TOML, every field of it but those that are None."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


OWN = "own"
"""The model of a configuration that trains a module of the user's own, which is given beside it."""

OF_MODELS = (
    "M", "N", "scale", "scale_bits", "scale_terms", "kind", "width", "channel_wise", "learnable_u", "tie_steps",
)
"""Fields that decide nothing where the model is the user's own."""


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
        return TrainingConfig(**{"dataset": dataset, **_recipe(dataset), **changes})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"][:1]))
        rule = first["msg"].removeprefix("Value error, ").lower()
        raise InputError(f"{field}: {rule}, found {first['input']!r}") from None


def _recipe(dataset: str) -> dict[str, Any]:
    return {"model": "mlp"} if dataset.lower().endswith(".csv") else RECIPES.get(dataset, {})


def build_model(config: TrainingConfig, shape: tuple[int, int, int], classes: int) -> ABCNet | ResidualNet:
    """An untrained model, its weights decided by the seed; InputError if the images do not fit it."""
    options: dict[str, Any] = {
        "M": config.M, "N": config.N, "scale": config.scale_form, "kind": config.kind,
        "channel_wise": config.channel_wise, "learnable_u": config.learnable_u, "tie_steps": config.tie_steps,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: ABCNet | ResidualNet
        if config.model not in {**MODELS, **DESIGNS}:
            raise InputError(f"model: expected one of {', '.join((*MODELS, *DESIGNS))}, found {config.model!r}")
        if config.model in DESIGNS:
            model = ResidualNet(DESIGNS[config.model], shape, classes, width=config.width, **options)
        else:
            model = ABCNet(blocks_of(config.model, shape, classes, width=config.width), shape, **options)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
