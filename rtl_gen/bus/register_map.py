"""The register map, read from its description in SystemRDL, and what is made of it for programs and people."""

import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode

from abc_hw.writing import temporary_folder

__all__ = ["SOURCE", "Field", "Register", "c_header", "html_pages", "register_map"]

SOURCE = Path(__file__).with_name("registers.rdl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """Bits of a register.

    Members
    -------
    name : as the description has it
    lsb, bits : where
    constant : what it always is; None where hardware decides
    """

    name: str
    lsb: int
    bits: int
    constant: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Register:
    """A register of 32 bits.

    Members
    -------
    name : as the description has it; of an array with its index, as ``digest_2``
    address : in bytes
    reads, writes : what a bus may do with it
    fields : lowest first
    """

    name: str
    address: int
    reads: bool
    writes: bool
    fields: tuple[Field, ...]


@cache
def _compiled() -> AddrmapNode:
    compiler = RDLCompiler()
    compiler.compile_file(str(SOURCE))
    return compiler.elaborate().top


@cache
def register_map() -> tuple[Register, ...]:
    """All registers, by ascending address."""
    return tuple(sorted(_registers(_compiled()), key=lambda one: one.address))


def _registers(top: AddrmapNode) -> Iterator[Register]:
    for node in top.children(unroll=True):
        assert isinstance(node, RegNode)  # the description has nothing else
        name = node.get_path_segment(array_suffix="_{index:d}")
        yield Register(
            name=name, address=node.absolute_address, reads=node.has_sw_readable, writes=node.has_sw_writable,
            fields=tuple(
                Field(name=field.inst_name, lsb=field.low, bits=field.width, constant=_constant(field))
                for field in node.fields()
            ),
        )


def _constant(field: FieldNode) -> int | None:
    """What a field always is, if it is."""
    reset = field.get_property("reset")
    return reset if isinstance(reset, int) and not field.is_hw_writable and not field.is_sw_writable else None


def c_header() -> str:
    """The registers as a structure in C, with masks and shifts."""
    from peakrdl_cheader.exporter import CHeaderExporter

    with temporary_folder() as folder:
        path = folder / "abc_hw_accelerator.h"
        CHeaderExporter().export(_compiled(), path=str(path))
        return path.read_text()


def html_pages(folder: Path) -> None:
    """The registers as pages for people."""
    from peakrdl_html import HTMLExporter

    HTMLExporter().export(_compiled(), str(folder))
