"""An accelerator behind AXI as text: Verilog, and its manifest."""

from ..bus.accelerator import IN, LITE, OUT, AxiAccelerator, AxiPlan
from ..engine.design import load_words
from .header import header
from .manifest import AxiRecord, Manifest
from .manifest_entries import layer_record, load_record, loading, network_record, units, versions
from .resets import ResetKind
from .verilog import Verilog, check_name, emit

__all__ = ["emit_axi", "of_axi"]


def of_axi(plan: AxiPlan, *, name: str, source: str = "", load_file: str = "") -> Manifest:
    """The manifest of an accelerator behind AXI as module ``name``; ``load_file`` is where its load words go."""
    inner, words = plan.inner, load_words(plan.inner)
    return Manifest(
        module=name, network=network_record(inner.network, source), **loading(inner.weights), target=inner.target,
        cycles_per_image=plan.cycles, layers=tuple(
            layer_record(one, one.latency, layer) for layer, one in inner.engines.items()
        ),
        axi=AxiRecord(
            images=IN, scores=OUT, lite=LITE, in_bits=plan.in_bits, out_bits=plan.out_bits,
            image_bytes=plan.images.size, score_bytes=plan.scores.word, packet_bytes=plan.scores.size,
            registers={one.name: one.address for one in plan.registers},
        ),
        load=load_record(words, load_file) if words else None, **units(inner), generator=versions(),
    )


def emit_axi(plan: AxiPlan, *, name: str, reset: ResetKind = "sync") -> Verilog:
    """Its Verilog.

    Raises
    ------
    InputError
        if ``name`` is no Verilog identifier.
    """
    check_name(name)
    lines = header(plan.inner, name, _lines(plan), plan.cycles, reset)
    return emit(AxiAccelerator(plan), name=name, header=lines, reset=reset)


def _lines(plan: AxiPlan) -> list[str]:
    """What the header tells of the ports."""
    images, scores = plan.images, plan.scores
    found = [
        f"{IN}     AXI4-Stream of {plan.in_bits} bits, a packet of {images.size} bytes an image: a byte a code,",
        "           row by row, channels innermost; TLAST with the last byte, TKEEP all ones but there",
        f"{OUT}     AXI4-Stream of {plan.out_bits} bits, a packet of {scores.size} bytes an image: "
        f"{scores.classes} scores,",
        f"           then the class, signed numbers of {scores.word} bytes, the lowest byte first; ends alike",
        f"{LITE}     AXI4-Lite: registers, as the C header beside this file has them",
    ]
    if plan.load_transfers:
        found.append(
            f"           load_first and load: {plan.load_transfers} words that load, status.loaded after them"
        )
    return found
