"""Models from elsewhere: a float module becomes one on bases, and a module on bases becomes a network.

Each name loads what it needs when it is first asked for: what reads files of other tools needs no PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.normalise import Normalise
    from .exporting import export, report
    from .floats import Converted, convert

_HOMES = {
    "Converted": "conversion.floats", "Normalise": "training.normalise", "convert": "conversion.floats",
    "export": "conversion.exporting", "report": "conversion.exporting",
}

__all__ = ["Converted", "Normalise", "convert", "export", "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"abc_hw.{_HOMES[name]}"), name)
