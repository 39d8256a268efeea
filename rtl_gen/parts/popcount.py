"""Counting ones: the adder tree behind every dot product, in a form for each technology."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .coding import CODES
from .popcount_forms import FORMS, Form, parity_count, parity_levels
from .popcount_rows import Mismatch, Stages

__all__ = ["TARGETS", "Popcount", "Technology", "XorPopcount"]


class Technology(NamedTuple):
    """What counts with the fewest resources in a technology: the form, and the code of an array's operands."""

    form: str
    code: str


TARGETS = {
    "generic": Technology("carry", "parity"),
    "ecp5": Technology("carry", "parity"),
    "ecp5-slices": Technology("ccu2c", "plain"),
    "ice40": Technology("carry", "parity"),
    "gowin": Technology("carry", "parity"),
    "lut6": Technology("carry", "parity"),
    "asic": Technology("full_adder", "parity"),
}
"""Technologies by name. All but ``ecp5-slices`` are described in plain operators."""


def _form(width: int, pipeline: int, target: str, form: str | None) -> Form:
    if width < 1:
        raise ValueError(f"Popcount width must be a positive integer, not {width}")
    if pipeline < 0:
        raise ValueError(f"Levels between registers must be 0 or more, not {pipeline}")
    if target not in TARGETS:
        raise ValueError(f"Popcount target must be one of {', '.join(TARGETS)}, not {target!r}")
    if form is not None and form not in FORMS:
        raise ValueError(f"Popcount form must be one of {', '.join(FORMS)}, not {form!r}")
    return FORMS[form or TARGETS[target].form]


class Popcount(wiring.Component):
    """Number of ones among ``width`` bits: ``o`` is the count of ``i``, ``latency`` cycles later.

    Parameters
    ----------
    width : bits to count
    pipeline : adder levels between two registers; 0 for none at all
    target : a key of ``TARGETS``: chooses the form
    form : a key of :data:`abc_hw.rtl_gen.parts.popcount_forms.FORMS`, instead of the target's

    Members
    -------
    i : In(width);  o : Out, wide enough for ``width``
    """

    def __init__(self, width: int, *, pipeline: int = 3, target: str = "generic", form: str | None = None) -> None:
        self._form = _form(width, pipeline, target, form)
        self._width = width
        self._pipeline = pipeline
        super().__init__({"i": In(width), "o": Out(width.bit_length())})

    @property
    def width(self) -> int:
        return self._width

    @property
    def pipeline(self) -> int:
        return self._pipeline

    @property
    def levels(self) -> int:
        """Depth of the tree in adders."""
        return self._form.levels(self._width)

    @property
    def latency(self) -> int:
        """Cycles from ``i`` to ``o``."""
        return Stages.latency(self.levels, self._pipeline)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stages = Stages(m, levels=self.levels, pipeline=self._pipeline)
        m.d.comb += self.o.eq(Cat(self._form.build(m, list(self.i), stages)))
        return m


class XorPopcount(wiring.Component):
    """Number of positions in which two words differ: ``o`` counts the ones of ``a ^ b``, ``latency`` cycles later.

    With the complement of one word it counts agreements, as :func:`abc_hw.sim.golden.xnor_popcount`: a word that
    many counters share is complemented once. With ``code="parity"`` both words come in the code of
    :func:`abc_hw.rtl_gen.parts.coding.parity_code`; counting then needs a fifth to a third less logic.

    Parameters
    ----------
    width, pipeline, target, form : as of :class:`Popcount`
    code : one of :data:`abc_hw.rtl_gen.parts.coding.CODES`

    Members
    -------
    a, b : In(width);  o : Out, wide enough for ``width``
    """

    def __init__(
        self, width: int, *, pipeline: int = 3, target: str = "generic", form: str | None = None,
        code: str = "plain",
    ) -> None:
        self._form = _form(width, pipeline, target, form)
        if code not in CODES:
            raise ValueError(f"Operand code must be one of {', '.join(CODES)}, not {code!r}")
        self._width = width
        self._pipeline = pipeline
        self._code = code
        super().__init__({"a": In(width), "b": In(width), "o": Out(width.bit_length())})

    @property
    def width(self) -> int:
        return self._width

    @property
    def pipeline(self) -> int:
        return self._pipeline

    @property
    def code(self) -> str:
        return self._code

    @property
    def levels(self) -> int:
        """Depth in adders."""
        return self._form.levels(self._width) if self._code == "plain" else parity_levels(self._width, self._form)

    @property
    def latency(self) -> int:
        """Cycles from ``a`` and ``b`` to ``o``."""
        return Stages.latency(self.levels, self._pipeline)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stages = Stages(m, levels=self.levels, pipeline=self._pipeline)
        differences = [Mismatch(*pair) for pair in zip(self.a, self.b, strict=True)]
        if self._code == "plain":
            count = self._form.build(m, differences, stages)
        else:
            count = parity_count(m, differences, stages, self._form)
        m.d.comb += self.o.eq(Cat(count))
        return m
