"""Options of Yosys for each part, with what speaks for them.

Measured with Yosys 0.70 on the networks that ``boards.platforms`` names for the boards. That Yosys maps with ABC9
unless told otherwise: ``-abc9`` changes no number on any of these parts.
"""

__all__ = ["ECP5", "GOWIN", "ICE40_HX", "ICE40_UP"]

ICE40_HX = ""
"""5,079 LUTs for digits-lenet-m3n3 at 16,000 cycles per image, with ``-abc9`` the same."""

ICE40_UP = "-device u -dsp -spram"
"""The part's own delays, multipliers where alphas are fixed-point, and its large memories for the weights: of
mnist-lenet-m1n1's they hold 64 kbit, for which 16 of the 30 block RAMs would be needed."""

ECP5 = "-nowidelut"
"""Wide multiplexers built of LUT pairs keep a placer from packing carry chains: fewer slices without
(docs/performance.md). 3,560 LUTs for mnist-lenet-m3n3 at 200,000 cycles per image, with ``-abc9`` the same."""

GOWIN = ""
"""1,828 four-input LUTs for digits-lenet-m3n3 at 16,000 cycles per image, with ``-abc9`` the same."""
