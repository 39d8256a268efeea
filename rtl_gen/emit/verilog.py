"""Verilog that people and tools accept: emission, through Yosys.

Amaranth gives RTLIL; Yosys writes it as Verilog-2001, in the form of :mod:`abc_hw.rtl_gen.emit.plain`. Registers
start by reset, not by initial value: hold ``rst`` for one clock edge.
"""

import contextlib
import dataclasses
import gc
import re
from collections.abc import Iterable, Iterator, Mapping

from amaranth.lib import wiring

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.validation import shown
from abc_hw.writing import temporary_folder

from ..engine.accelerator import WeightSource
from ..engine.design import AnyAccelerator, make_accelerator
from ..parts.names import KEYWORDS
from ..schedule import LayerFolding
from .header import header, stream_lines
from .job import SOURCE, TARGET, Job, read_kept
from .members import converted
from .resets import ResetKind
from .yosys import run_module, without_ram_contents

__all__ = ["Verilog", "check_name", "emit", "emit_accelerator", "generate"]


@dataclasses.dataclass(frozen=True)
class Verilog:
    """Emitted text; for each port of an inner module that lost bits, which of them are left; and whether the
    layers are modules of their own (in a flat netlist they are not)."""

    text: str
    kept_bits: dict[tuple[str, str], list[int]]
    inner_streams: bool = True


def generate(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], *, name: str = "accelerator",
    weights: WeightSource = "rom", target: str = "generic", score_bits: int | None = None,
) -> str:
    """Verilog text of the accelerator for ``network`` with these foldings (of each layer, by name).

    Parameters
    ----------
    weights : as of :class:`abc_hw.rtl_gen.engine.accelerator.Accelerator`
    target : a technology of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`; for ``ecp5-slices`` the text has ECP5
    cells
    score_bits : of a score at the output; None: so many that no training of this network needs more
        (:func:`abc_hw.rtl_gen.parts.matches.stable_score_bits`)

    Raises
    ------
    InputError
        if a folding does not fit, the target is unknown, or ``name`` is no Verilog identifier.
    """
    check_name(name)
    accelerator = make_accelerator(network, foldings, weights=weights, target=target, score_bits=score_bits)
    return emit_accelerator(accelerator, name=name).text


MOST_OF_TOP = 100
"""Letters of a top module's name; those of inner modules are put together from it and others."""


def check_name(name: str) -> None:
    """InputError unless ``name`` can be a module's."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(f"name: expected letters, digits and _, a letter first, found {shown(name)}")
    if len(name) > MOST_OF_TOP:
        raise InputError(f"name: expected at most {MOST_OF_TOP} letters, found {len(name)}")
    if name in KEYWORDS:
        raise InputError(f"name: expected none of Verilog's own words, found {name!r}")


def emit_accelerator(
    accelerator: AnyAccelerator, *, name: str = "accelerator", reset: ResetKind = "sync"
) -> Verilog:
    """As :func:`generate`, for an accelerator that is already made."""
    check_name(name)
    lines = header(accelerator.plan, name, stream_lines(accelerator.plan), reset=reset)
    return emit(accelerator, name=name, header=lines, reset=reset)


def emit(
    component: wiring.Component, *, name: str, header: Iterable[str] = (), reset: ResetKind = "sync"
) -> Verilog:
    """``component`` as module ``name``, with comment lines on top.

    One file holds all modules, the top first; inner modules are named after their place.
    """
    with temporary_folder() as folder, _without_collection():
        made, members = converted(component, name, reset)
        (folder / SOURCE).write_text(without_ram_contents(made))
        Job(name, members).write(folder)
        run_module("abc_hw.rtl_gen.emit.plain", str(folder))
        kept_bits = read_kept(folder)
        text = _marked((folder / TARGET).read_text(), _attributes(made))
    body = text[text.index("module ") :]
    comment = "".join(f"// {line}".rstrip() + "\n" for line in header)
    plain = {(module[1:], port[1:]): bits for (module, port), bits in kept_bits.items()}
    return Verilog(f"{comment}\n{body}", plain)


_MEMORY = re.compile(r"((?:  attribute [^\n]*\n)*)  memory width \d+ size \d+ \\(\w+)\n")
_ATTRIBUTE = re.compile(r'attribute \\(ram_style|no_rw_check) (\S+)')


def _attributes(rtlil: str) -> dict[str, str]:
    """What synthesis shall know of memories, by their names: of what to make them, and that none is read and
    written at once at one address."""
    return {
        name: ", ".join(word if value == "1" else f"{word} = {value}" for word, value in _ATTRIBUTE.findall(lines))
        for lines, name in _MEMORY.findall(rtlil)
    }


def _marked(text: str, attributes: dict[str, str]) -> str:
    """Verilog with these attributes; no others are written."""

    def mark(line: re.Match[str]) -> str:
        told = attributes.get(line[1])
        return f"  (* {told} *)\n{line[0]}" if told else line[0]

    return re.sub(r"^  reg (?:\[\d+:0\] )?(\w+) \[\d+:0\];$", mark, text, flags=re.MULTILINE)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cycles of objects: a design has millions, all of which stay till its end, and looking through
    them again and again takes a quarter of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
