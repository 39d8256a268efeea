"""Counting ones: the adder tree behind every dot product, in a form for each technology."""

import dataclasses
from functools import lru_cache
from typing import NamedTuple

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.registry import Registry

from .coding import CODES
from .popcount_forms import CCU2C_SLOTS, FORMS, Form, parity_count, parity_levels
from .popcount_rows import Mismatch, Stages, count_plan

__all__ = ["TARGETS", "Popcount", "PopcountPlan", "Technology", "XorPopcount"]


class Technology(NamedTuple):
    """What counts with the fewest resources in a technology: the form, and the code of an array's operands."""

    form: str
    code: str


TARGETS: Registry[Technology] = Registry("target", "abc_hw.targets", {
    "generic": Technology("carry", "parity"),
    "ecp5": Technology("carry", "parity"),
    "ecp5-slices": Technology("ccu2c", "plain"),
    "ice40": Technology("carry", "parity"),
    "gowin": Technology("carry", "parity"),
    "lut6": Technology("carry", "parity"),
    "asic": Technology("full_adder", "parity"),
})
"""Technologies by name. All but ``ecp5-slices`` are described in plain operators."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PopcountPlan:
    """A counter of ones among ``width`` bits.

    Members
    -------
    width : bits to count
    pipeline : adder levels between two registers; 0 for none at all
    target : a key of ``TARGETS``: chooses the form
    form : a key of :data:`abc_hw.rtl_gen.parts.popcount_forms.FORMS`, instead of the target's
    code : of the two words that are compared, one of :data:`abc_hw.rtl_gen.parts.coding.CODES`
    """

    width: int
    pipeline: int = 3
    target: str = "generic"
    form: str | None = None
    code: str = "plain"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"Popcount width must be a positive integer, not {self.width}")
        if self.pipeline < 0:
            raise ValueError(f"Levels between registers must be 0 or more, not {self.pipeline}")
        if self.target not in TARGETS:
            raise ValueError(f"Popcount target must be one of {', '.join(TARGETS)}, not {self.target!r}")
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"Popcount form must be one of {', '.join(FORMS)}, not {self.form!r}")
        if self.code not in CODES:
            raise ValueError(f"Operand code must be one of {', '.join(CODES)}, not {self.code!r}")

    @property
    def built(self) -> Form:
        """The form that it is built in."""
        return FORMS[self.form or TARGETS[self.target].form]

    @property
    def levels(self) -> int:
        """Depth of the tree in adders."""
        return _levels(self.width, self.form or TARGETS[self.target].form, self.code)

    @property
    def latency(self) -> int:
        """Cycles from the bits to their count."""
        return Stages.latency(self.levels, self.pipeline)

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with, in the forms of adders with carry-in; registers behind every level, or plain
        operands."""
        return _quantities(self)


@lru_cache(maxsize=1 << 12)
def _quantities(plan: PopcountPlan) -> dict[str, float]:
    coded = plan.code == "parity" and plan.width > 1
    tree = count_plan(plan.width // 2 if coded else plan.width)
    input_bits = 2 if plan.built is FORMS["ccu2c"] and not coded else 1
    registers = 0
    if plan.pipeline:
        registers = tree.size.bit_length() + tree.registers(plan.pipeline, input_bits)
        if coded and plan.pipeline == 1:  # pairs, and the parity that goes beside their count
            registers += tree.size + plan.levels
    slices = plan.built is FORMS["ccu2c"]
    return {
        "slices": tree.slice_positions(CCU2C_SLOTS) if slices else 0, "positions": 0 if slices else tree.positions,
        "registers": registers, "coded pairs": plan.width // 2 if coded else 0,
    }


@lru_cache(maxsize=1 << 12)
def _levels(width: int, form: str, code: str) -> int:
    return FORMS[form].levels(width) if code == "plain" else parity_levels(width, FORMS[form])


class Popcount(wiring.Component):
    """Number of ones among ``width`` bits: ``o`` is the count of ``i``, ``latency`` cycles later.

    Parameters
    ----------
    plan : of plain words

    Members
    -------
    i : In(width);  o : Out, wide enough for ``width``
    """

    def __init__(self, plan: PopcountPlan) -> None:
        if plan.code != "plain":
            raise ValueError(f"Operand code of a single word must be plain, not {plan.code!r}")
        self._plan = plan
        super().__init__({"i": In(plan.width), "o": Out(plan.width.bit_length())})

    @property
    def plan(self) -> PopcountPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stages = Stages(m, levels=self._plan.levels, pipeline=self._plan.pipeline)
        m.d.comb += self.o.eq(Cat(self._plan.built.build(m, list(self.i), stages)))
        return m


class XorPopcount(wiring.Component):
    """Number of positions in which two words differ: ``o`` counts the ones of ``a ^ b``, ``latency`` cycles later.

    With the complement of one word it counts agreements, as :func:`abc_hw.sim.golden.xnor_popcount`: a word that
    many counters share is complemented once. With ``code="parity"`` both words come in the code of
    :func:`abc_hw.rtl_gen.parts.coding.parity_code`; counting then needs a fifth to a third less logic.

    Parameters
    ----------
    plan : of words in its code

    Members
    -------
    a, b : In(width);  o : Out, wide enough for ``width``
    """

    def __init__(self, plan: PopcountPlan) -> None:
        self._plan = plan
        super().__init__({"a": In(plan.width), "b": In(plan.width), "o": Out(plan.width.bit_length())})

    @property
    def plan(self) -> PopcountPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stages = Stages(m, levels=self._plan.levels, pipeline=self._plan.pipeline)
        differences = [Mismatch(*pair) for pair in zip(self.a, self.b, strict=True)]
        if self._plan.code == "plain":
            count = self._plan.built.build(m, differences, stages)
        else:
            count = parity_count(m, differences, stages, self._plan.built)
        m.d.comb += self.o.eq(Cat(count))
        return m
