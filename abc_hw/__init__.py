"""From a PyTorch binary-basis network to a bit-exact Verilog accelerator.

The names of :data:`__all__` are the public ones; each loads what it needs when it is first asked for, so that
``import abc_hw`` loads nothing::

    import abc_hw
    network = abc_hw.load("zoo:digits-lenet-m3n3")
    foldings = abc_hw.fold(network, cycles=2000)
    text = abc_hw.generate(network, foldings)

Everything else may change from one version to the next.
"""

from typing import Any

_HOMES = {
    "ABCConv2d": ("training.layers", "ABCConv2d"),
    "ABCLinear": ("training.layers", "ABCLinear"),
    "Accelerator": ("rtl_gen.engine.accelerator", "Accelerator"),
    "Graph": ("network", "Graph"),
    "Network": ("network", "Network"),
    "Normalise": ("training.normalise", "Normalise"),
    "StreamConv2d": ("training.stream", "StreamConv2d"),
    "StreamMean": ("training.stream", "StreamMean"),
    "config_for": ("training.recipes", "config_for"),
    "convert": ("conversion.floats", "convert"),
    "export": ("conversion.exporting", "export"),
    "fold": ("rtl_gen.cost.choice", "fold"),
    "generate": ("rtl_gen.emit.verilog", "generate"),
    "load": ("sources", "load"),
    "load_checkpoint": ("training.checkpoints", "load_checkpoint"),
    "save": ("network.files", "save"),
    "simulate": ("sim.runner", "simulate"),
    "train": ("training.loop", "train"),
}
"""Public name -> the module that has it, and its name there. ``__init__.pyi`` says the same to type checkers."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("abc-hw")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, there = _HOMES[name]
    return getattr(import_module(f"{__name__}.{module}"), there)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
