"""Block memories of the ECP5, with the register at their output in use.

Pins, words and contents as in Lattice's ECP5 memory usage guide (FPGA-TN-02204) and as Yosys maps them.
"""

import numpy as np
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

from .memory_cells import MemoryCell, Unit

__all__ = ["Dp16kd"]

ADDRESS_BITS = 14
WORDS, WORD_BITS = 1024, 18
"""Of the contents, whatever the width of the ports."""

ADDRESS_SHIFT = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5}
"""Lowest address bit in use, by width of a port."""


def initial_values(halves: list[tuple[int, np.ndarray]], width: int) -> dict[str, Const]:
    """Parameters INITVAL_xx for (first address, words) of a block whose ports have this width.

    Ports narrower than nine bits use eight bits of nine.
    """
    image = np.zeros(WORDS * WORD_BITS, np.uint8)
    for first, words in halves:
        bits = (words.astype(np.int64)[:, None] >> np.arange(width)) & 1
        at = (first + np.arange(len(words)))[:, None] * width + np.arange(width)
        image[at if width >= 9 else at // 8 * 9 + at % 8] = bits
    lines = np.zeros((WORDS, 20), np.uint8)  # 18 bits of 20
    lines[:, :WORD_BITS] = image.reshape(WORDS, WORD_BITS)
    packed = np.packbits(lines.reshape(64, 320), axis=1, bitorder="little")
    return {
        f"p_INITVAL_{index:02X}": Const(int.from_bytes(row.tobytes(), "little"), 320)
        for index, row in enumerate(packed)
    }


class Dp16kd(MemoryCell):
    """One DP16KD: a unit with a port for writing and one for reading, or one or two units with a port each."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        unit = self._units[0]
        width = unit.shape[0]
        mode = "OUTREG" if unit.registered else "NOREG"
        parameters: dict[str, object] = {
            "DATA_WIDTH_A": width, "DATA_WIDTH_B": width, "REGMODE_A": mode, "REGMODE_B": mode,
            "RESETMODE": "SYNC", "ASYNC_RESET_RELEASE": "SYNC", "CSDECODE_A": "0b000", "CSDECODE_B": "0b000",
            "CLKAMUX": "CLKA", "CLKBMUX": "CLKB", "GSR": "AUTO",
        }
        if width < 36:
            parameters |= {"WRITEMODE_A": "NORMAL", "WRITEMODE_B": "NORMAL"}
        pins: dict[str, Value] = {}
        if unit.write == "word":
            self._two_sided(m, unit, width, pins)
        else:
            for side, index in (("A", 0), ("B", 1)):
                self._one_sided(m, side, index, pins)
        contents = {}
        if unit.contents is not None:
            depth = unit.shape[1]
            halves = [(index * depth, one.contents) for index, one in enumerate(self._units)
                      if one.contents is not None]
            contents = initial_values(halves, width)
        m.submodules.block = Instance(
            "DP16KD", **{f"p_{name}": value for name, value in parameters.items()}, **contents, **pins
        )
        return m

    def _one_sided(self, m: Module, side: str, index: int, pins: dict[str, Value]) -> None:
        """A port that reads and, where it is written at all, writes."""
        if index >= len(self._units):
            outputs = Signal(WORD_BITS, name=f"unused_{side.lower()}")
            self._side(pins, side, Const(0, ADDRESS_BITS), Const(0, WORD_BITS), outputs, Const(0), Const(0))
            return
        unit, port = self._units[index], self.ports[index]
        top = [Const(index, 1)] if unit.shape[1] << ADDRESS_SHIFT[unit.shape[0]] < 1 << ADDRESS_BITS else []
        address = self._address(port.addr, unit.shape[0], top)
        outputs = Signal(WORD_BITS, name=f"read_{side.lower()}")
        written, w_data = (port.w_en, port.w_data) if unit.write == "parts" else (Const(0), Const(0))
        enable = port.en if unit.held else Const(1)
        self._side(pins, side, address, w_data, outputs, enable, written)
        m.d.comb += port.data.eq(outputs)

    def _two_sided(self, m: Module, unit: Unit, width: int, pins: dict[str, Value]) -> None:
        """Port A writes, port B reads; 36 bits wide, either takes half of its bits from the other's pins."""
        port, = self.ports
        reads = self._address(port.addr, width, [])
        writes = self._address(port.w_addr, width, [])
        enable = port.en if unit.held else Const(1)
        low, high = Signal(WORD_BITS, name="read_a"), Signal(WORD_BITS, name="read_b")
        if width < 36:
            self._side(pins, "A", writes, port.w_data, low, Const(1), port.w_en)
            self._side(pins, "B", reads, Const(0), high, enable, Const(0))
            m.d.comb += port.data.eq(high)
            return
        data = Cat(port.w_data, Const(0, 36 - unit.width)) if unit.width < 36 else port.w_data
        writes = Cat(port.w_en.replicate(4), writes[4:])  # all four bytes
        self._side(pins, "A", writes, data[:18], low, Const(1), Const(1), output=enable)
        self._side(pins, "B", reads, data[18:], high, enable, Const(0))
        m.d.comb += port.data.eq(Cat(low, high))

    @staticmethod
    def _address(address: Value, width: int, top: list[Value]) -> Value:
        shift = ADDRESS_SHIFT[width]
        free = ADDRESS_BITS - shift - len(top)
        # Of 18 bits, the lowest address bits say which bytes are written: both.
        low = Const(3 if width == 18 else 0, shift)
        whole = Cat(address, Const(0, max(free - len(address), 0)))[:free] if free else Const(0, 0)
        return Cat(low, whole, *top)

    @staticmethod
    def _side(
        pins: dict[str, Value], side: str, address: Value, data: Value, outputs: Value, enable: Value,
        write: Value, *, output: Value | None = None,
    ) -> None:
        """All pins of one port."""
        pins |= {f"i_AD{side}{bit}": address[bit] for bit in range(ADDRESS_BITS)}
        pins |= {
            f"i_DI{side}{bit}": data[bit] if bit < len(data) else Const(0) for bit in range(WORD_BITS)
        }
        pins |= {f"o_DO{side}{bit}": outputs[bit] for bit in range(WORD_BITS)}
        pins |= {
            f"i_CLK{side}": ClockSignal(), f"i_CE{side}": enable,
            f"i_OCE{side}": enable if output is None else output, f"i_WE{side}": write, f"i_RST{side}": Const(0),
            **{f"i_CS{side}{bit}": Const(0) for bit in range(3)},
        }
