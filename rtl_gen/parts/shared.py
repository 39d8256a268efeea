"""Components that are elaborated once, however often they are used: a module of their own with many instances.

What elaborates a component may tell as ``platform`` that equal ones become one module. Without that each is a
submodule like any other, as simulation wants it.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring

__all__ = ["Shared", "placed"]

Plan = TypeVar("Plan", bound=Hashable)


class Shared:
    """The platform of an elaboration in which equal components become one module.

    Parameters
    ----------
    name : what the modules' names begin with
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._modules: dict[tuple[str, Hashable], tuple[str, wiring.Component]] = {}

    @property
    def modules(self) -> list[tuple[str, wiring.Component]]:
        """Names and components of all modules so far; elaborating one may bring more."""
        return list(self._modules.values())

    def module(
        self, kind: str, make: Callable[[Plan], wiring.Component], plan: Plan
    ) -> tuple[str, wiring.Component]:
        """Name and component of the module for this kind and plan."""
        if (kind, plan) not in self._modules:
            number = sum(other == kind for other, _ in self._modules)
            self._modules[kind, plan] = f"{self._name}.{kind}{number}", make(plan)
        return self._modules[kind, plan]


def placed(
    m: Module, name: str, make: Callable[[Plan], wiring.Component], plan: Plan, platform: object, *, kind: str
) -> Any:
    """What has the members of a component: that as submodule ``name``, or an instance of the module that all equal
    ones share.

    Parameters
    ----------
    make, plan : the component, which has one clock, and is what its plan says
    platform : of the elaboration
    kind : what a shared module is called, with a number
    """
    if not isinstance(platform, Shared):
        m.submodules[name] = component = make(plan)
        return component
    module, component = platform.module(kind, make, plan)
    members = component.signature.create(path=(name,))
    ports = {
        f"{'i' if member.flow == wiring.In else 'o'}_{'__'.join(map(str, path))}": Value.cast(value)
        for path, member, value in component.signature.flatten(members)
    }
    m.submodules[name] = Instance(module, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)
    return members
