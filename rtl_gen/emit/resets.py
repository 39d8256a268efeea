"""How a generated module is reset."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

from amaranth.hdl import ClockDomain, Fragment, Signal, Value
from amaranth.hdl._ir import Design, PortDirection

from abc_hw.errors import InputError

__all__ = ["RESETS", "Reset", "ResetKind", "prepared_with", "reset_kind"]

ResetKind = Literal["sync", "async", "async-low"]
"""At a rising edge of the clock; at once; at once, and active low."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reset:
    """What is to be known of one.

    Members
    -------
    port : its name
    active : its value while it resets
    asynchronous : does it act without a clock edge?
    words : what a header says
    """

    port: str
    active: int
    asynchronous: bool
    words: str


RESETS: Mapping[ResetKind, Reset] = {
    "sync": Reset(
        port="rst", active=1, asynchronous=False,
        words="clk, rst   rising edge; synchronous reset, high for at least one edge before use",
    ),
    "async": Reset(
        port="rst", active=1, asynchronous=True,
        words="clk, rst   rising edge; asynchronous reset, high before use; its end keeps clear of edges of clk",
    ),
    "async-low": Reset(
        port="rst_n", active=0, asynchronous=True,
        words="clk, rst_n rising edge; asynchronous reset, low before use; its end keeps clear of edges of clk",
    ),
}


def reset_kind(text: str) -> ResetKind:
    """``text``, if it is a kind; InputError otherwise."""
    for kind in get_args(ResetKind):
        if kind == text:
            return kind
    raise InputError(f"reset: expected {', '.join(get_args(ResetKind))}, found {text}")


def prepared_with(
    fragment: Fragment, ports: Mapping[str, tuple[Value, PortDirection]], name: str, kind: ResetKind
) -> Design:
    """The design of a fragment as top module ``name``, with ports for its clock and its reset."""
    reset = RESETS[kind]
    domain = ClockDomain("sync", async_reset=reset.asynchronous)
    assert domain.rst is not None  # it has one unless told otherwise
    port = domain.rst
    if not reset.active:
        port = Signal(name=reset.port)
        fragment.add_statements("comb", domain.rst.eq(~port))
    fragment.add_domains(domain)
    own = {"clk": (domain.clk, PortDirection.Input), reset.port: (port, PortDirection.Input)}
    return fragment.prepare(ports={**ports, **own}, hierarchy=(name,))
