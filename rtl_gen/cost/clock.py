"""How fast a clock may be, before place and route.

Longest paths of these accelerators are a few look-up tables and long wires, and wires are as long as the area is
wide: the period is a sum of a part for the logic and one that grows with the root of the look-up tables.
``benchmarks/clock.py`` fits both to placements and keeps them in ``clock.json``.
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["COEFFICIENTS", "expected_clock", "period"]

COEFFICIENTS = Path(__file__).parent / "clock.json"


@cache
def _known() -> dict[str, Any]:
    return json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}


def period(luts: float, logic: float, wires: float) -> float:
    """Nanoseconds of a cycle, from the part of the logic and that of wires for one look-up table."""
    return logic + wires * math.sqrt(luts)


def expected_clock(family: str, luts: float) -> float | None:
    """MHz that an accelerator of so many look-up tables may reach, the median of placements; None in a family of
    which none were measured."""
    found = _known().get(family)
    return None if found is None else 1e3 / period(luts, found["logic"], found["wires"])
