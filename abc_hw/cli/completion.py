"""What a shell is offered for values: networks, boards, data sets and whatever else has names.

``abc-hw --install-completion`` teaches the shell to ask.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import get_args

from typer.models import ParameterInfo

__all__ = ["complete_values", "values"]

NAMES = {
    "board": ("abc_hw.boards.platforms", "BOARDS"),
    "dataset": ("abc_hw.data.published", "DATASETS"),
    "device": ("abc_hw.rtl_gen.cost.devices", "DEVICES"),
    "model": ("abc_hw.training.models", "MODELS"),
    "reset": ("abc_hw.rtl_gen.emit.resets", "RESETS"),
    "netlist": ("abc_hw.sim.netlist", "FLOWS"),
    "target": ("abc_hw.rtl_gen.parts.popcount", "TARGETS"),
}
"""Parameter of a command -> where the names are that it may have, and maybe more."""

CHOICES = {
    "constants": ("rom", "loaded"), "interface": ("stream", "axi"), "simulator": ("verilator", "icarus"),
    "weights": ("rom", "loaded"),
}
"""Parameter -> the values it may have."""


def _networks() -> Iterable[str]:
    from abc_hw import zoo
    from abc_hw.sources import EXAMPLE_PREFIX, example_names

    return [*(zoo.PREFIX + name for name in zoo.names()), *(EXAMPLE_PREFIX + name for name in example_names())]


def values(parameter: str) -> Iterable[str]:
    """What a parameter may be."""
    if parameter == "network":
        return _networks()
    if parameter in CHOICES:
        return CHOICES[parameter]
    module, name = NAMES[parameter]
    return list(getattr(import_module(module), name))


def _offer(parameter: str) -> Callable[[str], list[str]]:
    def offered(incomplete: str) -> list[str]:
        return [value for value in values(parameter) if value.startswith(incomplete)]

    return offered


def complete_values(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, made by :func:`.console.reports`, whose parameters offer their values to the shell."""
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in {"network", *NAMES, *CHOICES}:
            for info in get_args(parameter.annotation):
                if isinstance(info, ParameterInfo):
                    info.autocompletion = _offer(parameter.name)
    return command
