"""Area of XNOR-popcounts: device x form x width, in look-up tables per binary multiply-accumulate.

    python -m benchmarks.popcount [--widths 16,64] [--devices ecp5,ice40,xc7] [--csv file]
    python -m benchmarks.popcount --registered [--widths 64] [--devices ecp5-6,hx8k]

One word comes complemented, for agreements to be counted. That costs nothing but in slices (``ccu2c``), where a
word shared by all counters is complemented once. Out of context: operands come from ports and the count goes to a
port, no register; so every look-up table counted is the popcount's own. Units: ECP5 LUT4 + 2 x CCU2C, iCE40
SB_LUT4, xc7 LUT1 to LUT6.

``--registered`` measures area and clock, with a register behind every level and three seeds, between a shift
register and a tree of parities, which are subtracted (``benchmarks/out_of_context.py``).
"""

import argparse
import csv
import itertools
import json
import sys
import tempfile
from pathlib import Path

from amaranth.back import rtlil

from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.rtl_gen.parts.popcount import PopcountPlan, XorPopcount
from abc_hw.rtl_gen.parts.popcount_forms import FORMS
from benchmarks import out_of_context
from benchmarks.cells import luts

FLOWS = {
    "ecp5 default flags": "synth_ecp5",
    "ecp5": "synth_ecp5 -nowidelut -abc9",
    "ice40": "synth_ice40 -abc9",
    "xc7": "synth_xilinx -family xc7 -abc9",
}

NAIVE = "module top(input [{top}:0] a, b, output reg [{msb}:0] o); integer i; always @* begin o = 0; " \
    "for (i = 0; i <= {top}; i = i + 1) o = o + (a[i] ~^ b[i]); end endmodule"


def cells(reader: str, flow: str, folder: Path) -> dict[str, int]:
    """Cells by type after ``flow`` on what ``reader`` reads."""
    report = folder / "stat.json"
    run_yosys(reader, f"{flow} -top top", f"tee -q -o {report} stat -json")
    return dict(json.loads(report.read_text())["design"]["num_cells_by_type"])


def measure(width: int, device: str, form: str, code: str) -> int:
    """Look-up tables of one XNOR-popcount; form ``naive`` is a sum of bits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if form == "naive":
            source = folder / "top.v"
            source.write_text(NAIVE.format(top=width - 1, msb=width.bit_length() - 1))
            reader = f"read_verilog {source}"
        else:
            source = folder / "top.il"
            count = XorPopcount(PopcountPlan(width=width, pipeline=0, form=form, code=code))
            source.write_text(rtlil.convert(count, name="top", emit_src=False))
            reader = f"read_rtlil {source}"
        return luts(cells(reader, FLOWS[device], folder))


def registered(options: argparse.Namespace) -> None:
    """The table of popcounts with a register behind every level."""
    print("| device | form | operands | width | LUT | FF | MHz |\n|---|---|---|---|---|---|---|")
    for device in options.devices.split(","):
        for form, code in itertools.product(options.forms.split(","), options.codes.split(",")):
            if form == "ccu2c" and not device.startswith("ecp5"):
                continue
            for width in map(int, options.widths.split(",")):
                found = out_of_context.measure(
                    out_of_context.DEVICES[device],
                    XorPopcount(PopcountPlan(width=width, pipeline=1, form=form, code=code)),
                )
                clocks = " ".join(f"{clock:.0f}" for clock in sorted(found.clocks))
                print(f"| {device} | {form} | {code} | {width} | {found.cost.luts} | {found.cost.flip_flops} | "
                      f"{clocks} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="16,32,64,128,256")
    parser.add_argument("--devices", default=",".join(FLOWS))
    parser.add_argument("--forms", default=",".join(["naive", *FORMS]))
    parser.add_argument("--codes", default="plain,parity")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--registered", action="store_true", help="area and clock, a register behind every level")
    options = parser.parse_args()
    if options.registered:
        registered(options)
        return
    widths = [int(width) for width in options.widths.split(",")]
    print("| device | form | operands | " + " | ".join(map(str, widths)) + " |")
    print("|---" * (len(widths) + 3) + "|")
    rows = []
    for device in options.devices.split(","):
        for form in options.forms.split(","):
            for code in options.codes.split(","):
                if (form == "naive" and code != "plain") or (form == "ccu2c" and not device.startswith("ecp5")):
                    continue
                found = [measure(width, device, form, code) for width in widths]
                each = [f"{count / width:.2f}" for count, width in zip(found, widths, strict=True)]
                print(f"| {device} | {form} | {code} | " + " | ".join(each) + " |", flush=True)
                rows += [(device, form, code, *pair) for pair in zip(widths, found, strict=True)]
    if options.csv:
        with options.csv.open("w", newline="") as target:
            writer = csv.writer(target)
            writer.writerows([("device", "form", "operands", "width", "luts"), *rows])


if __name__ == "__main__":
    sys.exit(main())
