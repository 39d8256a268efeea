"""Steps from a netlist to plain Verilog, on netlists of a few lines."""

from __future__ import annotations

from pathlib import Path

from abc_hw.rtl_gen.emit import tidy
from abc_hw.rtl_gen.emit.libyosys import ys

TWO_MODULES = r"""
module \top
  wire width 3 input 1 \a
  wire width 2 output 2 \y
  wire output 3 \z
  wire width 3 \out
  cell \inner \one
    connect \i \a
    connect \o \out
  end
  connect \y \out [1:0]
  connect \z \out [0]
end
module \inner
  wire width 3 input 1 \i
  wire width 3 output 2 \o
  connect \o \i
end
"""


def test_a_port_loses_bits_again_while_what_it_was_before_is_still_there(tmp_path: Path) -> None:
    source = tmp_path / "design.il"
    source.write_text(TWO_MODULES)
    design = ys.Design()
    ys.Pass.call(design, f"tee -q read_rtlil {source}")
    kept: dict[tuple[str, str], list[int]] = {}
    modules = tidy.modules_of(design)
    assert tidy.prune_ports(design, kept)
    assert kept["\\inner", "\\o"] == [0, 1]
    top, inner = modules["\\top"], modules["\\inner"]
    top.wire(ys.IdString("\\y")).port_output = False
    top.new_connections([one for one in top.connections_ if one[0].size() == 1])
    assert tidy.prune_ports(design, kept)
    assert kept["\\inner", "\\o"] == [0]
    assert inner.wire(ys.IdString("\\o")).width == 1
    wholes = [str(wire.name) for wire in inner.wires_.values() if str(wire.name).startswith("\\o$whole")]
    assert len(wholes) == len(set(wholes)) == 2
