"""Area of a PE array as generated: popcounts, expansion of codes, accumulators.

    python benchmarks/array.py [--simd 64] [--pe 8]

Out of context: codes come from ports and dots go to ports. Units: LUT4 + 2 x CCU2C on ECP5, SB_LUT4 on iCE40; a
binary multiply-accumulate (bMAC) is one XNOR and its count.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from popcount import FLOWS, cells, luts

from abc_hw.network import Bases
from rtl_gen.array import PEArray

FLIP_FLOPS = ("TRELLIS_FF", "SB_DFF")


def measure(device: str, bases: int, simd: int, pe: int) -> tuple[int, int]:
    """(LUTs, flip-flops) of an array for M = N = ``bases``, all at once, dots of nine words."""
    kind = Bases(kind="thermometer", count=bases)
    array = PEArray(
        weight_bases=kind, input_bases=kind, simd=simd, pe=pe, mp=bases, np=bases, dot_length=9 * simd
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "top.il")
        source.write_text(rtlil.convert(array, name="top", emit_src=False))
        counts = cells(f"read_rtlil {source}", FLOWS[device], Path(folder))
    return luts(counts), sum(number for cell, number in counts.items() if cell.startswith(FLIP_FLOPS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simd", type=int, default=64)
    parser.add_argument("--pe", type=int, default=8)
    parser.add_argument("--devices", default="ecp5,ice40")
    parser.add_argument("--bases", default="1,3")
    options = parser.parse_args()
    print("| device | simd | pe | M = N | LUT | FF | LUT per bMAC | FF per bMAC |\n" + "|---" * 8 + "|")
    for device in options.devices.split(","):
        for bases in map(int, options.bases.split(",")):
            found = measure(device, bases, options.simd, options.pe)
            work = options.simd * options.pe * bases * bases
            each = " | ".join(f"{count / work:.2f}" for count in found)
            print(f"| {device} | {options.simd} | {options.pe} | {bases} | {found[0]} | {found[1]} | {each} |",
                  flush=True)


if __name__ == "__main__":
    sys.exit(main())
