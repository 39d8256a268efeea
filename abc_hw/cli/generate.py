"""``generate``: the Verilog of an accelerator, or of a part of one, and its manifest."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abc_hw.errors import InputError
from abc_hw.writing import check_writable, write

from .console import need, progress, record, say, text_aside
from .hardware import (
    ConstantsOption,
    Cycles,
    FoldingOption,
    WeightsOption,
    read_design,
    show_folding,
    weight_source,
)

if TYPE_CHECKING:
    from abc_hw.network import Graph, Network
    from abc_hw.rtl_gen.bus.accelerator import AxiPlan
    from abc_hw.rtl_gen.emit.manifest import Manifest
    from abc_hw.rtl_gen.emit.parts import Part
    from abc_hw.rtl_gen.emit.resets import ResetKind
    from abc_hw.rtl_gen.engine.accelerator import WeightSource
    from abc_hw.rtl_gen.engine.design import AnyAccelerator, AnyPlan
    from abc_hw.rtl_gen.folding import LayerFolding

Size = int | None


def generate(
    network: Annotated[
        Path | None,
        typer.Argument(help="A network file, zoo:NAME, example:NAME, or a TOML file.", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The Verilog file; - is standard output.")
    ] = Path("accelerator.v"),
    cycles: Cycles = None,
    folding: FoldingOption = None,
    name: Annotated[
        str | None, typer.Option(help="Of the Verilog module.", show_default="accelerator, or the part's")
    ] = None,
    weights: WeightsOption = "rom",
    constants: ConstantsOption = "rom",
    target: Annotated[
        str, typer.Option(help="What it is for: generic, ecp5, ecp5-slices, ice40, gowin, lut6 or asic.")
    ] = "generic",
    score_bits: Annotated[
        int | None, typer.Option(help="Bits of a score.", show_default="enough for any training")
    ] = None,
    input_px: Annotated[int, typer.Option(help="Pixels of a transfer of images.")] = 1,
    ports_of: Annotated[
        Path | None, typer.Option(help="A manifest: refuse what would not fit where that module is.")
    ] = None,
    reset: Annotated[
        str, typer.Option(help="sync: at a clock edge, high; async: at once, high; async-low: at once, low.")
    ] = "sync",
    interface: Annotated[
        str, typer.Option(help="stream: ready/valid; axi: AXI4-Stream and, for all but images, AXI4-Lite.")
    ] = "stream",
    axi_in_bits: Annotated[int, typer.Option(help="TDATA of images, with --interface axi.")] = 32,
    axi_out_bits: Annotated[int, typer.Option(help="TDATA of scores, likewise.")] = 32,
    register_pages: Annotated[
        Path | None, typer.Option(help="Write the registers of --interface axi as HTML into this folder.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(help="array, popcount, layer:NAME or scale:NAME by itself.", show_default="the whole"),
    ] = None,
    simd: Annotated[Size, typer.Option(help="Positions at once, of an array or popcount.")] = None,
    pe: Annotated[Size, typer.Option(help="Channels at once, of an array.")] = None,
    m: Annotated[Size, typer.Option("-M", help="Weight bases of an array.")] = None,
    n: Annotated[Size, typer.Option("-N", help="Activation bases of an array.")] = None,
    mp: Annotated[Size, typer.Option(help="Weight bases at once.", show_default="all")] = None,
    np: Annotated[Size, typer.Option(help="Activation bases at once.", show_default="all")] = None,
    dot_length: Annotated[Size, typer.Option(help="Positions of a dot.", show_default="simd")] = None,
) -> None:
    """Write the Verilog of a network's accelerator and, beside it, its manifest.

    The manifest, NAME.json, tells programs what the header tells people: ports, fields, lanes, folding, cycles,
    digests. With --weights loaded there is NAME.load.hex too, the words that load the weights; with --constants
    loaded they load all that training changes, and one module serves every training. --part makes a module of a
    part. With --interface axi there is NAME.h too, the registers in C. `abc-hw simulate NAME.json` compares any of
    them with the golden model.

    Exit code 0: written; 2: something cannot be used.
    """
    files = design_files(output)
    check_writable(*files.values())
    check_interface(interface, part, register_pages)
    resets = reset_kind(reset)
    name = module_name(part) if name is None else name
    sizes = {"simd": simd, "pe": pe, "M": m, "N": n, "mp": mp, "np": np, "dot_length": dot_length}
    given = {size: value for size, value in sizes.items() if value is not None}
    source = weight_source(weights, constants)
    if source != "rom" and part is not None and not part.startswith("layer:"):
        raise InputError(f"weights: expected rom with --part {part}, found loaded")
    if part in ("array", "popcount"):
        deliver_part(free_part(part, given, network, name, target), files, ports_of, resets)
        return
    if given:
        raise InputError(f"{next(iter(given))}: expected it with --part array or popcount, found {part or 'none'}")
    if network is None:
        raise InputError("network: expected a network file, zoo:NAME, example:NAME or a TOML file, found none")
    found, foldings = read_design(network, cycles, folding)
    from abc_hw.rtl_gen.emit.manifest import source_from

    named = source_from(output.parent, network)
    if part is not None:
        made_part = part_of(part, source, files)(found, foldings, name, named, target)
        deliver_part(made_part, files, ports_of, resets)
        return
    from abc_hw.rtl_gen.engine import design

    plan = design.make_plan(
        found, foldings, weights=source, target=target, score_bits=score_bits, input_px=input_px
    )
    whole = (
        design.accelerator_of(plan) if interface == "stream" else axi_plan(plan, axi_in_bits, axi_out_bits)
    )
    told = describe(whole, files, name, named).with_reset(resets)
    check_ports(ports_of, told)
    with progress("generating Verilog"):
        made = design_texts(whole, told)
    deliver(made, told, files)
    show_folding(found, foldings)
    for kind in made:
        if kind in files:
            say(f"{kind}: {files[kind]}")
    if register_pages is not None:
        write_pages(register_pages)


def module_name(part: str | None) -> str:
    """What a module is called where the user does not say: array, popcount, conv2, conv2_scale."""
    kind, _, layer = (part or "accelerator").partition(":")
    return {"layer": layer, "scale": f"{layer}_scale"}.get(kind, kind) if layer else kind


def reset_kind(text: str) -> ResetKind:
    """How it is reset, as the user says; InputError if nobody knows what that is."""
    from abc_hw.rtl_gen.emit.resets import reset_kind

    return reset_kind(text)


def check_interface(interface: str, part: str | None, pages: Path | None) -> None:
    """InputError unless options on the interface agree."""
    if interface not in ("stream", "axi"):
        raise InputError(f"interface: expected stream or axi, found {interface}")
    if interface == "axi" and part is not None:
        raise InputError(f"interface: expected stream with --part {part}, found axi")
    if interface == "stream" and pages is not None:
        raise InputError("register-pages: expected it with --interface axi, found stream")


def axi_plan(plan: AnyPlan, in_bits: int, out_bits: int) -> AxiPlan:
    """The accelerator behind AXI; InputError if it does not end in scores."""
    from abc_hw.rtl_gen.bus.accelerator import AxiPlan

    if plan.i.px != 1:
        raise InputError(f"input-px: expected 1 with --interface axi, found {plan.i.px}")
    return AxiPlan(inner=plan, in_bits=in_bits, out_bits=out_bits)


def write_pages(folder: Path) -> None:
    """The registers as pages for people."""
    need("docs", "peakrdl_html")
    from abc_hw.rtl_gen.bus.register_map import html_pages

    html_pages(folder)
    say(f"registers: {folder / 'index.html'}")


def check_ports(old: Path | None, told: Manifest) -> None:
    """InputError unless the module fits where the one of an ``old`` manifest, if any, is."""
    from abc_hw.rtl_gen.emit import manifest

    if old is not None:
        manifest.check_ports(manifest.read(old), told, str(old))


def deliver(made: Mapping[str, str], told: Manifest, files: Mapping[str, Path]) -> None:
    """Write the texts of a design to their files, or the Verilog to standard output."""
    record(
        design=told.model_dump(mode="json", exclude_none=True),
        files={kind: files[kind] for kind in made if kind in files},
    )
    if not files:
        text_aside()
        sys.stdout.write(made["Verilog"])
        return
    for kind, text in made.items():
        write(files[kind], text.encode())


# -- the accelerator --------------------------------------------------------------------------------------------


def design_files(output: Path) -> dict[str, Path]:
    """Where the texts of a design go, by what they are; nowhere if the Verilog goes to standard output."""
    if output == Path("-"):
        return {}
    return {
        "Verilog": output, "manifest": output.with_suffix(".json"), "load words": output.with_suffix(".load.hex"),
        "C header": output.with_suffix(".h"),
    }


def describe(design: AnyAccelerator | AxiPlan, files: Mapping[str, Path], name: str, source: str) -> Manifest:
    """The manifest of a design whose texts go to those files."""
    from abc_hw.rtl_gen.emit import axi, manifest_entries
    from abc_hw.rtl_gen.engine.design import AnyAccelerator

    if isinstance(design, AnyAccelerator):
        return manifest_entries.of_accelerator(design, name=name, source=source, load_file=load_file(files))
    return axi.of_axi(design, name=name, source=source, load_file=load_file(files))


def load_file(files: Mapping[str, Path]) -> str:
    """The name of the file of load words, of the files of a design."""
    return files["load words"].name if "load words" in files else ""


def design_texts(design: AnyAccelerator | AxiPlan, told: Manifest) -> dict[str, str]:
    """Verilog, manifest and, if there are, the words that load it and the header of its registers."""
    from abc_hw.rtl_gen.bus.register_map import c_header
    from abc_hw.rtl_gen.emit import axi, manifest_entries, verilog
    from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
    from abc_hw.rtl_gen.engine.design import AnyAccelerator

    made = {"manifest": told.text()}
    if isinstance(design, AnyAccelerator):
        plan, emitted = design.plan, verilog.emit_accelerator(
            design, name=told.module, reset=told.reset_kind
        )
    else:
        plan, emitted = design.inner, axi.emit_axi(design, name=told.module, reset=told.reset_kind)
        made["C header"] = c_header()
    if isinstance(plan, AcceleratorPlan) and plan.loads:
        made["load words"] = manifest_entries.load_text(plan.load_words)
    return {"Verilog": emitted.text, **made}


# -- parts ------------------------------------------------------------------------------------------------------


def free_part(part: str, given: Mapping[str, int], network: Path | None, name: str, target: str) -> Part:
    """A part that sizes alone decide."""
    from abc_hw.rtl_gen.emit import parts

    if network is not None:
        raise InputError(f"network: expected none with --part {part}, found {network}")
    needed = ("simd", "pe", "M", "N") if part == "array" else ("simd",)
    for size in needed:
        if size not in given:
            option = f"-{size}" if size in ("M", "N") else f"--{size}"
            raise InputError(f"{size}: expected {option} with --part {part}, found none")
    if part == "popcount":
        strangers = [size for size in given if size not in needed]
        if strangers:
            raise InputError(f"{strangers[0]}: expected none with --part popcount, found {given[strangers[0]]}")
        return parts.popcount(name=name, width=given["simd"], target=target)
    return parts.array(name=name, target=target, **given)


def part_of(
    part: str, weights: WeightSource, files: Mapping[str, Path]
) -> Callable[[Network | Graph, dict[str, LayerFolding], str, str, str], Part]:
    """What makes a part of a network's layer."""
    from abc_hw.rtl_gen.emit import parts

    kind, _, layer = part.partition(":")
    if kind not in ("layer", "scale") or not layer:
        raise InputError(f"part: expected {', '.join(parts.PARTS)}, found {part!r}")

    def make(
        network: Network | Graph, foldings: dict[str, LayerFolding], name: str, source: str, target: str
    ) -> Part:
        if kind == "scale":
            return parts.scale(network, foldings, layer, name=name, source=source)
        return parts.layer(
            network, foldings, layer, name=name, source=source, target=target, weights=weights,
            load_file=load_file(files),
        )

    return make


def deliver_part(part: Part, files: Mapping[str, Path], ports_of: Path | None, reset: ResetKind) -> None:
    """Write a part and its manifest."""
    from abc_hw.rtl_gen.emit import manifest_entries, parts, verilog

    part = dataclasses.replace(part, manifest=part.manifest.with_reset(reset))
    verilog.check_name(part.manifest.module)
    check_ports(ports_of, part.manifest)
    with progress("generating Verilog"):
        made = {"Verilog": parts.text(part), "manifest": part.manifest.text()}
        if part.load_words:
            made["load words"] = manifest_entries.load_text(part.load_words)
    deliver(made, part.manifest, files)
    if part.manifest.latency is not None:
        say(f"{part.manifest.module}: {part.manifest.part}, latency {part.manifest.latency} cycles")
    for kind in made:
        if kind in files:
            say(f"{kind}: {files[kind]}")
