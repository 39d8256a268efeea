"""Verilog that people and tools accept: emission, through Yosys.

Amaranth gives RTLIL; Yosys writes it as Verilog-2001. Between them the netlist is put into the form in which
Verilator's ``-Wall`` has nothing to say: every operand as wide as its operator, no bit of a port or wire that
nobody reads, plain names. Registers start by reset, not by initial value: hold ``rst`` for one clock edge.
"""

import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring
from pyosys import libyosys as ys

from abc_hw.errors import InputError
from abc_hw.network import Network

from .accelerator import Accelerator
from .folding import LayerFolding, schedules
from .ports import member_wires, prepared, restore_ports

__all__ = ["Verilog", "emit", "emit_accelerator", "generate"]

Bit = tuple[str, int]
"""A bit of a wire: the wire's name and the index."""

_ARITHMETIC = {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$xnor", "$not", "$neg", "$pos"}
_BITWISE = {"$mux": ("\\A", "\\B", "\\Y"), "$dff": ("\\D", "\\Q")}
_COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}


@dataclasses.dataclass(frozen=True)
class Verilog:
    """Emitted text; for each port of an inner module that lost bits, which of them are left; and whether the
    layers are modules of their own (in a flat netlist they are not)."""

    text: str
    kept_bits: dict[tuple[str, str], list[int]]
    inner_streams: bool = True


def generate(network: Network, foldings: Mapping[str, LayerFolding], *, name: str = "accelerator") -> str:
    """Verilog text of the accelerator for ``network`` with these foldings (of each layer, by name).

    Raises
    ------
    InputError
        if a folding does not fit, or ``name`` is no Verilog identifier.
    """
    schedules(network, foldings)  # refuses before anything is made
    return emit_accelerator(Accelerator(network, foldings), name=name).text


def emit_accelerator(accelerator: Accelerator, *, name: str = "accelerator") -> Verilog:
    """As :func:`generate`, for an accelerator that is already made."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(f"name: expected letters, digits and _, a letter first, found {name!r}")
    return emit(accelerator, name=name, header=_header(accelerator, name))


def emit(component: wiring.Component, *, name: str, header: Iterable[str] = ()) -> Verilog:
    """``component`` as module ``name``, with comment lines on top.

    One file holds all modules, the top first; inner modules are named after their place.
    """
    kept_bits: dict[tuple[str, str], list[int]] = {}
    design = ys.Design()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "design.il"), Path(folder, "design.v")
        elaborated = prepared(component, name)
        source.write_text(rtlil.convert_fragment(elaborated, name=name, emit_src=False)[0])
        run = _runner(design)
        run(f"read_rtlil {source}")
        restore_ports(design, member_wires(elaborated))
        run("proc -noopt")
        run("opt_expr")
        run("pmuxtree")
        run("opt_clean -purge")
        changed = True
        while changed:
            for command in ("wreduce", "opt_expr", "opt_merge", "opt_clean -purge", f"hierarchy -top {name}"):
                run(command)
            changed = _prune_ports(design, kept_bits)
            modules = _modules(design)
            for module in modules.values():
                changed |= _narrow_cells(module, _read_bits(module, modules))
        _split_partly_read(design, run)
        run("opt_clean -purge")
        run("setattr -unset init w:*")
        for module in _modules(design).values():
            _plain_operators(module)
        run("opt_clean -purge")
        _plain_names(design)
        run(f"write_verilog -noattr -noparallelcase {target}")
        text = target.read_text()
    body = text[text.index("module ") :]
    comment = "".join(f"// {line}".rstrip() + "\n" for line in header)
    plain = {(module[1:], port[1:]): bits for (module, port), bits in kept_bits.items()}
    return Verilog(f"{comment}\n{body}", plain)


def _runner(design: "ys.Design") -> Callable[[str], None]:
    """Runs one Yosys pass without its chatter."""

    def run(command: str) -> None:
        ys.Pass.call(design, f"tee -q {command}")

    return run


def _header(accelerator: Accelerator, name: str) -> list[str]:
    """What the top of the file tells: network, bases, folding, cycles, interface, versions."""
    network = accelerator.network
    last = network.layers[-1]
    lines = [
        f"{name}: {network.name}, {len(network.layers)} layers, {' x '.join(map(str, network.input_shape))} in, "
        f"{last.out_channels} classes",
        f"network digest {network.digest}",
        "",
        "layer            input     kernel  out   M  N   simd  pe mp np    cycles",
    ]
    for schedule in accelerator.schedules:
        layer, folding = schedule.layer, schedule.folding
        shape, kernel = "x".join(map(str, layer.in_shape)), "x".join(map(str, layer.kernel))
        lines.append(
            f"{layer.name:<14} {shape:>9} {kernel:>9} {layer.out_channels:5} {layer.weight_bases.count:3}"
            f"{layer.input_bases.count:3} {folding.simd:6} {folding.pe:3} {folding.mp:2} {folding.np:2} "
            f"{schedule.cycles:9}"
        )
    bits = network.layers[0].input_bases.bits
    score = len(accelerator.o.payload.score)
    label = len(accelerator.o.payload.label)
    return [
        *lines,
        "",
        f"at best one image every {accelerator.bound} cycles",
        "clk, rst   rising edge; synchronous reset, high for at least one edge before use",
        f"i          ready/valid, {accelerator.i_lanes} channels x {bits} bits, row by row, channels innermost",
        f"o          ready/valid, {{last, label[{label - 1}:0], score[{score - 1}:0]}}: one signed score per"
        " class, class 0",
        "           first; with last, label is the class with the greatest score",
        "",
        f"generated by abc-hw {version('abc-hw')}, Amaranth {version('amaranth')}, Yosys {version('pyosys')}",
    ]


# -- the netlist, put in order --------------------------------------------------------------------------------


def _id(text: str) -> "ys.IdString":
    return ys.IdString(text)


def _modules(design: "ys.Design") -> dict[str, "ys.Module"]:
    return {str(module.name): module for module in design.modules_.values()}


def _wire_bits(signal: "ys.SigSpec") -> list[Bit]:
    """(wire name, index) of every bit of a wire; constants are passed over."""
    return [(str(bit.wire.name), bit.offset) for bit in signal.to_sigbit_vector() if bit.is_wire()]


def _read_bits(module: "ys.Module", modules: dict[str, "ys.Module"]) -> set[Bit]:
    """Every bit that something inside the module reads."""
    read: set[Bit] = set()
    for cell in module.cells_.values():
        if str(cell.type) == "$meminit_v2":
            continue  # memory contents: constants, and many
        child = modules.get(str(cell.type))
        for port, signal in cell.connections_.items():
            if child.wire(port).port_input if child else cell.input(port):
                read.update(_wire_bits(signal))
    for _, source in module.connections_:
        read.update(_wire_bits(source))
    return read


def _prune_ports(design: "ys.Design", kept_bits: dict[tuple[str, str], list[int]]) -> bool:
    """Take away from inner modules the bits of ports that nobody reads; was there any?"""
    modules = _modules(design)
    read = {name: _read_bits(module, modules) for name, module in modules.items()}
    changed = False
    for parent_name, parent in modules.items():
        outputs = {(str(wire.name), bit) for wire in parent.wires_.values() if wire.port_output
                   for bit in range(wire.width)}
        for cell in parent.cells_.values():
            child = modules.get(str(cell.type))
            if child is None:
                continue
            for port in [wire for wire in child.wires_.values() if wire.port_id]:
                name = str(port.name)
                if port.port_input:
                    used = [(name, bit) in read[str(cell.type)] for bit in range(port.width)]
                elif cell.hasPort(port.name):
                    seen = read[parent_name] | outputs
                    bits = cell.getPort(port.name).to_sigbit_vector()
                    used = [bit.is_wire() and (str(bit.wire.name), bit.offset) in seen for bit in bits]
                else:
                    used = [False] * port.width
                if not all(used):
                    kept = [bit for bit, is_used in enumerate(used) if is_used]
                    before = kept_bits.get((str(child.name), name), list(range(port.width)))
                    kept_bits[str(child.name), name] = [before[bit] for bit in kept]
                    _squeeze_port(child, cell, port, kept)
                    changed = True
            child.fixup_ports()
    return changed


def _squeeze_port(child: "ys.Module", cell: "ys.Cell", port: "ys.Wire", kept: list[int]) -> None:
    """Keep only some bits of a port of an inner module, in their order; with none left, the port goes."""
    name, is_input = str(port.name), port.port_input
    outside = cell.getPort(port.name) if cell.hasPort(port.name) else ys.SigSpec()
    cell.unsetPort(port.name)
    port.port_input = port.port_output = False
    if not kept:
        return
    child.rename(port, _id(f"{name}$whole"))
    narrow = child.addWire(_id(name), len(kept))
    narrow.port_input, narrow.port_output = is_input, not is_input
    inside = ys.SigSpec()
    joined = ys.SigSpec()
    for bit in kept:
        inside.append(ys.SigSpec(port, bit, 1))
        joined.append(outside.extract(bit, 1))
    if is_input:
        child.connect(inside, ys.SigSpec(narrow))
    else:
        child.connect(ys.SigSpec(narrow), inside)
    cell.setPort(_id(name), joined)


def _split_partly_read(design: "ys.Design", run: Callable[[str], None]) -> None:
    """Split wires of which some bits are read and others are not, so that the latter can go."""
    modules = _modules(design)
    for module in modules.values():
        read = _read_bits(module, modules)
        for wire in module.wires_.values():
            used = [(str(wire.name), bit) in read for bit in range(wire.width)]
            if any(used) and not all(used) and not wire.port_id:
                wire.set_bool_attribute(_id("\\partly_read"), True)
    run("splitnets -driver a:partly_read")


def _narrow_cells(module: "ys.Module", read: set[Bit]) -> bool:
    """Take away bits of operators and registers that nobody reads; was there any?

    Bitwise ones lose any bit, arithmetic ones those above the last that is read.
    """
    outputs = {(str(wire.name), bit) for wire in module.wires_.values() if wire.port_output
               for bit in range(wire.width)}
    seen = read | outputs
    changed = False
    for cell in module.cells_.values():
        kind = str(cell.type)
        if kind not in _ARITHMETIC and kind not in _BITWISE:
            continue
        output = "\\Q" if kind == "$dff" else "\\Y"
        bits = cell.getPort(_id(output)).to_sigbit_vector()
        used = [not bit.is_wire() or (str(bit.wire.name), bit.offset) in seen for bit in bits]
        if all(used) or not any(used):
            continue
        if kind in _BITWISE:
            kept = [index for index, is_used in enumerate(used) if is_used]
            for port in _BITWISE[kind]:
                old, new = cell.getPort(_id(port)), ys.SigSpec()
                for index in kept:
                    new.append(old.extract(index, 1))
                cell.setPort(_id(port), new)
            cell.setParam(_id("\\WIDTH"), ys.Const(len(kept), 32))
            changed = True
        elif not used[-1]:
            width = max(index for index, is_used in enumerate(used) if is_used) + 1
            cell.setPort(_id("\\Y"), cell.getPort(_id("\\Y")).extract(0, width))
            cell.setParam(_id("\\Y_WIDTH"), ys.Const(width, 32))
            changed = True
    return changed


def _plain_operators(module: "ys.Module") -> None:
    """Make every operand as wide as its operator."""
    for cell in list(module.cells_.values()):
        kind = str(cell.type)
        if kind == "$logic_not" and cell.getPort(_id("\\A")).size() > 1:
            operand, result = cell.getPort(_id("\\A")), cell.getPort(_id("\\Y"))
            name = str(cell.name)
            module.remove(cell)
            module.addEq(_id(name), operand, ys.SigSpec(0, operand.size()), result)
        elif kind in _ARITHMETIC or kind in _COMPARISONS:
            ports = [port for port in ("\\A", "\\B") if cell.hasPort(_id(port))]
            signed = cell.getParam(_id("\\A_SIGNED")).as_bool()
            width = cell.getPort(_id("\\Y")).size()
            if kind in _COMPARISONS:
                width = max(cell.getPort(_id(port)).size() for port in ports)
            for port in ports:
                operand = cell.getPort(_id(port))
                operand.extend_u0(width, signed)
                cell.setPort(_id(port), operand)
                cell.setParam(_id(f"{port}_WIDTH"), ys.Const(width, 32))


def _plain_names(design: "ys.Design") -> None:
    """Names of letters, digits and underscores: a module inside another is called after both."""
    taken: set[str] = set()
    renamed = {name: _unique(name, taken) for name in _modules(design)}
    for name, module in _modules(design).items():
        design.rename(module, _id(renamed[name]))
    for module in _modules(design).values():
        ports = {str(wire.name) for wire in module.wires_.values() if wire.port_id}
        taken = set(ports)
        for wire in [wire for wire in module.wires_.values() if not wire.port_id]:
            if str(wire.name).startswith("\\"):
                module.rename(wire, _id(_unique(str(wire.name), taken)))
        for cell in list(module.cells_.values()):
            cell.type = _id(renamed.get(str(cell.type), str(cell.type)))
            if str(cell.name).startswith("\\"):
                module.rename(cell, _id(_unique(str(cell.name), taken)))


def _unique(name: str, taken: set[str]) -> str:
    plain = base = "\\" + re.sub(r"\W+", "_", name[1:]).rstrip("_")
    number = 1
    while plain in taken:
        number += 1
        plain = f"{base}_{number}"
    taken.add(plain)
    return plain
