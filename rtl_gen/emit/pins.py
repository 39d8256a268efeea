"""Flat modules of Yosys' netlists (``write_json``): their cells, and who reads what."""

from __future__ import annotations

from collections import Counter
from typing import Any

__all__ = ["Cell", "readers"]

Cell = dict[str, Any]
"""Of each pin ``connections`` has the bits: numbers, or constants as text."""


def readers(module: dict[str, Any]) -> Counter[Any]:
    """How many pins and ports read each bit."""
    found: Counter[Any] = Counter()
    for cell in module["cells"].values():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                found.update(bits)
    for port in module["ports"].values():
        found.update(port["bits"])
    return found
