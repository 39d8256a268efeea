"""Stored alphas: every allowed value, in every form, multiplies to the exact product."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from abc_hw.network import ScaleForm
from abc_hw.rtl_gen.blocks.alpha import AlphaCode
from abc_hw.rtl_gen.parts.arith import total

FORMS = [
    ScaleForm(kind="fixed", bits=6), ScaleForm(kind="fixed", bits=1), ScaleForm(kind="csd", bits=6, terms=2),
    ScaleForm(kind="csd", bits=4, terms=3), ScaleForm(kind="pow2", bits=5),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.kind}{form.bits}t{form.terms}")
@pytest.mark.parametrize("subset", ["all", "positive", "ones", "zero"])
def test_product(form: ScaleForm, subset: str) -> None:
    allowed = form.allowed
    alphas = {
        "all": allowed, "positive": allowed[allowed > 0], "ones": allowed[np.abs(allowed) == 1],
        "zero": allowed[allowed == 0],
    }[subset]
    code = AlphaCode(form, alphas)
    factor, stored, product = Signal(signed(7)), Signal(max(code.width, 1)), Signal(signed(16))
    m = Module()
    terms, bits = code.addends(stored, factor, signed(16))
    m.d.comb += product.eq(total([*terms, *bits], signed(16)))

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for alpha in alphas:
            ctx.set(stored, code.encode(int(alpha)))
            for value in (-64, -3, 0, 1, 63):
                ctx.set(factor, value)
                assert ctx.get(product) == int(alpha) * value

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_only_what_is_needed_is_stored() -> None:
    csd = ScaleForm(kind="csd", bits=6, terms=2)
    assert AlphaCode(csd, [1]).width == 0, "one alpha of 1 needs no memory"
    assert AlphaCode(csd, [1, -1]).width == 1, "a sign"
    assert AlphaCode(csd, [4, 8]).width == 1, "one of two shifts"
    assert AlphaCode(ScaleForm(kind="fixed", bits=6), [3, -20]).width == 6
    assert not AlphaCode(csd, [3, 5]).multiplies
    assert AlphaCode(ScaleForm(kind="fixed", bits=6), [3, 5]).multiplies
    assert not AlphaCode(ScaleForm(kind="fixed", bits=6), [1, -1, 0]).multiplies
