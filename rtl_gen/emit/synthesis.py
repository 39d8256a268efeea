"""Options of Yosys for each part, with what speaks for them.

Not among them is ``-abc9``: Yosys 0.70 maps with ABC9 anyway, and the option changed no cell count of
digits-lenet-m3n3 on ``hx8k`` and ``tangnano9k`` at 16,000 cycles per image, nor of mnist-lenet-m3n3 on
``orangecrab-25f`` at 200,000. To compare: put it here and look at ``top.rpt`` of ``abc-hw build``.
"""

__all__ = ["ASIC", "ECP5", "GOWIN", "ICE40_HX", "ICE40_UP"]

ICE40_HX = ""

ICE40_UP = "-device u -dsp -spram"
"""The part's own delays, multipliers where alphas are fixed-point, and its large memories for the weights."""

ECP5 = "-nowidelut"
"""Wide multiplexers built of LUT pairs take slices that carry chains want (docs/performance.md)."""

GOWIN = ""

ASIC = (
    "setattr -unset init w:*", "synth -flatten -top {top} -run begin:fine",
    "opt -fast -full", "opt -undriven -fine", "techmap", "opt -fast",
    "dfflegalize -cell $_DFF_P_ x -cell $_DFFE_PP_ x -cell $_SDFF_PP?_ x -cell $_SDFFE_PP?P_ x",
    "abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX,AOI3,OAI3,AOI4,OAI4", "opt -fast", "opt_clean -purge",
)
"""To gates of two to four inputs and flip-flops; memories stay whole, where a macro goes."""
