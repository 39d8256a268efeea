"""What the process that makes plain Verilog is told, and what it answers, as files in one folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

__all__ = ["SOURCE", "TARGET", "Job", "MemberWire", "read_kept", "write_kept"]

SOURCE, TARGET = "design.il", "design.v"
"""The design as Amaranth writes it, and the Verilog."""

_JOB, _KEPT = "job.json", "kept.json"


@dataclasses.dataclass(frozen=True)
class MemberWire:
    """A member of a component: the port it should be, and the wire that carries it in its module."""

    port: str
    wire: str
    is_input: bool


@dataclasses.dataclass(frozen=True)
class Job:
    """The name of the top module, and the members of each module below it."""

    name: str
    members: dict[str, list[MemberWire]]

    def write(self, folder: Path) -> None:
        """Leave it in ``folder``."""
        (folder / _JOB).write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """That in ``folder``."""
        told: dict[str, Any] = json.loads((folder / _JOB).read_text())
        members = {name: [MemberWire(**wire) for wire in wires] for name, wires in told["members"].items()}
        return cls(told["name"], members)


def write_kept(folder: Path, kept_bits: dict[tuple[str, str], list[int]]) -> None:
    """Leave in ``folder`` which bits of a module's port are kept, where not all are."""
    (folder / _KEPT).write_text(json.dumps([[*port, bits] for port, bits in kept_bits.items()]))


def read_kept(folder: Path) -> dict[tuple[str, str], list[int]]:
    """As :func:`write_kept` left it."""
    return {(module, port): bits for module, port, bits in json.loads((folder / _KEPT).read_text())}
