"""Components as Amaranth elaborates them: the top's ports, and which wires carry the members of the inner ones."""

from amaranth.back import rtlil
from amaranth.hdl import Fragment, Signal, Value
from amaranth.hdl._ir import Design, PortDirection
from amaranth.lib import wiring

from ..parts.shared import Shared
from .job import MemberWire
from .resets import ResetKind, prepared_with

__all__ = ["converted", "member_wires", "prepared"]


def prepared(
    component: wiring.Component, name: str, reset: ResetKind = "sync", platform: object = None
) -> Design:
    """The elaborated design of ``component`` as top module ``name``."""
    ports = {}
    for path, member, value in component.signature.flatten(component):
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports["__".join(map(str, path))] = (Value.cast(value), direction)
    return prepared_with(Fragment.get(component, platform), ports, name, reset)


def converted(component: wiring.Component, name: str, reset: ResetKind) -> tuple[str, dict[str, list[MemberWire]]]:
    """RTLIL of ``component`` as top module ``name``, equal parts of it as modules that are there once; and of each
    module the members of its component."""
    shared = Shared(name)
    texts: list[str] = []
    members: dict[str, list[MemberWire]] = {}
    kind = reset
    made = [(name, component)]
    for module, one in made:
        elaborated = prepared(one, module, kind, shared)
        texts.append(rtlil.convert_fragment(elaborated, name=module, emit_src=False)[0])
        members |= member_wires(elaborated)
        made += shared.modules[len(made) - 1 :]
        kind = "sync" if reset == "sync" else "async"  # an instance's reset is active high
    return "".join(texts), members


def member_wires(design: Design) -> dict[str, list[MemberWire]]:
    """For each module below the top the members of its component that it uses."""
    wires: dict[str, list[MemberWire]] = {}
    for component, fragment in design.elaboratables.items():
        info = design.fragments.get(fragment)
        if not isinstance(component, wiring.Component) or info is None or len(info.name) == 1:
            continue
        members = []
        for path, member, value in component.signature.flatten(component):
            signal = Value.cast(value)
            if isinstance(signal, Signal) and signal in info.signal_names:
                port = "__".join(map(str, path))
                members.append(MemberWire(port, info.signal_names[signal], member.flow == wiring.In))
        wires[".".join(info.name)] = members
    return wires
