# amaranth: UnusedElaboratable=no
"""Area and clock of a block by itself: inputs from a shift register, outputs reduced to one bit.

The shift register costs flip-flops, the reduction look-up tables and flip-flops. A design of only those two, of
the same size, is synthesised as well and subtracted.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from operator import xor
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, Signal, Value
from amaranth.lib import wiring

from abc_hw.boards.toolchain import find_tool
from abc_hw.rtl_gen.emit.ease import ease_file
from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from benchmarks.cells import flip_flops, luts


@dataclasses.dataclass(frozen=True)
class Device:
    """A part, how it is synthesised for, and the words that place and route for it (none: not placed)."""

    name: str
    synthesis: str
    target: str
    place: tuple[str, ...] = ()


ECP5 = (
    "nextpnr-ecp5", "--85k", "--package", "CABGA756", "--lpf-allow-unconstrained", "--placer", "static", "--speed",
)
ICE40 = ("nextpnr-ice40", "--hx8k", "--package", "ct256", "--pcf-allow-unconstrained", "--router", "router2")
DEVICES = {
    device.name: device
    for device in (
        Device("ecp5-6", "synth_ecp5 -nowidelut", "ecp5-slices", (*ECP5, "6")),
        Device("ecp5-8", "synth_ecp5 -nowidelut", "ecp5-slices", (*ECP5, "8")),
        Device("hx8k", "synth_ice40 -abc9", "ice40", ICE40),
        Device("gw1n-9c", "synth_gowin", "gowin",
               ("nextpnr-himbaechel", "--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C")),
        Device("xc7", "synth_xilinx -family xc7 -abc9", "lut6"),
    )
}


ROUTING_LIMIT = 600
"""Seconds after which a placement counts as none: with some seeds nextpnr's router2 goes on for ever."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Look-up tables (LUT4 + 2 x CCU2C on ECP5, with ALU cells on Gowin; of up to six inputs on xc7), flip-flops,
    and cells by type."""

    luts: int
    flip_flops: int
    cells: Mapping[str, int]

    def less(self, other: Cost) -> Cost:
        """Without what the other takes."""
        return Cost(self.luts - other.luts, self.flip_flops - other.flip_flops, self.cells)


def cost(cells: Mapping[str, int]) -> Cost:
    """Of a netlist with these cells."""
    return Cost(luts(cells), flip_flops(cells), cells)


class OutOfContext(Elaboratable):
    """``component`` between a shift register and a tree of registered parities.

    Without a component: as many inputs and outputs, with nothing between them.
    """

    def __init__(
        self, component: wiring.Component | None, inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> None:
        self._component, self._inputs, self._outputs = component, inputs, outputs
        self.serial_in, self.serial_out = Signal(), Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift = Signal(len(Cat(self._inputs)), reset_less=True)
        m.d.sync += shift.eq(Cat(self.serial_in, shift))
        if self._component is None:
            bits = [shift[index % len(shift)] for index in range(len(Cat(self._outputs)))]
        else:
            m.submodules.block = self._component
            m.d.comb += Cat(self._inputs).eq(shift)
            bits = list(Cat(self._outputs))
        bits = self._registered(m, bits)
        while len(bits) > 1:
            bits = self._registered(m, [reduce(xor, bits[start : start + 4]) for start in range(0, len(bits), 4)])
        m.d.comb += self.serial_out.eq(bits[0])
        return m

    @staticmethod
    def _registered(m: Module, bits: Sequence[Value]) -> list[Value]:
        row = Signal(len(bits), reset_less=True)
        m.d.sync += row.eq(Cat(bits))
        return list(row)


def members(component: wiring.Component) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs of a component."""
    ports = list(component.signature.flatten(component))
    inputs = [Value.cast(value) for _, member, value in ports if member.flow == wiring.In]
    return inputs, [Value.cast(value) for _, member, value in ports if member.flow == wiring.Out]


EASED = "carry chains and tables of ECP5 eased"
"""What is done to a netlist after synthesis: one that a folder keeps from a time when it was not is made again."""


def run(device: Device, source: str, reader: str, folder: Path) -> Cost:
    """Synthesise module ``top``, unless the folder has it; leaves ``design.json`` there."""
    design, report, told = folder / "design", folder / "stat.json", folder / "made"
    eased = device.target == "ecp5-slices"
    wanted = "\n".join([device.synthesis, *([EASED] if eased else []), source])
    if not report.exists() or not told.exists() or told.read_text() != wanted:
        for made in folder.glob("*.json"):
            made.unlink()
        design.write_text(source)
        told.write_text(wanted)
        run_yosys(
            f"{reader} {design}", f"{device.synthesis} -top top -json {folder / 'design.json'}",
            f"tee -q -o {report} stat -json",
        )
        if eased:
            ease_file(folder / "design.json")
    return cost(json.loads(report.read_text())["design"]["num_cells_by_type"])


def by_block(device: Device, component: wiring.Component, inputs: Sequence[Value] = ()) -> dict[str, Cost]:
    """What each module below ``component`` takes, synthesised by itself; by its path."""
    found_inputs, outputs = members(component)
    synthesis = dataclasses.replace(device, synthesis=f"{device.synthesis} -noflatten")
    with tempfile.TemporaryDirectory() as folder:
        run(synthesis, wrapped(component, [*found_inputs, *inputs], outputs), "read_rtlil", Path(folder))
        modules = json.loads(Path(folder, "stat.json").read_text())["modules"]
    return {
        name.removeprefix("\\top.block"): cost(module["num_cells_by_type"])
        for name, module in modules.items() if name.startswith("\\top.block")
    }


def wrapped(component: wiring.Component | None, inputs: Sequence[Value], outputs: Sequence[Value]) -> str:
    top = OutOfContext(component, inputs, outputs)
    return for_synthesis(rtlil.convert(top, name="top", ports=[top.serial_in, top.serial_out], emit_src=False))


@cache
def frame(device: Device, inputs: int, outputs: int) -> Cost:
    """What shift register and reduction take."""
    with tempfile.TemporaryDirectory() as folder:
        text = wrapped(None, [Signal(inputs)], [Signal(outputs)])
        return run(device, text, "read_rtlil", Path(folder))


def clocks(
    device: Device, folder: Path, seeds: Sequence[int], wanted: int, limit: int = ROUTING_LIMIT
) -> list[float]:
    """MHz that place and route reaches with each seed, asked for ``wanted``; none where it is not placed. What the
    folder has of a seed is not made again."""
    reached = []
    for seed in seeds if device.place else ():
        found = folder / f"seed{seed}.json"
        if found.exists():
            reached.append(_clock(found))
            continue
        command = [
            *find_tool(device.place[0]), *device.place[1:], "--json", "design.json", "--seed", str(seed),
            "--freq", str(wanted), "--timing-allow-fail", "--report", "report.json", "--log", f"seed{seed}.log",
            "--quiet",
        ]
        if device.place[0].startswith("nextpnr-himbaechel"):
            (folder / "pins.cst").write_text(gowin_pins(folder / "design.json"))
            command += ["--vopt", "cst=pins.cst", "--write", "routed.json"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            print(f"{device.name}, seed {seed}: not routed within {limit} s", file=sys.stderr)
            continue
        if done.returncode:
            raise RuntimeError(f"{device.place[0]}: {done.stderr[-1000:]}")
        (folder / "report.json").rename(found)
        reached.append(_clock(found))
    return reached


GOWIN_PINS = ("52", "17", "18", "25")
"""Of the package, a clock's first. nextpnr chooses pins by itself for the other families, not for Gowin."""


def gowin_pins(design: Path) -> str:
    """Lines that give each buffer of a netlist a pin; they name the buffer, not the port."""
    top = json.loads(design.read_text())["modules"]["top"]
    clock, cells = top["ports"]["clk"]["bits"], top["cells"]
    buffers = [name for name, cell in cells.items() if cell["type"] in ("IBUF", "OBUF")]
    ordered = sorted(buffers, key=lambda name: cells[name]["connections"]["I"] != clock)
    return "".join(f'IO_LOC "{name}" {pin};\n' for name, pin in zip(ordered, GOWIN_PINS, strict=True))


def _clock(report: Path) -> float:
    return max(entry["achieved"] for entry in json.loads(report.read_text())["fmax"].values())


def longest_path(report: Path) -> str:
    """The longest path from clock to clock of a report of nextpnr, in a line: cells, ns in logic and on wires."""
    paths = json.loads(report.read_text())["critical_paths"]
    found = max(
        (path for path in paths if "<async>" not in (path["from"], path["to"])),
        key=lambda path: sum(part["delay"] for part in path["path"]),
    )["path"]
    logic, wires = (
        sum(part["delay"] for part in found if (part["type"] == "routing") == routed) for routed in (False, True)
    )
    begins, ends = found[0]["from"]["cell"], found[-1]["to"]["cell"]
    return f"{begins} to {ends}: {logic:.1f} ns of logic, {wires:.1f} of wires"


LOGIC = ("TRELLIS_COMB", "ICESTORM_LC", "LUT4")
"""Cells of logic, of ECP5, iCE40 and Gowin."""


def filled(report: Path) -> float | None:
    """Of a report of nextpnr: the share of the part's logic that is taken, what nextpnr itself adds and RAMs of
    look-up tables among it; None if it tells no cells that are known here."""
    cells = json.loads(report.read_text())["utilization"]
    shares = (cells[cell]["used"] / cells[cell]["available"] for cell in LOGIC if cell in cells)
    return next(shares, None)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A block's own cost, what surrounded it, its clock in MHz by seed, and how full the part is."""

    cost: Cost
    frame: Cost
    clocks: list[float]
    filled: float | None = None

    @property
    def clock(self) -> float | None:
        """The median of the seeds."""
        return statistics.median(self.clocks) if self.clocks else None


def measure(
    device: Device, component: wiring.Component, *, inputs: Sequence[Value] = (), seeds: Sequence[int] = (1, 2, 3),
    keep: Path | None = None, wanted: int = 300, limit: int = ROUTING_LIMIT,
) -> Measurement:
    """Area and clock of ``component`` on ``device``.

    ``inputs`` are those beside its members; files stay in ``keep``, if given, and what is there is not made again;
    ``wanted`` is the clock, in MHz, that placement aims at, ``limit`` the seconds that it may take.
    """
    found_inputs, outputs = members(component)
    inputs = [*found_inputs, *inputs]
    with tempfile.TemporaryDirectory() as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        whole = run(device, wrapped(component, inputs, outputs), "read_rtlil", folder)
        around = frame(device, len(Cat(inputs)), len(Cat(outputs)))
        reached = clocks(device, folder, seeds, wanted, limit)
        reports = sorted(folder.glob("seed*.json"))
        return Measurement(whole.less(around), around, reached, filled(reports[0]) if reports else None)
