"""What importing a module loads: the hardware half of the project stays free of the training half's packages."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

TRAINING = [
    "activation_bases", "binarize", "checkpoints", "fold", "layers", "models", "quantised", "recipes", "training",
]
"""Modules of abc_hw that may load torch."""

HEAVY = ["torch", "lightning", "sklearn"]


def modules(*packages: str) -> Iterator[str]:
    for name in packages:
        yield name
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            yield found.name


def loaded_by(*names: str) -> set[str]:
    """All modules that a fresh interpreter has loaded after importing those."""
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def hardware_half() -> list[str]:
    named = modules("abc_hw", "rtl_gen", "sim", "boards")
    return [name for name in named if name not in {f"abc_hw.{training}" for training in TRAINING}]


def test_the_hardware_half_loads_nothing_that_trains() -> None:
    names = hardware_half()
    assert {"abc_hw.network", "abc_hw.cli", "rtl_gen.verilog", "sim.golden", "sim.runner", "boards"} <= set(names)
    loaded = loaded_by(*names)
    assert set(names) <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_training_half_is_told_apart_rightly() -> None:
    """Guards the list above: modules that load no torch do not belong in it."""
    assert "torch" in loaded_by("abc_hw.binarize")
    assert {f"abc_hw.{name}" for name in TRAINING} <= set(modules("abc_hw"))


def test_the_command_line_starts_without_heavy_packages() -> None:
    heavy = {"amaranth", "pyosys", "cocotb", "onnx", "onnxruntime", *HEAVY}
    assert not heavy & loaded_by("abc_hw.cli")


def test_abc_hw_itself_imports_nothing() -> None:
    loaded = loaded_by("abc_hw")
    assert {name for name in loaded if name.startswith("abc_hw")} == {"abc_hw"}
    assert "numpy" not in loaded
