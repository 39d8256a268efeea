"""What a device says of itself, and what it must say if it computes a network."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan, WeightSource
from abc_hw.rtl_gen.engine.design import AnyPlan, folded_names, plan_of
from abc_hw.rtl_gen.folding import KNOBS, LayerFolding
from abc_hw.rtl_gen.parts.arith import ceil_div
from abc_hw.rtl_gen.parts.popcount import TARGETS

from . import link
from .link import CHUNK, DIGEST_BYTES, MAGIC, MAX_CHUNKS, MAX_WEIGHT_CHUNKS, VERSION, chunks

Folding = tuple[int, int, int, int, int]


def _said(wire: str, least: int = 0, most: int | None = None, *, network: bool = True, **options: Any) -> Any:
    """A field: its code on the wire (of :mod:`struct`), the numbers that it may be, and whether the network
    and the design that the device tells decide it."""
    if most is None and wire in "BHI":
        most = (1 << 8 * struct.calcsize(f"<{wire}")) - 1
    return dataclasses.field(metadata={"wire": wire, "least": least, "most": most, "network": network}, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """What a device says of itself.

    Members
    -------
    digest : first bytes of the network's digest; where weights are loaded, of its digest without what is loaded
    height, width, channels : of an image;  code_bits : of an input code
    classes : scores of an image;  score_bytes : of one score, signed
    window : images that may wait for their scores at once
    clock : Hz;  cycles : least cycles between images
    load_bytes : of the weights that are loaded; 0 where they are fixed
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`, which decides the code of weights
    foldings : the knobs of each layer where weights are loaded, which decide their order; none elsewhere
    load_tag : what the weights that are there, or that are coming, belong to, :func:`.link.weights_tag`
    load_next : chunk of them that is wanted next
    """

    digest: bytes = _said(f"{DIGEST_BYTES}s")
    height: int = _said("H", 1)
    width: int = _said("H", 1)
    channels: int = _said("H", 1)
    classes: int = _said("H", 1)
    code_bits: int = _said("B", 1, 8)
    score_bytes: int = _said("B", 1, 8)
    window: int = _said("B", 1)
    clock: int = _said("I", 1, network=False)
    cycles: int = _said("I", 1)
    load_bytes: int = _said("I", 0, MAX_WEIGHT_CHUNKS * CHUNK, default=0)
    target: str = _said("12s", default="generic")
    foldings: tuple[Folding, ...] = _said("B", default=())
    load_tag: int = _said("I", network=False, default=0)
    load_next: int = _said("H", network=False, default=0)

    FIXED: ClassVar[struct.Struct]  # magic, version, and all up to the number of foldings
    FOLDING: ClassVar[struct.Struct] = struct.Struct("<2H2BH")
    STATE: ClassVar[struct.Struct]  # load_tag and load_next

    @classmethod
    def of(cls, design: AnyPlan, *, clock: int, buffer: int | None = None) -> Identity:
        """Of a device with that accelerator and a packet buffer of so many bytes, None being the usual, before
        anything is loaded."""
        network = design.network
        height, width, channels = network.input_shape
        size = height * width * channels
        if buffer is None:
            buffer = link.buffer_bytes(size)
        loading: dict[str, Any] = {}
        if isinstance(design, AcceleratorPlan) and design.loads:
            loading = {
                "load_bytes": 2 * design.gate.load_transfers,
                "target": design.target,
                "foldings": tuple(dataclasses.astuple(folding) for folding in design.foldings.values()),
            }
        return cls(
            digest=link.design_digest(network, design.weights), height=height, width=width, channels=channels,
            classes=design.o_transfers, code_bits=network.input.bases.bits,
            score_bytes=ceil_div(design.o_layout["score"].width, 8), window=link.window(size, buffer),
            clock=clock, cycles=design.cycles, **loading,
        )

    # -- on the wire ----------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        *fixed, target, foldings, load_tag, load_next = values
        return (
            self.FIXED.pack(MAGIC, VERSION, *fixed, target.encode(), len(foldings))
            + b"".join(self.FOLDING.pack(*knobs) for knobs in foldings)
            + self.STATE.pack(load_tag, load_next)
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Identity:
        """
        Raises
        ------
        InputError
            if this is not the identity of a device that speaks this version of the link, or one that no device
            can have.
        """
        if payload[:4] != MAGIC:
            raise InputError(f"device: expected the identity {MAGIC!r}, found {payload[:4]!r}")
        if payload[4:5] not in (bytes([VERSION]), b""):
            raise InputError(f"device: expected version {VERSION} of the link, found {payload[4]}")
        least = cls.FIXED.size + cls.STATE.size
        layers = payload[cls.FIXED.size - 1] if len(payload) >= least else 0
        size = least + layers * cls.FOLDING.size
        if len(payload) != size:
            raise InputError(f"device: expected an identity of {size} bytes, found {len(payload)}")
        _, _, *fixed, target, _ = cls.FIXED.unpack_from(payload)
        foldings = tuple(cls.FOLDING.iter_unpack(payload[cls.FIXED.size : -cls.STATE.size]))
        state = cls.STATE.unpack_from(payload, size - cls.STATE.size)
        name = target.rstrip(b"\0").decode("ascii", "backslashreplace")
        names = (field.name for field in dataclasses.fields(cls))
        identity = cls(**dict(zip(names, (*fixed, name, foldings, *state), strict=True)))
        identity._check()
        return identity

    # -- what may be ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        """InputError if no device can be so, whatever it computes."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least, most = field.metadata["least"], field.metadata["most"]
            if isinstance(value, int) and not least <= value <= most:
                raise InputError(f"device: expected {_label(field.name)} from {least} to {most}, found {value}")
        for name, (expected, holds) in _RULES.items():
            if not holds(self):
                found = _shown(getattr(self, name))
                raise InputError(f"device: expected {_label(name)} {expected}, found {found}")

    def differs(self, expected: Identity) -> str | None:
        """The first thing that ``expected`` says otherwise, of all that a network and a design decide:
        "window 3, found 7"; None where both say the same."""
        for field in dataclasses.fields(self):
            wanted, found = getattr(expected, field.name), getattr(self, field.name)
            if field.metadata["network"] and wanted != found:
                return f"{_label(field.name, loads=self.load_bytes > 0)} {_shown(wanted)}, found {_shown(found)}"
        return None

    def design_of(self, network: Network | Graph) -> AnyPlan:
        """The design of ``network`` that the device says it has; of foldings that are not told, any.

        Raises
        ------
        InputError
            if the foldings do not fit the network.
        """
        layers = folded_names(network)
        if not self.load_bytes:
            return plan_of(network, {name: LayerFolding() for name in layers})
        if len(self.foldings) != len(layers):
            raise InputError(f"foldings: expected {len(layers)}, one for each layer, found {len(self.foldings)}")
        foldings = {
            name: LayerFolding(**dict(zip(KNOBS, knobs, strict=True)))
            for name, knobs in zip(layers, self.foldings, strict=True)
        }
        return plan_of(network, foldings, weights=self.loads_of(network), target=self.target)

    def loads_of(self, network: Network | Graph) -> WeightSource:
        """What the device takes, if it computes the network."""
        if not self.load_bytes:
            return "rom"
        return "trained" if self.digest == link.design_digest(network, "trained") else "loaded"

    def check(self, network: Network | Graph) -> None:
        """
        Raises
        ------
        InputError
            if a device that says so computes another network, or not in the way in which it says.
        """
        wanted = dataclasses.replace(self, digest=link.design_digest(network, self.loads_of(network)))
        difference = self.differs(wanted)  # of another network there is no design to compare with
        if difference is None:
            few = self.window == link.window(self.image_bytes, link.LEAST_BUFFER)
            expected = Identity.of(
                self.design_of(network), clock=self.clock, buffer=link.LEAST_BUFFER if few else None
            )
            if not self.load_bytes:
                expected = dataclasses.replace(expected, cycles=self.cycles)  # its foldings are not told
            difference = self.differs(expected)
        if difference is not None:
            raise InputError(f"expected a device with {network.name}, {difference}")

    # -- sizes ----------------------------------------------------------------------------------------------

    @property
    def image_bytes(self) -> int:
        return self.height * self.width * self.channels

    @property
    def loaded(self) -> bool:
        """Are the weights there?"""
        return self.load_next == chunks(self.load_bytes)

    def has_weights_of(self, network: Network | Graph) -> bool:
        """Are the weights fixed, or those of the network?"""
        return not self.load_bytes or (self.loaded and self.load_tag == link.weights_tag(network.digest))

    @property
    def scores_per_frame(self) -> int:
        """Scores of a full SCORES frame."""
        return link.scores_per_frame(self.score_bytes)


_WIRE = [field.metadata["wire"] for field in dataclasses.fields(Identity)]
Identity.FIXED = struct.Struct(f"<{len(MAGIC)}sB{''.join(_WIRE[:-2])}")
Identity.STATE = struct.Struct(f"<{''.join(_WIRE[-2:])}")

_RULES: Mapping[str, tuple[str, Callable[[Identity], bool]]] = {
    "image_bytes": (
        f"of at most {MAX_CHUNKS * CHUNK}", lambda told: told.image_bytes <= MAX_CHUNKS * CHUNK
    ),
    "load_bytes": ("to be even", lambda told: told.load_bytes % 2 == 0),
    "target": (f"to be one of {', '.join(TARGETS)}", lambda told: told.target in TARGETS),
    "foldings": (
        "where weights are loaded, and nowhere else", lambda told: bool(told.foldings) == bool(told.load_bytes)
    ),
    "load_next": ("no further than there are weights", lambda told: told.load_next <= chunks(told.load_bytes)),
    "load_tag": ("0 where nothing is loaded", lambda told: told.load_bytes > 0 or told.load_tag == 0),
}
"""What holds of every device: name of a field, what it must be in words, and whether it is."""


def _label(name: str, *, loads: bool = False) -> str:
    return "digest without weights" if name == "digest" and loads else name.replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value).encode("unicode_escape").decode()  # a device's text goes to no terminal as it is
