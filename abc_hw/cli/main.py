"""The command line ``abc-hw``.

Exit codes: 0 done, 1 a mismatch or failed check, 2 unusable input (one line on standard error), 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import InputError
from . import (
    boards,
    demo,
    doctor,
    examples,
    foldings,
    generate,
    hardware,
    importing,
    networks,
    report,
    sweep,
    training,
    zoo,
)
from .completion import complete_values
from .console import complain, reports, say
from .ending import end_when_told


class Commands(TyperGroup):
    """A group that turns what a user's input causes into one line and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            message = str(error)
        except typer.BadParameter as error:
            message = error.format_message()
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except MemoryError as error:
            message = f"memory: expected enough of it, found too little: {error}".removesuffix(": ")
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(130) from None
        complain(message)
        raise typer.Exit(2)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="From images to a trained ABC-Net to a bit-exact Verilog accelerator.",
    epilog="Start with: abc-hw demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"abc-hw {version('abc-hw')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


EXAMPLES: dict[Callable[..., None], tuple[str, ...]] = {
    training.train: (
        "abc-hw train",
        "abc-hw train --dataset mnist --model lenet -M 3 -N 3 --data-dir data",
        "abc-hw train --dataset cifar-10 --model vgg -M 3 -N 3 --out runs/vgg",
        "abc-hw train --dataset photos/ --resize 32x32 --model lenet --out runs/photos",
        "abc-hw train --resume --out runs/vgg",
        "abc-hw train --config runs/vgg/run.toml --seed 2 --out runs/vgg-2",
    ),
    sweep.sweep: (
        "abc-hw sweep --dataset digits --seeds 1,2,3",
        "abc-hw sweep abc:1/1 abc:1/1x2 residual:2/2 float --dataset mnist --data-dir data",
    ),
    training.export: (
        "abc-hw export runs/digits-lenet/model.ckpt -o network.safetensors",
        "abc-hw export runs/digits-lenet/model.ckpt --onnx network.onnx",
    ),
    importing.import_network: (
        "abc-hw import model.onnx -o network.safetensors --report",
        "abc-hw import model.onnx --features --classes yes,no",
    ),
    networks.info: ("abc-hw info network.safetensors", "abc-hw info runs/digits-lenet/model.ckpt"),
    networks.evaluate: (
        "abc-hw evaluate network.safetensors",
        "abc-hw evaluate network.safetensors --dataset mnist --data-dir data --onnx network.onnx",
        "abc-hw evaluate network.safetensors --images-file images.npz",
    ),
    foldings.fold: (
        "abc-hw fold zoo:mnist-lenet-m3n3 --device ecp5-25k --fps 2000",
        "abc-hw fold zoo:cnv-m1n2 --device ecp5-85k --fit --budget 0.7 -o folding.toml",
    ),
    report.report: (
        "abc-hw report zoo:mnist-lenet-m3n3 --device ecp5-85k --html report.html",
        "abc-hw report examples/vgg.toml --folding folding.toml",
    ),
    generate.generate: (
        "abc-hw generate network.safetensors -o accelerator.v",
        "abc-hw generate network.safetensors --cycles 20000",
        "abc-hw generate example:tiny --name tiny --weights loaded -o tiny.v",
        "abc-hw generate --part array --simd 64 --pe 8 -M 3 -N 3 -o array.v",
        "abc-hw generate network.safetensors --part layer:conv2 -o conv2.v",
    ),
    hardware.simulate: (
        "abc-hw simulate network.safetensors --images 20",
        "abc-hw simulate network.safetensors --simulator icarus --stalls 0.2 --weights loaded",
        "abc-hw simulate example:tiny --random --waves tiny.vcd",
        "abc-hw simulate array.json",
    ),
    examples.examples: ("abc-hw examples", "abc-hw examples cocotb mybench", "abc-hw examples tiny mine.toml"),
    boards.boards: ("abc-hw boards",),
    boards.build: (
        "abc-hw build --board icebreaker",
        "abc-hw build zoo:digits-lenet-m3n3 --board ulx3s-85f",
        "abc-hw build examples/digits-small.toml --board icebreaker --out build/icebreaker",
    ),
    boards.run: (
        "abc-hw run zoo:digits-lenet-m3n3 --simulate --images 100",
        "abc-hw run",
        "abc-hw run zoo:digits-lenet-m3n3 --port /dev/ttyUSB1 image.png",
    ),
    doctor.flash: ("abc-hw flash --board icebreaker", "abc-hw flash --board ulx3s-85f build/ulx3s"),
    doctor.doctor: ("abc-hw doctor", "abc-hw doctor --json"),
    demo.demo: ("abc-hw demo", "abc-hw demo --draw", "abc-hw demo --cycles 400 --out runs/fast"),
}
"""The commands, in the order in which they are used, with examples for their help."""

for _command, _lines in EXAMPLES.items():
    app.command(epilog="[bold]Examples[/]\n\n" + "\n\n".join(_lines))(complete_values(reports(_command)))

app.add_typer(zoo.app, name="zoo")


def main() -> None:
    """Run the command line and exit."""
    end_when_told()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows ASCII only shows the rest so
    app()
