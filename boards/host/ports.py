"""Serial ports of this machine, and which of them has a board with a network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from serial.tools import list_ports

from abc_hw import zoo
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network

from ..identity import Identity
from .driver import Accelerator

__all__ = ["Found", "Port", "ask", "choose", "held_network", "ports"]


@dataclasses.dataclass(frozen=True)
class Port:
    """A serial port: its name, what the system calls it, and whether this user may use it."""

    name: str
    title: str
    usable: bool


@dataclasses.dataclass(frozen=True)
class Found:
    """What a port answered: a board's identity, or why there is none."""

    port: str
    identity: Identity | None
    trouble: str = ""


def ports() -> list[Port]:
    """All serial ports, by name."""
    return sorted(
        (
            Port(port.device, port.description or "", os.access(port.device, os.R_OK | os.W_OK))
            for port in list_ports.comports()
        ),
        key=lambda port: port.name,
    )


def ask(port: str) -> Found:
    """Who answers at a port."""
    try:
        with Accelerator.open(port, timeout=0.3, retries=1) as device:
            return Found(port, device.identity)
    except InputError as error:
        return Found(port, None, str(error))


def choose(found: Iterable[Found], network: Network | Graph | None = None) -> Found:
    """The first board, or the first that computes ``network``.

    Raises
    ------
    InputError : no such board; the message has what each port answered
    """
    said = []
    for each in found:
        if each.identity is None:
            said.append(each.trouble)
            continue
        try:
            if network is not None:
                each.identity.check(network)
            return each
        except InputError as error:
            said.append(f"{each.port}: {error}")
    wanted = "a board" if network is None else f"a board with {network.name}"
    raise InputError(
        f"port: expected {wanted} at a serial port, or --port or --simulate, found "
        + ("; ".join(said) or "no serial port at all")
    )


def held_network(identity: Identity) -> str:
    """``zoo:NAME`` of the network that a board holds.

    Raises
    ------
    InputError : none of the zoo
    """
    for name in zoo.names():
        try:
            identity.check(zoo.load(name))
        except InputError:
            continue
        return f"{zoo.PREFIX}{name}"
    raise InputError(
        f"network: expected one of the zoo in the board, found digest {identity.digest.hex()}; name its file"
    )
