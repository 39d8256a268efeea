"""AXI4-Stream and AXI4-Lite as members of a component, under the names that AXI gives them."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LITE_ADDRESS_BITS", "Response", "lite_members", "stream_members"]

LITE_ADDRESS_BITS = 8
"""Bits of an address, in bytes, of the registers."""


class Response:
    """RRESP and BRESP."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


def stream_members(prefix: str, bits: int, *, sends: bool) -> dict[str, wiring.Member]:
    """A stream that the component takes, or ``sends``: TDATA of ``bits``, TKEEP, TLAST, TVALID, TREADY."""
    forth, back = (Out, In) if sends else (In, Out)
    return {
        f"{prefix}_tdata": forth(bits), f"{prefix}_tkeep": forth(bits // 8), f"{prefix}_tlast": forth(1),
        f"{prefix}_tvalid": forth(1), f"{prefix}_tready": back(1),
    }


def lite_members(prefix: str) -> dict[str, wiring.Member]:
    """A subordinate's five channels of 32 bits, without AWPROT and ARPROT, which it would not look at."""
    return {
        f"{prefix}_{name}": member for name, member in {
            "awaddr": In(LITE_ADDRESS_BITS), "awvalid": In(1), "awready": Out(1),
            "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
            "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
            "araddr": In(LITE_ADDRESS_BITS), "arvalid": In(1), "arready": Out(1),
            "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
        }.items()
    }

