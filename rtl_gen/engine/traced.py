"""Streams inside an accelerator that a simulation compares with the golden model."""

import dataclasses

from ..parts.stream import CodeStream, MapShape

__all__ = ["Traced"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced:
    """What a layer or a unit of a graph hands on.

    Members
    -------
    name : of the layer or unit, for people
    module : of its module in the Verilog, whose port ``o`` it is
    stream, shape : how it travels, and the map that travels
    padded : do lanes past the last channel carry code 0? Otherwise nobody looks at what they carry
    """

    name: str
    module: str
    stream: CodeStream
    shape: MapShape
    padded: bool
