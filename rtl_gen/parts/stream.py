"""Streams of codes: what travels in a transfer.

A map H x W x C of codes travels row by row; of each row come groups of ``px`` pixels, of each group the channels
in transfers of ``lanes``, lowest channel first. Pixels past the end of a row and lanes past the last channel carry
code 0.
"""

import dataclasses

from amaranth.hdl import Shape
from amaranth.lib import data, stream

from .arith import ceil_div

__all__ = ["CodeStream", "MapShape", "code_stream"]

MapShape = tuple[int, int, int]
"""Height, width and channels of a map."""


@dataclasses.dataclass(frozen=True)
class CodeStream:
    """What travels in a transfer: ``px`` pixels of ``lanes`` channels each, the first pixel lowest.

    Members
    -------
    lanes : channels of each pixel
    shape : of a code (or of a score, or of any other number)
    px : neighbouring pixels of a row
    """

    lanes: int
    shape: Shape
    px: int = 1

    @property
    def width(self) -> int:
        """Bits of the payload."""
        return self.px * self.lanes * self.shape.width

    @property
    def payload(self) -> data.ArrayLayout:
        """Shape of a transfer."""
        return data.ArrayLayout(self.shape, self.px * self.lanes)

    @property
    def signature(self) -> stream.Signature:
        """The stream, for a port."""
        return stream.Signature(self.payload)

    def place(self, pixel: int, lane: int) -> int:
        """Index in the payload of a pixel's lane."""
        return pixel * self.lanes + lane

    def pixel_groups(self, shape: MapShape) -> int:
        """Groups of pixels of a map."""
        return shape[0] * ceil_div(shape[1], self.px)

    def channel_words(self, channels: int) -> int:
        """Transfers of a group of pixels of so many channels."""
        return ceil_div(channels, self.lanes)

    def transfers(self, shape: MapShape) -> int:
        """Transfers of a map."""
        return self.pixel_groups(shape) * self.channel_words(shape[2])


def code_stream(lanes: int, shape: Shape) -> stream.Signature:
    """The stream of one pixel's codes at a time."""
    return CodeStream(lanes, shape).signature
