"""Synthesised netlists of an accelerator, for simulation in place of its Verilog."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from amaranth.back import rtlil

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.emit import carries, synthesis
from abc_hw.rtl_gen.emit.ease import ease
from abc_hw.rtl_gen.emit.members import prepared
from abc_hw.rtl_gen.emit.verilog import Verilog, emit_accelerator
from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.engine.design import AnyAccelerator, accelerator_of, plan_of
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.writing import temporary_folder

__all__ = ["FLOWS", "Flow", "Netlist", "accelerator_text", "find_flow", "simulated", "synthesised", "with_cells"]

_HERE = Path(__file__).parent
DP16KD, GOWIN_MEMORIES = _HERE / "dp16kd.v", _HERE / "gowin_memories.v"
"""Models of block memories that Yosys has none of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flow:
    """How a technology's netlist is made, and of what cells.

    Members
    -------
    target : technology that the accelerator is made for, a key of
        :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    synthesis : Yosys' commands, with the options of the boards; ``{top}`` is the module
    models : Yosys' own of cells
    kept : cells that stay modules, with Yosys' own models: those that Yosys takes long to read
    memories : models of ours, which stay modules, too
    large : large memories of the part for weights that are loaded
    eased : whether it is eased before it is placed (:mod:`abc_hw.rtl_gen.emit.ease`)
    """

    target: str
    synthesis: tuple[str, ...]
    models: str = ""
    kept: tuple[str, ...] = ()
    memories: Path | None = None
    large: int = 0
    eased: bool = False


_ICE40 = Flow(
    target="ice40", synthesis=(f"synth_ice40 {synthesis.ICE40_HX} -top {{top}}",), models="+/ice40/cells_sim.v",
    kept=("SB_RAM40_4K", "SB_SPRAM256KA", "SB_MAC16"),
)

FLOWS: dict[str, Flow] = {
    "ecp5": Flow(
        target="ecp5-slices", synthesis=(f"synth_ecp5 {synthesis.ECP5} -top {{top}}",),
        models="+/ecp5/cells_sim.v", memories=DP16KD, eased=True,
    ),
    "ice40": _ICE40,
    "ice40-up5k": dataclasses.replace(
        _ICE40, synthesis=(f"synth_ice40 {synthesis.ICE40_UP} -top {{top}}",), large=4
    ),
    "gowin": Flow(
        target="gowin", synthesis=(f"synth_gowin {synthesis.GOWIN} -top {{top}}",),
        models="+/gowin/cells_sim.v", memories=GOWIN_MEMORIES,
    ),
    # Memories stay words of the language, where an ASIC has macros; all else becomes gates.
    "asic": Flow(target="asic", synthesis=synthesis.ASIC),
}
"""By name on the command line."""

TRANSLATED = {"ecp5-slices": FLOWS["ecp5"]}
"""Targets whose Verilog has cells of a vendor, and where their models are."""


def find_flow(name: str) -> Flow:
    """The flow of that name; InputError if there is none."""
    if name not in FLOWS:
        raise InputError(f"netlist: expected {', '.join(FLOWS)}, found {name}")
    return FLOWS[name]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Netlist:
    """What synthesis makes of an accelerator.

    Members
    -------
    netlist : Verilog in the technology's cells, as they are placed
    text : the same with every cell replaced by its model, one flat module and models of memories; any simulator
        reads it
    cells : how many of each kind
    """

    netlist: str
    text: str
    cells: Mapping[str, int]


def simulated(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], *, weights: WeightSource, target: str | None,
    flow: Flow | None,
) -> AnyAccelerator:
    """The accelerator that is simulated: for ``target``, or else what the flow's boards have, or else generic.

    Raises
    ------
    InputError
        as of :func:`abc_hw.rtl_gen.engine.design.plan_of`.
    """
    return accelerator_of(plan_of(
        network, foldings, weights=weights, target=target or (flow.target if flow else "generic"),
        large=flow.large if flow else 0,
    ))


def accelerator_text(
    accelerator: AnyAccelerator, *, top: str, flow: Flow | None, folder: Path
) -> tuple[Verilog, Mapping[str, int]]:
    """What a simulator reads of an accelerator, its Verilog or what the flow makes of it, and the netlist's cells.

    The netlist, as Yosys writes it, is left in ``folder``.
    """
    if flow is None:
        verilog = emit_accelerator(accelerator, name=top)
        text = with_cells(verilog.text, top=top, target=accelerator.plan.target)
        return dataclasses.replace(verilog, text=text), {}
    made = synthesised(accelerator, top=top, flow=flow)
    (folder / "netlist.v").write_text(made.netlist)
    return Verilog(made.text, {}, inner_streams=False), made.cells


def synthesised(accelerator: AnyAccelerator, *, top: str, flow: Flow) -> Netlist:
    """What synthesis makes of an accelerator, by the commands and from the form that boards are built with."""
    made, _ = rtlil.convert_fragment(prepared(accelerator, top), name=top, emit_src=False)
    with temporary_folder() as folder:
        source, netlist, cells, result = (
            folder / name for name in ("design.il", "netlist.v", "cells", "result.v")
        )
        source.write_text(for_synthesis(made))
        placed = folder / "placed.json"
        run_yosys(
            f"read_rtlil {source}", *(command.format(top=top) for command in flow.synthesis),
            f"tee -q -o {cells} stat",
            f"write_json {placed}" if flow.eased else f"write_verilog -noattr {netlist}",
        )
        if flow.eased:
            _ease(placed, top)
            run_yosys(f"read_json {placed}", f"write_verilog -noattr {netlist}")
        models, kept = _models(flow, folder)
        run_yosys(
            *models, f"read_verilog {netlist}", f"hierarchy -top {top}", "proc", "flatten", "opt_expr",
            "opt_clean -purge", f"write_verilog -noattr {result}",
        )
        return Netlist(
            netlist=netlist.read_text(), text=result.read_text() + kept,
            cells=_count(cells.read_text()),
        )


def _ease(path: Path, top: str) -> None:
    """Ease a netlist; what is left is the top module, and no pin without a net but inputs."""
    design = json.loads(path.read_text())
    ease(design)
    module = design["modules"][top]
    for cell in module["cells"].values():
        pins = cell["connections"]
        for pin in [pin for pin, bits in pins.items() if bits == carries.OPEN]:
            if cell["port_directions"][pin] == "output":
                del pins[pin]
    path.write_text(json.dumps({"modules": {top: module}}))


def with_cells(text: str, *, top: str, target: str) -> str:
    """Verilog whose vendor cells, if ``target`` has any, are replaced by models; its modules stay as they are."""
    if target not in TRANSLATED:
        return text
    flow = TRANSLATED[target]
    with temporary_folder() as folder:
        source, result = folder / "design.v", folder / "result.v"
        source.write_text(text)
        models, kept = _models(flow, folder)
        run_yosys(
            *models, f"read_verilog {source}", f"hierarchy -top {top}", "proc", "opt_clean",
            f"write_verilog -noattr {result}",
        )
        return result.read_text() + kept


def _models(flow: Flow, folder: Path) -> tuple[list[str], str]:
    """Yosys' commands that read models, and the text of those that stay modules, of which it reads the ports."""
    commands, kept = [], flow.memories.read_text() if flow.memories else ""
    if flow.kept:
        said = run_yosys(f"read_verilog -lib {flow.models}")
        place = re.search(rf"frontend: (.*/{re.escape(flow.models.removeprefix('+/'))})\n", said)
        assert place is not None  # Yosys tells what it reads
        others, theirs = _split(Path(place[1]).read_text(), flow.kept)
        kept += theirs
        (folder / "cells.v").write_text(others)
        commands.append(f"read_verilog {folder / 'cells.v'}")
    elif flow.models:
        commands.append(f"read_verilog -overwrite {flow.models}")  # some of them stand there twice
    (folder / "kept.v").write_text(kept)
    return [*commands, f"read_verilog -overwrite -lib {folder / 'kept.v'}"], kept


def _split(models: str, names: Collection[str]) -> tuple[str, str]:
    """A file of models without these, and with these only."""
    parts = re.split(r"^(?=module )", models, flags=re.MULTILINE)
    named = [re.match(r"module (\w+)", part) for part in parts]
    theirs = [part for part, name in zip(parts, named, strict=True) if name and name[1] in names]
    others = [part for part, name in zip(parts, named, strict=True) if not name or name[1] not in names]
    # Icarus knows no ports that are connected by themselves; synthesis connects all.
    return "".join(others), "".join(["`define NO_ICE40_DEFAULT_ASSIGNMENTS\n", parts[0], *theirs])


def _count(stat: str) -> dict[str, int]:
    """Cells by kind, from what Yosys tells of a flat design."""
    lines = re.findall(r"^\s+(\d+)(?:\s+\S+)?\s+(\$?\w+_?)$", stat, re.MULTILINE)
    no_cells = ("wires", "bits", "cells", "ports", "$scopeinfo")
    return {kind: int(count) for count, kind in lines if kind not in no_cells}
