# amaranth: UnusedElaboratable=no
"""Area and clock of the array, by itself and with everything around it, beside a plain sum of bits.

    python -m benchmarks.array [--devices ecp5-6,hx8k] [--rows array,unit]
    python -m benchmarks.array --draw

Out of context: inputs come from a shift register, outputs go to a tree of parities, both subtracted (``frame``).
Units: LUT4 + 2 x CCU2C on ECP5, SB_LUT4 on iCE40, LUT1 to LUT4 and ALU on Gowin, LUT1 to LUT6 on xc7; a binary
multiply-accumulate (bMAC) is one XNOR and its count, and two operations. MHz: the median of the seeds.

Rows: ``array`` is the PE array, expansion and accumulators included; ``unit`` a complete folded matrix-vector
unit: a fully connected layer of 576 x 64 with input buffer, control, array, scaling, thresholds and output queue,
its weights streamed in; ``naive`` sums bits with the language's ``+``, under the synthesiser's own flags.
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import Bases
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.blocks.array import ArrayPlan, PEArray
from abc_hw.rtl_gen.engine.layer import LayerEngine, LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.loops import LoopNest
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from benchmarks import rows
from benchmarks.out_of_context import DEVICES, Device, Measurement, by_block, measure

HEAD = ("device", "what", "simd", "pe", "M = N", "LUT", "FF", "LUT / bMAC", "MHz", "GOPS / kLUT", "frame LUT, FF")

DOCS = Path(__file__).parent.parent / "docs"

WORDS = 9
"""Of a dot."""

DEFAULT_FLAGS = {"ecp5-6": "synth_ecp5", "ecp5-8": "synth_ecp5", "hx8k": "synth_ice40", "gw1n-9c": "synth_gowin"}
"""For ``naive``. Yosys 0.70 ends with a failed assertion on it for xc7."""


class NaiveArray(wiring.Component):
    """``pe`` sums of ``simd`` XNORs each, and their accumulators, as one would write them down."""

    def __init__(self, *, simd: int, pe: int) -> None:
        count = unsigned((WORDS * simd).bit_length())
        super().__init__({
            "a": In(simd), "w": In(data.ArrayLayout(unsigned(simd), pe)), "first": In(1),
            "dots": Out(data.ArrayLayout(count, pe)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for index, dot in enumerate(self.dots):
            matches = ~(self.a ^ self.w[index])
            m.d.sync += dot.eq(Mux(self.first, 0, dot) + sum(matches))
        return m


class StreamedEngine(LayerEngine):
    """A layer's engine whose weights come from the port ``w`` in place of a memory."""

    def __init__(self, plan: LayerPlan) -> None:
        super().__init__(plan)
        self.w = Signal(plan.weights.width)

    def _read_weights(self, m: Module, nest: LoopNest) -> Value:
        return self.w


def unit(simd: int, pe: int, bases: int, target: str) -> StreamedEngine:
    """The matrix-vector unit for M = N = ``bases``, all of them at once."""
    layer = random_layer(
        np.random.default_rng(0), name="unit", in_shape=(1, 1, WORDS * simd), out_channels=8 * pe, kernel=(1, 1),
        M=bases, N=bases, levels=bases + 1,
    )
    return StreamedEngine(LayerPlan(
        LayerNumbers(layer), LayerFolding(simd=simd, pe=pe, mp=bases, np=bases), target=target
    ))


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""

    device: str
    what: str
    simd: int
    pe: int
    bases: int
    found: Measurement

    @property
    def work(self) -> int:
        """bMACs per cycle."""
        return self.simd * self.pe * self.bases**2

    @property
    def gops(self) -> float | None:
        """Operations per second and 1000 LUTs, in 1e9."""
        return 2 * self.work * self.found.clock / self.found.cost.luts if self.found.clock else None

    def cells(self) -> list[str]:
        cost, frame = self.found.cost, self.found.frame
        clocks = " ".join(f"{clock:.0f}" for clock in sorted(self.found.clocks)) or "-"
        return [
            self.device, self.what, str(self.simd), str(self.pe), str(self.bases), str(cost.luts),
            str(cost.flip_flops), f"{cost.luts / self.work:.2f}", clocks, f"{self.gops:.0f}" if self.gops else "-",
            f"{frame.luts}, {frame.flip_flops}",
        ]


def measured(
    device: Device, what: str, simd: int, pe: int, bases: int, seeds: list[int], pipeline: int, target: str | None
) -> Row:
    kind = Bases(kind="thermometer", count=bases)
    target = target or device.target
    if what == "naive":
        device = dataclasses.replace(device, synthesis=DEFAULT_FLAGS[device.name])
        found = measure(device, NaiveArray(simd=simd, pe=pe), seeds=seeds)
    elif what == "array":
        array = PEArray(ArrayPlan(
            weight_bases=kind, input_bases=kind, simd=simd, pe=pe, mp=bases, np=bases, dot_length=WORDS * simd,
            pipeline=pipeline, target=target,
        ))
        found = measure(device, array, seeds=seeds)
    else:
        engine = unit(simd, pe, bases, target)
        found = measure(device, engine, inputs=[engine.w], seeds=seeds)
    label = what if target == device.target or what == "naive" else f"{what} ({target})"
    return Row(device.name, label, simd, pe, bases, found)


def drawn(page: str) -> str:
    """Bars of operations per second and kLUT, as SVG, of the rows of a page's table that have them."""
    lines = (re.split(r" *\| *", line.strip("| ")) for line in page.splitlines() if line.startswith("|"))
    shown = [dict(zip(HEAD, cells, strict=True)) for cells in lines if len(cells) == len(HEAD)]
    shown = [row for row in shown if row["GOPS / kLUT"].isdigit()]
    most = max(int(row["GOPS / kLUT"]) for row in shown)
    bars = []
    for index, row in enumerate(shown):
        length = 360 * int(row["GOPS / kLUT"]) / most
        y = 18 * index
        name = f"{row['device']} {row['what']} {row['simd']} x {row['pe']}, M = N = {row['M = N']}"
        colour = "#999" if row["what"] == "naive" else "#27a"
        bars += [
            f'<text x="238" y="{y + 13}" text-anchor="end">{name}</text>',
            f'<rect x="244" y="{y + 2}" width="{length:.0f}" height="14" fill="{colour}"/>',
            f'<text x="{248 + length:.0f}" y="{y + 13}">{row["GOPS / kLUT"]}</text>',
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="650" height="{18 * len(shown) + 20}" '
        'font-family="sans-serif" font-size="11">\n' + "\n".join(bars)
        + f'\n<text x="244" y="{18 * len(shown) + 14}">GOPS per 1000 LUTs</text>\n</svg>\n'
    )


def table(options: argparse.Namespace) -> Iterator[Row]:
    for device in options.devices.split(","):
        for what in options.rows.split(","):
            if what == "naive" and device not in DEFAULT_FLAGS:
                continue
            for bases in map(int, options.bases.split(",")) if what != "naive" else (1,):
                yield measured(
                    DEVICES[device], what, options.simd, options.pe, bases,
                    [int(seed) for seed in options.seeds.split(",") if seed], options.pipeline, options.target,
                )


def split(device: Device, simd: int, pe: int, bases: int) -> None:
    """Print what the blocks of a unit take."""
    engine = unit(simd, pe, bases, device.target)
    blocks: dict[str, int] = {}
    for path, cost in by_block(device, engine, [engine.w]).items():
        names = path.split(".")[1:]
        place = "array, counts" if names[-1:] and names[-1].startswith("count_") else "array, accumulators" \
            if len(names) == 2 and names[1].startswith("pe") else names[0] if names else "engine"
        blocks[place] = blocks.get(place, 0) + cost.luts
    print(f"\n| block of a unit on {device.name} | LUT | LUT / bMAC |\n|---|---|---|")
    for place, luts in sorted(blocks.items(), key=lambda entry: -entry[1]):
        print(f"| {place} | {luts} | {luts / (simd * pe * bases**2):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simd", type=int, default=64)
    parser.add_argument("--pe", type=int, default=8)
    parser.add_argument("--bases", default="1,3", help="M = N")
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--rows", default="naive,array,unit")
    parser.add_argument("--seeds", default="1,2,3", help="of the placement; empty: area only")
    parser.add_argument("--pipeline", type=int, default=1, help="adder levels between registers, of the array")
    parser.add_argument("--target", help="of the popcounts, in place of the device's own")
    parser.add_argument("--split", action="store_true", help="print the LUTs of a unit by block, and no more")
    parser.add_argument("--draw", action="store_true", help="draw docs/performance.svg of its page, and no more")
    options = parser.parse_args()
    if options.split:
        for device in options.devices.split(","):
            split(DEVICES[device], options.simd, options.pe, int(options.bases.split(",")[0]))
        return
    if options.draw:
        page = DOCS / "performance.md"
        page.with_suffix(".svg").write_text(drawn(page.read_text()))
        return
    rows.head(HEAD)
    for row in table(options):
        rows.line(row.cells())


if __name__ == "__main__":
    sys.exit(main())
