"""Models from elsewhere: a float module becomes one on bases, and a module on bases becomes a network.

Each name loads what it needs when it is first asked for: what reads files of other tools needs no PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporting import export, report
    from .normalise import Normalise

_HOMES = {
    "Normalise": "normalise", "export": "exporting", "report": "exporting",
}

__all__ = ["Normalise", "export", "report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
