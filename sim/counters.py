"""Popcounts by the simulator's own operator, in place of the adders that an accelerator has for them.

They are most of what a simulator has to do. Each equals a count of ones, proven for every operand in
``tests/rtl_gen/parts/test_popcount.py``, so a model that is to run long may count as the simulator does.
"""

from __future__ import annotations

import re

from abc_hw.rtl_gen.parts.popcount import TARGETS, PopcountPlan

__all__ = ["with_operators"]

_MODULE = re.compile(r"^module (\S+_pe\d+_count_\d+_\d+)\((?:clk, )?a, b, o\);\n.*?^endmodule\n", re.M | re.DOTALL)


def with_operators(text: str, *, target: str) -> tuple[str, int]:
    """The Verilog of an accelerator whose counters are ``$countones``, of the same ports and latency; how many.

    Parameters
    ----------
    text : as :func:`abc_hw.rtl_gen.emit.verilog.emit_accelerator` makes it
    target : the technology that it is made for
    """
    return _MODULE.subn(lambda module: _counter(module[1], module[0], target), text)


def _counter(name: str, text: str, target: str) -> str:
    """The counter that stands for a module of XorPopcount."""
    width, bits = _width(text, "a"), _width(text, "o")
    code = TARGETS[target].code
    plan = PopcountPlan(width=width, pipeline=1, target=target, code=code)
    stages = plan.latency
    parities = sum(1 << place for place in range(width) if (width - place) % 2) if code == "parity" else 0
    word = f"[{width - 1}:0]"
    lines = [
        f"module {name}({'clk, ' if stages else ''}a, b, o);", *["  input clk;"] * bool(stages),
        f"  input {word} a, b;", f"  output [{bits - 1}:0] o;",
        f"  localparam {word} parities = {width}'h{parities:x};",
        f"  wire {word} coded = a ^ b;",
        f"  wire {word} sums = coded & parities;",  # in the parity code of rtl_gen.parts.coding
        f"  wire {word} plain = coded & ~parities;",
        f"  wire {word} bits = ((sums ^ (sums << 2) ^ (plain << 1)) & parities) | plain;",
        f"  wire [{bits - 1}:0] count0 = $countones(bits);",
    ]
    for stage in range(stages):
        after = f"count{stage + 1}"
        lines += [f"  reg [{bits - 1}:0] {after};", f"  always @(posedge clk) {after} <= count{stage};"]
    return "\n".join([*lines, f"  assign o = count{stages};", "endmodule", ""])


def _width(text: str, port: str) -> int:
    found = re.search(rf"^  (?:input|output) (?:\[(\d+):0\] )?{port};$", text, re.MULTILINE)
    assert found is not None  # the module has ports of these names
    return int(found[1] or 0) + 1
