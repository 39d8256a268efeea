"""Ports of inner modules as their components declare them (:func:`abc_hw.rtl_gen.emit.members.member_wires`).

Amaranth gives a module one port per run of neighbouring nets, named after whichever signal fits. Here every
module gets back the ports of its component's signature, whole and under their own names.
"""

from collections.abc import Mapping

from .job import MemberWire
from .libyosys import ys

__all__ = ["restore_ports"]


def restore_ports(design: "ys.Design", members: Mapping[str, list[MemberWire]]) -> None:
    """Give every inner module of ``design`` the ports of its component."""
    modules = {str(module.name): module for module in design.modules_.values()}
    places = {
        str(cell.type): (parent, cell)
        for parent in modules.values()
        for cell in parent.cells_.values()
        if str(cell.type) in modules
    }
    for name, wires in members.items():
        if f"\\{name}" in places:
            _Module(modules[f"\\{name}"], *places[f"\\{name}"]).restore(wires)


class _Module:
    """One module with its only instance."""

    def __init__(self, module: "ys.Module", parent: "ys.Module", cell: "ys.Cell") -> None:
        self._module, self._parent, self._cell = module, parent, cell
        self._drivers = {}
        for target, source in module.connections_:
            for bit, driver in zip(target.to_sigbit_vector(), source.to_sigbit_vector(), strict=True):
                self._drivers[_key(bit)] = driver
        self._outside = {}  # what the parent connects to the net behind each bit of a port
        self._given = set()  # those of these nets that the parent, or an output that came before, drives
        self._old_ports = [
            wire for wire in module.wires_.values() if wire.port_id and str(wire.name) not in ("\\clk", "\\rst")
        ]
        for port in self._old_ports:
            outer = cell.getPort(port.name).to_sigbit_vector() if cell.hasPort(port.name) else []
            for bit, out in zip(ys.SigSpec(port).to_sigbit_vector(), outer, strict=False):
                self._outside[_key(self._root(bit))] = out
                if port.port_input:
                    self._given.add(_key(self._root(bit)))

    def _root(self, bit: "ys.SigBit") -> "ys.SigBit":
        """The net that a bit stands for: follow plain connections to where they start."""
        while bit.is_wire() and _key(bit) in self._drivers:
            bit = self._drivers[_key(bit)]
        return bit

    def restore(self, wires: list[MemberWire]) -> None:
        module, cell = self._module, self._cell
        plans = []
        driven: set[tuple[str, int]] = set()
        for member in wires:
            wire = module.wire(ys.IdString(f"\\{member.wire}"))
            if wire is None:
                continue
            roots = [self._root(bit) for bit in ys.SigSpec(wire).to_sigbit_vector()]
            if member.is_input:
                fresh = {_key(root) for root in roots if root.is_wire()}
                if fresh & driven or not fresh or not all(key in self._outside for key in fresh):
                    continue  # constant, or another name of a member that came before
                driven |= fresh
            plans.append((member, wire, roots, self._connection(member, roots)))
            if not member.is_input:  # another output that is the same net does not drive it once more
                self._given |= {_key(root) for root in roots if root.is_wire()}
        covered = {_key(root) for _, _, roots, _ in plans for root in roots if root.is_wire()}
        taken = {str(wire.name) for wire in module.wires_.values()}
        for port in self._old_ports:
            if all(_key(self._root(bit)) in covered for bit in ys.SigSpec(port).to_sigbit_vector()):
                port.port_input = port.port_output = False
                cell.unsetPort(port.name)
        inputs = {key for member, wire, _, _ in plans if member.is_input for key in _keys(ys.SigSpec(wire))}
        self._drop_drivers(inputs)
        for member, _, roots, connection in plans:
            name = f"\\{member.port}"
            if name in taken:
                module.rename(module.wire(ys.IdString(name)), ys.IdString(f"{name}$inside"))
            port = module.addWire(ys.IdString(name), len(roots))
            port.port_input, port.port_output = member.is_input, not member.is_input
            self._connect_inside(port, roots)
            cell.setPort(port.name, connection)
        module.fixup_ports()

    def _connect_inside(self, port: "ys.Wire", roots: list["ys.SigBit"]) -> None:
        for index, root in enumerate(roots):
            if port.port_output:
                self._module.connect(ys.SigSpec(port, index, 1), ys.SigSpec(root, 1))
            elif root.is_wire():
                self._module.connect(ys.SigSpec(root, 1), ys.SigSpec(port, index, 1))

    def _connection(self, member: MemberWire, roots: list["ys.SigBit"]) -> "ys.SigSpec":
        """What the parent connects to the new port; a wire of its own where an output has no reader, or is an
        input handed through or the same as another output, which the parent's readers take from there."""
        joined = ys.SigSpec()
        for index, root in enumerate(roots):
            if member.is_input and not root.is_wire():
                joined.append(ys.SigSpec(root, 1))
            elif _key(root) in self._outside and (member.is_input or _key(root) not in self._given):
                joined.append(ys.SigSpec(self._outside[_key(root)], 1))
            else:
                name = f"${self._cell.name}.{member.port}[{index}]"
                joined.append(ys.SigSpec(self._parent.addWire(ys.IdString(name), 1)))
        return joined

    def _drop_drivers(self, targets: set[tuple[str, int]]) -> None:
        """Undo the plain connections that drive these bits."""
        kept = []
        for target, source in self._module.connections_:
            if not targets.isdisjoint(_keys(target)):
                left, right = ys.SigSpec(), ys.SigSpec()
                pairs = zip(target.to_sigbit_vector(), source.to_sigbit_vector(), strict=True)
                for bit, driver in pairs:
                    if _key(bit) not in targets:
                        left.append(ys.SigSpec(bit, 1))
                        right.append(ys.SigSpec(driver, 1))
                target, source = left, right
            if target.size():
                kept.append((target, source))
        self._module.new_connections(kept)


def _key(bit: "ys.SigBit") -> tuple[str, int]:
    return (str(bit.wire.name), bit.offset) if bit.is_wire() else ("", -1)


def _keys(signal: "ys.SigSpec") -> list[tuple[str, int]]:
    return [_key(bit) for bit in signal.to_sigbit_vector()]
