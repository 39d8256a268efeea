"""A netlist put into the form in which Verilator's ``-Wall`` has nothing to say.

Every operand as wide as its operator, no bit of a port or wire that nobody reads, names of letters and digits.
None of it changes what the netlist computes.
"""

import re
from collections.abc import Callable

from .libyosys import ys

__all__ = [
    "modules_of", "narrow_cells", "part_unused", "plain_names", "plain_operators", "prune_ports", "read_bits",
    "read_inputs", "settle_comparisons", "split_partly_read",
]

Bit = tuple[str, int]
"""A bit of a wire: the wire's name and the index."""

_ARITHMETIC = {"$add", "$sub", "$mul", "$and", "$or", "$xor", "$xnor", "$not", "$neg", "$pos"}
_BITWISE = {"$mux": ("\\A", "\\B", "\\Y"), "$dff": ("\\D", "\\Q"), "$adff": ("\\D", "\\Q")}
_TURNED = {"$lt": "$gt", "$le": "$ge", "$gt": "$lt", "$ge": "$le"}
"""Comparisons, and what they are with their operands exchanged."""
_ORDERED = set(_TURNED)
_COMPARISONS = {"$eq", "$ne", "$lt", "$le", "$gt", "$ge"}


def _id(text: str) -> "ys.IdString":
    return ys.IdString(text)


def modules_of(design: "ys.Design") -> dict[str, "ys.Module"]:
    return {str(module.name): module for module in design.modules_.values()}


def _bits(signal: "ys.SigSpec") -> list[Bit | None]:
    """(wire name, index) of every bit; None for constants. Most signals are a wire or a part of one, whose name is
    asked for once; in others neighbours mostly are bits of one wire."""
    if not signal.is_chunk():
        found: list[Bit | None] = []
        wire, name = None, ""
        for bit in signal.to_sigbit_vector():
            of = bit.wire
            if of is not None and of is not wire:
                wire, name = of, str(of.name)
            found.append(None if of is None else (name, bit.offset))
        return found
    part = signal.as_chunk()
    if not part.is_wire():
        return [None] * part.width
    name, first = str(part.wire.name), part.offset
    return [(name, first + index) for index in range(part.width)]


def read_bits(module: "ys.Module", modules: dict[str, "ys.Module"]) -> set[Bit]:
    """Every bit that something inside the module reads."""
    read: set[Bit | None] = set()
    for cell in module.cells_.values():
        if str(cell.type) == "$meminit_v2":
            continue  # memory contents: constants, and many
        child = modules.get(str(cell.type))
        for port, signal in cell.connections_.items():
            # Of a vendor's cell nobody here knows which ports are inputs.
            if child.wire(port).port_input if child else cell.input(port) or not cell.known():
                read.update(_bits(signal))
    for _, source in module.connections_:
        read.update(_bits(source))
    return {bit for bit in read if bit is not None}


def prune_ports(design: "ys.Design", kept_bits: dict[tuple[str, str], list[int]]) -> bool:
    """Take away from inner modules the bits of ports that nobody reads; was there any?"""
    modules = modules_of(design)
    read = {name: read_bits(module, modules) for name, module in modules.items()}
    instances: dict[str, list[tuple[str, ys.Cell]]] = {}
    for parent_name, parent in modules.items():
        for cell in parent.cells_.values():
            if str(cell.type) in modules:
                instances.setdefault(str(cell.type), []).append((parent_name, cell))
    seen = {name: read[name] | _outputs(module) for name, module in modules.items()}
    changed = False
    for child_name, places in instances.items():
        child = modules[child_name]
        for port in [wire for wire in child.wires_.values() if wire.port_id]:
            name = str(port.name)
            if port.port_input:
                used = [(name, bit) in read[child_name] for bit in range(port.width)]
            else:
                used = [False] * port.width
                for parent_name, cell in places:
                    if cell.hasPort(port.name):
                        bits = _bits(cell.getPort(port.name))
                        used = [one or bit in seen[parent_name] for one, bit in zip(used, bits, strict=True)]
            if not all(used):
                kept = [bit for bit, is_used in enumerate(used) if is_used]
                before = kept_bits.get((child_name, name), list(range(port.width)))
                kept_bits[child_name, name] = [before[bit] for bit in kept]
                _squeeze_port(child, [cell for _, cell in places], port, kept)
                changed = True
        child.fixup_ports()
    return changed


def _outputs(module: "ys.Module") -> set[Bit]:
    """Every bit that leaves it."""
    return {
        (str(wire.name), bit) for wire in module.wires_.values() if wire.port_output for bit in range(wire.width)
    }


def _squeeze_port(child: "ys.Module", cells: "list[ys.Cell]", port: "ys.Wire", kept: list[int]) -> None:
    """Keep only some bits of a port of an inner module with these instances, in their order; with none left, the
    port goes."""
    name, is_input = str(port.name), port.port_input
    outside = [cell.getPort(port.name) if cell.hasPort(port.name) else ys.SigSpec() for cell in cells]
    for cell in cells:
        cell.unsetPort(port.name)
    port.port_input = port.port_output = False
    if not kept:
        return
    child.rename(port, child.uniquify(_id(f"{name}$whole")))  # it may be squeezed once more
    narrow = child.addWire(_id(name), len(kept))
    narrow.port_input, narrow.port_output = is_input, not is_input
    inside = ys.SigSpec()
    for bit in kept:
        inside.append(ys.SigSpec(port, bit, 1))
    if is_input:
        child.connect(inside, ys.SigSpec(narrow))
    else:
        child.connect(ys.SigSpec(narrow), inside)
    for cell, signal in zip(cells, outside, strict=True):
        if signal.size():
            cell.setPort(_id(name), _some_bits(signal, kept))


def split_partly_read(design: "ys.Design", run: Callable[[str], None], *, bits: bool = False) -> bool:
    """Split wires of which some bits are read and others are not, so that the latter can go; were there any?

    They are split where their drivers end, or else (``bits``) into single bits.
    """
    modules = modules_of(design)
    found = False
    for module in modules.values():
        read = read_bits(module, modules)
        for wire in module.wires_.values():
            used = [(str(wire.name), bit) in read for bit in range(wire.width)]
            if any(used) and not all(used) and not wire.port_id:
                wire.set_bool_attribute(_id("\\partly_read"), True)
                found = True
    if found:
        run(f"splitnets {'' if bits else '-driver'} a:partly_read")
        run("setattr -unset partly_read w:*")
    return found


def narrow_cells(module: "ys.Module", read: set[Bit]) -> bool:
    """Take away bits of operators and registers that nobody reads; was there any?

    Bitwise ones lose any bit, arithmetic ones those above the last that is read.
    """
    seen = read | _outputs(module)
    changed = False
    for cell in module.cells_.values():
        kind = str(cell.type)
        if kind not in _ARITHMETIC and kind not in _BITWISE:
            continue
        if kind in _ARITHMETIC:
            changed |= _narrow_operands(cell)
        output = "\\Q" if kind in ("$dff", "$adff") else "\\Y"
        used = [bit is None or bit in seen for bit in _bits(cell.getPort(_id(output)))]
        if all(used) or not any(used):
            continue
        if kind in _BITWISE:
            kept = [index for index, is_used in enumerate(used) if is_used]
            for port in _BITWISE[kind]:
                cell.setPort(_id(port), _some_bits(cell.getPort(_id(port)), kept))
            if kind == "$adff":
                value = ys.SigSpec(cell.getParam(_id("\\ARST_VALUE")))
                cell.setParam(_id("\\ARST_VALUE"), _some_bits(value, kept).as_const())
            cell.setParam(_id("\\WIDTH"), ys.Const(len(kept), 32))
            changed = True
        elif not used[-1]:
            width = max(index for index, is_used in enumerate(used) if is_used) + 1
            cell.setPort(_id("\\Y"), cell.getPort(_id("\\Y")).extract(0, width))
            cell.setParam(_id("\\Y_WIDTH"), ys.Const(width, 32))
            changed = True
    return changed


def _narrow_operands(cell: "ys.Cell") -> bool:
    """Take away bits of operands above the result's, which they do not decide; were there any?"""
    width, changed = cell.getPort(_id("\\Y")).size(), False
    for port in ("\\A", "\\B"):
        if cell.hasPort(_id(port)) and cell.getPort(_id(port)).size() > width:
            cell.setPort(_id(port), cell.getPort(_id(port)).extract(0, width))
            cell.setParam(_id(f"{port}_WIDTH"), ys.Const(width, 32))
            changed = True
    return changed


def _some_bits(signal: "ys.SigSpec", kept: list[int]) -> "ys.SigSpec":
    """Some bits of a signal, in their order."""
    found = ys.SigSpec()
    for index in kept:
        found.append(signal.extract(index, 1))
    return found


def settle_comparisons(module: "ys.Module") -> bool:
    """Replace comparisons of unsigned numbers that have one outcome only, as "at least 0"; was there any?"""
    changed = False
    for cell in list(module.cells_.values()):
        if str(cell.type) not in _ORDERED or cell.getParam(_id("\\A_SIGNED")).as_bool():
            continue
        one, other = cell.getPort(_id("\\A")), cell.getPort(_id("\\B"))
        kind = str(cell.type)
        if one.is_fully_const():
            one, other, kind = other, one, _TURNED[kind]
        if not other.is_fully_def() or one.is_fully_const():
            continue
        value, greatest = int(other.as_const().as_string() or "0", 2), (1 << one.size()) - 1
        least_taken, most_taken = {  # outcomes for the least and the greatest number
            "$lt": (value > 0, greatest < value), "$le": (value >= 0, greatest <= value),
            "$gt": (value < 0, greatest > value), "$ge": (value <= 0, greatest >= value),
        }[kind]
        if least_taken == most_taken:
            result = cell.getPort(_id("\\Y"))
            module.remove(cell)
            constant = ys.SigSpec(int(least_taken), result.size())
            module.connect(result, constant)
            changed = True
    return changed


def plain_operators(module: "ys.Module") -> None:
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


# Verilator does not ask about names with "unused": they are for bits that must be there and that nobody reads.


def part_unused(design: "ys.Design") -> None:
    """Give the bits of sums and memories that nobody reads, beside some that are, a wire of their own."""
    modules = modules_of(design)
    for module in modules.values():
        seen = read_bits(module, modules) | _outputs(module)
        count = 0
        for cell in list(module.cells_.values()):
            port = "\\DATA" if str(cell.type) == "$memrd_v2" else "\\Y"
            if str(cell.type) not in {*_ARITHMETIC, "$memrd_v2"}:
                continue
            if all(bit is None or bit in seen for bit in _bits(cell.getPort(_id(port)))):
                continue
            told = ys.SigSpec()
            for bit in cell.getPort(_id(port)).to_sigbit_vector():
                if bit.is_wire() and (str(bit.wire.name), bit.offset) not in seen:
                    told.append(ys.SigSpec(module.addWire(_id(f"\\unused_{count}"), 1)))
                    count += 1
                else:
                    told.append(ys.SigSpec(bit, 1))
            cell.setPort(_id(port), told)


def read_inputs(design: "ys.Design", top: str) -> None:
    """A wire that reads all bits of the top's inputs that nothing else does."""
    modules = modules_of(design)
    module, unread = modules[f"\\{top}"], ys.SigSpec()
    read = read_bits(module, modules)
    for wire in module.wires_.values():
        for bit in range(wire.width if wire.port_input else 0):
            if (str(wire.name), bit) not in read:
                unread.append(ys.SigSpec(wire, bit, 1))
    if unread.size():
        told = module.addWire(_id("\\unused_inputs"), 1)
        module.addReduceAnd(_id("$unused_inputs"), unread, ys.SigSpec(told))


def plain_names(design: "ys.Design") -> None:
    """Names of letters, digits and underscores: a module inside another is called after both."""
    taken: set[str] = set()
    renamed = {name: _unique(name, taken) for name in modules_of(design)}
    for name, module in modules_of(design).items():
        design.rename(module, _id(renamed[name]))
    for module in modules_of(design).values():
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
