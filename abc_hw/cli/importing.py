"""``import``: a quantised ONNX network of others as a network file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abc_hw.network import files

from .console import need, record, say, show, table

__all__ = ["import_network"]


def import_network(
    model: Annotated[Path, typer.Argument(help="A QONNX file, as Brevitas, QKeras and FINN write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path("network.safetensors"),
    name: Annotated[str | None, typer.Option(help="Name of the network; that of the file otherwise.")] = None,
    pixels: Annotated[
        bool | None,
        typer.Option(
            "--pixels/--features",
            help="Images come as bytes, which the file expects divided by 255; or as real numbers, cut by its "
                 "first quantiser. Told by the shape of its input otherwise.",
        ),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, with commas between.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Tell what became of each node.")] = False,
) -> None:
    """Bring in a quantised network that another framework trained, equal to the last bit or refused."""
    need("import", "qonnx", "onnx")
    from abc_hw.conversion.onnx_import import import_onnx

    found = import_onnx(model, name=name, pixels=pixels, classes=classes.split(",") if classes else None)
    files.save(found.graph, out)
    record(
        name=found.graph.name, file=str(out), pixels=found.pixels, digest=found.graph.digest,
        nodes=[dict(zip(("node", "operator", "became"), row, strict=True)) for row in found.report],
    )
    if report:
        rows = table("node", "operator", "what became of it")
        for row in found.report:
            rows.add_row(*row)
        show(str(model), rows)
    shape = " x ".join(map(str, found.graph.input_shape))
    what = "bytes, taken for byte / 255" if found.pixels else "codes of the first quantiser"
    say(f"{out}: {len(found.graph.nodes)} nodes, input {shape}: {what}; {found.graph.binary_macs:,} XNORs")


import_network.__name__ = "import"  # the command's name, which Python keeps for itself
