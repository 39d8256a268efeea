"""The window buffer: a ring of rows that hands out convolution windows word by word."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..cost.memories import GENERIC, Technology
from ..parts.arith import bits_of, extend, select
from ..parts.delay import delayed
from ..parts.loops import AffineCounter, Loops
from ..parts.memory import Memory, MemoryPlan
from ..parts.stream import CodeStream
from ..schedule import Schedule
from .ring import Ring, row_plan

__all__ = ["WindowBuffer", "WindowPlan"]

Mask = Callable[[Value], Value]
"""What becomes of a word of the tile."""


@dataclasses.dataclass(frozen=True)
class WindowPlan:
    """Where rows are kept, and when.

    Members
    -------
    schedule : layer and folding
    technology : of its memories
    waits : cycles that a word comes later, for what must come along with it
    """

    schedule: Schedule
    technology: Technology = GENERIC
    waits: int = 0

    @cached_property
    def ring(self) -> Ring:
        """How rows lie in the banks."""
        return Ring(self.schedule)

    @property
    def loops(self) -> Loops:
        """In which windows are read."""
        return self.schedule.loops

    @property
    def i(self) -> CodeStream:
        """What comes in."""
        return CodeStream(self.schedule.lanes, unsigned(self.schedule.layer.input_bases.bits))

    # -- memories -------------------------------------------------------------------------------------------

    @cached_property
    def bank(self) -> MemoryPlan:
        """Each of the ``banks``. A word is read long after it was written: what a read beside a write gives is of
        no interest, and no logic shall stand behind the block memory to settle it."""
        return MemoryPlan(
            name="bank", width=self.i.width, words=self.ring.words, write="word", technology=self.technology
        )

    @property
    def banks(self) -> int:
        """Row banks times column banks."""
        return self.schedule.rows * self.schedule.columns

    @property
    def memories(self) -> list[MemoryPlan]:
        return [dataclasses.replace(self.bank, name=f"bank{index}") for index in range(self.banks)]

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def latency(self) -> int:
        """Cycles from a step to its word: address, memory, a choice of rows where there is one, and of columns."""
        return 1 + self.waits + self.bank.latency + (len(self.ring.top_banks) > 1) + 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of reading, or of writing where that takes longer."""
        return max(self.schedule.cycles, self.schedule.in_transfers)

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        schedule, layer = self.schedule, self.schedule.layer
        address = bits_of(self.ring.words)
        word = schedule.folding.simd * layer.input_bases.bits
        rows, columns = schedule.rows, schedule.columns
        turned_rows = word if len(self.ring.top_banks) > 1 else 0
        tail = schedule.column_words * columns - layer.kernel[1]  # columns that the last tile has too many
        padded = any(layer.padding)
        places = bits_of(layer.in_shape[0] + layer.padding[0]) + bits_of(layer.in_shape[1] + layer.padding[2])
        return {
            "one": 1, "address": address, "bank address": address * (self.banks - 1),
            "banks": self.banks - 1, "word": word,
            "turned word": word * (columns - 1) + turned_rows * (rows - 1), "turned rows": turned_rows,
            "masked word": word if padded else word * tail // columns,
            "padding": places if padded else 0,
            "padded columns": rows + columns - 1 if padded else 0,
            "rows": bits_of(self.ring.rows) + bits_of(layer.conv_shape[0]),
            "input words": bits_of(layer.in_shape[1] * schedule.channel_words),
        }


class WindowBuffer(wiring.Component):
    """A ring of input rows in block memory, written as pixels come, read in the order of the layer's loops.

    ::

        i --> rows x columns banks --> rotate rows --> rotate columns, pad --> a
                write: pixel x of row y to bank (y mod rows, x mod columns)
                read:  rows x columns neighbouring pixels at any y and x, one from each bank

    Padding costs no memory: words that lie outside the image are read as code 0. The ring holds the rows of a
    window and those of the next one to come (of the next image too), so that writing never waits for reading
    in step with it. Equals :func:`abc_hw.sim.golden.windows`.

    Parameters
    ----------
    plan : where rows are kept, and when

    Members
    -------
    i : In, stream of codes, row by row, channels innermost
    row_ready : Out(1), all rows that the current row of windows needs are there
    step : In(1), read the next word;  ends : In, of the plan's loops
    a : Out, simd codes by row, column and channel, ``latency`` cycles after the step
    """

    def __init__(self, plan: WindowPlan) -> None:
        self._plan = plan
        self._schedule = plan.schedule
        self._ring = plan.ring
        super().__init__({
            "i": In(plan.i.signature),
            "row_ready": Out(1),
            "step": In(1),
            "ends": In(1).array(len(plan.loops.bounds)),
            "a": Out(data.ArrayLayout(plan.i.shape, plan.schedule.folding.simd)),
        })

    @property
    def plan(self) -> WindowPlan:
        return self._plan

    def _ended(self, name: str) -> Value:
        """Does a loop, and all inside it, stand at its last value?"""
        return self.ends[self._plan.loops.level(name)]

    def _counter(
        self, strides: Mapping[str, int], *, start: int = 0, turn: int = 0, modulus: int = 0
    ) -> AffineCounter:
        return AffineCounter(self._plan.loops, strides, start=start, turn=turn, modulus=modulus)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row_done = Signal()
        write_address, strobes = self._write_side(m, row_done)
        self._count_rows(m, row_done)
        first_row, first_column, read_addresses = self._read_side(m)
        words = []
        for bank, (strobe, read_address) in enumerate(zip(strobes, read_addresses, strict=True)):
            m.submodules[f"bank{bank}"] = memory = Memory(self._plan.bank)
            m.d.comb += [
                memory.write.addr.eq(write_address), memory.write.data.eq(self.i.payload),
                memory.write.en.eq(strobe),
                memory.addr.eq(delayed(m, read_address, 1 + self._plan.waits, name=f"bank{bank}_address")),
            ]
            words.append(memory.data)
        self._align_columns(m, self._align_rows(m, words, first_row), first_column)
        return m

    def _write_side(self, m: Module, row_done: Signal) -> tuple[Value, list[Value]]:
        """Where the next word goes: (address, a strobe for each bank)."""
        schedule, ring = self._schedule, self._ring
        rows, columns = schedule.rows, schedule.columns
        words_in_row = schedule.layer.in_shape[1] * schedule.channel_words
        writing = Signal()
        left = Signal(range(words_in_row), init=words_in_row - 1)
        bank, address = Signal(range(columns)), Signal(range(ring.words if rows == 1 else ring.pitch))
        m.d.comb += [writing.eq(self.i.valid & self.i.ready), row_done.eq(writing & (left == 0))]
        with m.If(writing):
            m.d.sync += left.eq(Mux(left == 0, words_in_row - 1, left - 1))
            turn = (bank == columns - 1) | (left == 0)
            m.d.sync += bank.eq(Mux(turn, 0, bank + 1))
            with m.If(turn):
                wraps = address == ring.words - 1 if rows == 1 else left == 0
                m.d.sync += address.eq(Mux(wraps, 0, address + 1))
        if rows == 1:
            return address, [writing & (bank == column) for column in range(columns)]
        row_bank, slot = Signal(range(rows)), Signal(range(ring.slots))
        with m.If(row_done):
            m.d.sync += row_bank.eq(Mux(row_bank == rows - 1, 0, row_bank + 1))
            with m.If(row_bank == rows - 1):
                m.d.sync += slot.eq(Mux(slot == ring.slots - 1, 0, slot + 1))
        return Cat(address, slot), [
            writing & (row_bank == row) & (bank == column) for row in range(rows) for column in range(columns)
        ]

    def _count_rows(self, m: Module, row_done: Value) -> None:
        """Rows held, rows needed: the handshake between both sides."""
        plan = row_plan(self._schedule.layer)
        rows = range(self._ring.rows + 1)
        held = Signal(rows)
        row = Signal(range(len(plan)))
        need, freed = Signal(rows, init=plan[0][0]), Signal(rows, init=plan[0][1])
        # Whether the next row has room stands in a register: a row that is let go counts a cycle late.
        room = Signal(init=1)
        m.d.sync += room.eq(Mux(row_done, held < self._ring.rows - 1, held < self._ring.rows))
        m.d.comb += [self.row_ready.eq(held >= need), self.i.ready.eq(room)]
        row_end = self.step & self._ended("column")
        m.d.sync += held.eq(held + row_done - Mux(row_end, freed, 0))
        with m.If(row_end):
            m.d.sync += row.eq(Mux(self._ended("row"), 0, row + 1))
            with m.Switch(row):
                for index in range(len(plan)):
                    following = plan[(index + 1) % len(plan)]
                    if following != plan[index]:
                        with m.Case(index):
                            m.d.sync += [need.eq(following[0]), freed.eq(following[1])]
        # Where no case matches, the next row needs what this one did.

    def _read_side(self, m: Module) -> tuple[Value, Value, list[Value]]:
        """(row bank of the tile's first row, column bank of its first column, address in each bank)."""
        schedule, ring = self._schedule, self._ring
        first_column, address = self._read_address(m)
        following = address + 1
        if schedule.rows == 1:
            following = Mux(address == ring.words - 1, 0, following)
        # A tile that starts in bank q takes its later columns, from the banks before q, one word on.
        addresses = [
            Mux(first_column > bank, following, address) if bank < schedule.columns - 1 else address
            for bank in range(schedule.columns)
        ]
        if schedule.rows == 1:
            return Const(0), first_column, addresses
        first_row, slots = self._read_slots(m)
        word = unsigned((ring.pitch - 1).bit_length())
        return first_row, first_column, [Cat(extend(one, word), slot) for slot in slots for one in addresses]

    def _read_address(self, m: Module) -> tuple[Value, Value]:
        """(column of the tile modulo the banks, address in the bank of that column).

        With several row banks it is the address within a slot; outside the image it can be any.
        """
        schedule, layer = self._schedule, self._schedule.layer
        columns, per_pixel = schedule.columns, schedule.channel_words
        row, modulus = (self._ring.row_words, self._ring.words) if schedule.rows == 1 else (0, 0)
        (top, _, left, _), (down, stride) = layer.padding, layer.stride
        if columns == 1:
            strides = {
                "row": down * row, "column": stride * per_pixel, "seen": schedule.dot_words, "kernel_row": row,
                "kernel_column": per_pixel, "channel_word": 1,
            }
            m.submodules.read_address = address = self._counter(
                strides, start=-top * row - left * per_pixel, turn=layer.in_shape[0] * row, modulus=modulus
            )
            m.d.comb += address.follow(self.step, self.ends)
            return Const(0), address.value
        starts = [x * stride - left for x in range(layer.conv_shape[1])]
        words = [start // columns for start in starts]
        m.submodules.read_address = address = AffineCounter(
            self._plan.loops,
            {"row": down * row, "column": stride // columns, "kernel_row": row, "kernel_column": 1},
            start=words[0] - top * row, turn=layer.in_shape[0] * row, modulus=modulus,
            carry_loop="column", carry_reach=words[-1] - words[0],
        )
        bank = Signal(range(columns), init=starts[0] % columns)
        over = bank + stride % columns >= columns
        with m.If(self.step & self._ended("seen")):
            following = Mux(over, bank + (stride % columns - columns), bank + stride % columns)
            m.d.sync += bank.eq(Mux(self._ended("column"), starts[0] % columns, following))
        m.d.comb += [*address.follow(self.step, self.ends), address.carry.eq(over)]
        return bank, address.value

    def _read_slots(self, m: Module) -> tuple[Value, list[Value]]:
        """(row bank of the top row of the window, slot in each row bank)."""
        layer, ring, rows = self._schedule.layer, self._ring, self._schedule.rows
        m.submodules.read_row = top = self._counter(
            {"row": layer.stride[0]}, start=-layer.padding[0], turn=layer.in_shape[0], modulus=ring.rows
        )
        m.d.comb += top.follow(self.step, self.ends)
        first_row: Value = Const(ring.top_banks[0])
        if len(ring.top_banks) > 1:
            first_row = _looked_up(m, top.value, [place % rows for place in range(ring.rows)], "first_row")
        return first_row, [
            _looked_up(m, top.value, [ring.slot_of(bank, place) for place in range(ring.rows)], f"slot{bank}")
            for bank in range(rows)
        ]

    def _align_rows(self, m: Module, words: list[Value], first_row: Value) -> list[list[Value]]:
        """Words of the banks by row of the window and column bank."""
        rows, columns, first = self._schedule.rows, self._schedule.columns, self._ring.top_banks
        banks = [words[row * columns : (row + 1) * columns] for row in range(rows)]
        if len(first) == 1:
            return [banks[(first[0] + row) % rows] for row in range(rows)]
        turned = delayed(m, first_row, 1 + self._plan.waits + self._plan.bank.latency, name="first_row")
        return [
            [
                delayed(
                    m, select(turned, [banks[(turn + row) % rows][bank] for turn in range(rows)]), 1,
                    name=f"row{row}_bank{bank}",
                )
                for bank in range(columns)
            ]
            for row in range(rows)
        ]

    def _align_columns(self, m: Module, rows: list[list[Value]], first_column: Value) -> None:
        """Columns in their order, those outside the image as code 0, in registers."""
        columns, lanes = self._schedule.columns, self._schedule.lanes
        late = self._plan.latency - 1
        turned = delayed(m, first_column, late, name="first_column") if columns > 1 else first_column
        places = [(banks, column) for banks in rows for column in range(columns)]
        for place, ((banks, column), inside) in enumerate(zip(places, self._inside(m), strict=True)):
            word = select(turned, [banks[(turn + column) % columns] for turn in range(columns)])
            register = Signal(len(word), name=f"column{place}", reset_less=True)
            m.d.sync += register.eq(word if inside is None else inside(word))
            m.d.comb += Cat(self.a[place * lanes + lane] for lane in range(lanes)).eq(register)

    def _inside(self, m: Module) -> list[Mask | None]:
        """For each pixel of the tile, what becomes of its word, a cycle before it; None: it stays."""
        schedule, layer = self._schedule, self._schedule.layer
        rows, columns = schedule.rows, schedule.columns
        on_map = self._on_map(m) if any(layer.padding) else [None] * (rows * columns)
        tail = layer.kernel[1] - (schedule.column_words - 1) * columns
        in_kernel: Value | None = None
        if tail < columns:
            m.submodules.tile = tile = self._counter({"kernel_column": 1})
            m.d.comb += tile.follow(self.step, self.ends)
            in_kernel = tile.value != schedule.column_words - 1
        return [
            self._mask(m, place, on_map[place], in_kernel if place % columns >= tail else None)
            for place in range(rows * columns)
        ]

    def _on_map(self, m: Module) -> list[Value | None]:
        """For each pixel of the tile: does it lie on the map?"""
        schedule, layer = self._schedule, self._schedule.layer
        height, width, _ = layer.in_shape
        m.submodules.y = y = self._counter({"row": layer.stride[0], "kernel_row": 1}, start=-layer.padding[0])
        m.submodules.x = x = self._counter(
            {"column": layer.stride[1], "kernel_column": schedule.columns}, start=-layer.padding[2]
        )
        for counter in (y, x):
            m.d.comb += counter.follow(self.step, self.ends)
        each_y = [y.value, *(y.value + row for row in range(1, schedule.rows))]
        down = [(value >= 0) & (value < height) for value in each_y]
        along = [(x.value + column >= 0) & (x.value + column < width) for column in range(schedule.columns)]
        return [row & column for row in down for column in along]

    def _mask(self, m: Module, place: int, on_map: Value | None, in_kernel: Value | None) -> Mask | None:
        """Outside the map a word is the padding code, outside the kernel code 0."""
        late, code = self._plan.latency - 1, self._schedule.layer.padding_code
        if code and on_map is not None:
            outside = delayed(m, ~on_map, late, name=f"outside{place}")
            kernel = None if in_kernel is None else delayed(m, in_kernel, late, name=f"inside{place}")
            filling = Cat(Const(code, self._plan.i.shape) for _ in range(self._schedule.lanes))
            return lambda word: _where(kernel, Mux(outside, filling, word))
        inside = [value for value in (on_map, in_kernel) if value is not None]
        if not inside:
            return None
        both = delayed(m, Cat(inside).all(), late, name=f"inside{place}")
        return lambda word: _where(both, word)


def _where(inside: Value | None, word: Value) -> Value:
    """The word, or all code 0."""
    return word if inside is None else word & inside.replicate(len(word))


def _looked_up(m: Module, index: Value, table: Sequence[int], name: str) -> Value:
    """``table[index]``, in logic."""
    value = Signal(range(max(table) + 1), name=name)
    with m.Switch(index):
        for entry in sorted({*table} - {0}):
            with m.Case(*(place for place, one in enumerate(table) if one == entry)):
                m.d.comb += value.eq(entry)
    return value
