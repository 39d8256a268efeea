"""The window buffer: a ring of rows that hands out convolution windows word by word."""

import dataclasses
import itertools
from collections.abc import Sequence
from functools import cached_property

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import bits_of, extend, select
from ..parts.delay import delayed
from ..parts.loops import Affine, AffineCounter, Loops, Quotient
from ..parts.memory import Memory
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.stream import CodeStream
from ..schedule import Schedule
from .masks import Masks
from .ring import Ring, row_plan

__all__ = ["WindowBuffer", "WindowPlan"]

@dataclasses.dataclass(frozen=True)
class WindowPlan:
    """Where rows are kept, and when.

    Members
    -------
    schedule : layer and folding
    technology : of its memories
    waits : cycles that a word comes later, for what must come along with it
    px_in : pixels that come at once
    """

    schedule: Schedule
    technology: Technology = GENERIC
    waits: int = 0
    px_in: int = 1

    @cached_property
    def ring(self) -> Ring:
        """How rows lie in the banks."""
        return Ring(self.schedule, self.px_in, self.waits)

    @property
    def loops(self) -> Loops:
        """In which windows are read."""
        return self.schedule.loops

    @property
    def i(self) -> CodeStream:
        """What comes in."""
        return CodeStream(self.schedule.lanes, unsigned(self.schedule.layer.input_bases.bits), self.px_in)

    @property
    def i_transfers(self) -> int:
        """Transfers that come per image."""
        return self.i.transfers(self.schedule.layer.in_shape)

    @property
    def first_column(self) -> Affine:
        """Column of the map that the first pixel of a word is on."""
        schedule, layer = self.schedule, self.schedule.layer
        return Affine(
            loops=self.loops, start=-layer.padding[2],
            strides={"column": schedule.folding.px * layer.stride[1], "kernel_column": schedule.columns},
        )

    @cached_property
    def first_banks(self) -> Sequence[int]:
        """Column banks that this pixel may be in."""
        return sorted({column % self.ring.columns for column in self.first_column.values})

    @property
    def word(self) -> CodeStream:
        """What a bank takes in and hands out: the codes of a pixel."""
        return dataclasses.replace(self.i, px=1)

    # -- memories -------------------------------------------------------------------------------------------

    @cached_property
    def bank(self) -> MemoryPlan:
        """Each of the ``banks``. A word is read long after it was written: what a read beside a write gives is of
        no interest, and no logic shall stand behind the block memory to settle it."""
        return MemoryPlan(
            name="bank", width=self.word.width, words=self.ring.words, write="word", technology=self.technology
        )

    @property
    def banks(self) -> int:
        """Row banks times column banks."""
        return self.schedule.rows * self.ring.columns

    @property
    def memories(self) -> list[MemoryPlan]:
        return [dataclasses.replace(self.bank, name=f"bank{index}") for index in range(self.banks)]

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def latency(self) -> int:
        """Cycles from a step to its word: sum and choice of the address, memory, a choice of rows where there is
        one, and of columns."""
        return 2 + self.waits + self.bank.latency + (len(self.ring.top_banks) > 1) + 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of reading, or of writing where that takes longer."""
        return max(self.schedule.cycles, self.i_transfers)

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        schedule, layer = self.schedule, self.schedule.layer
        address = bits_of(self.ring.words)
        read = schedule.span * self.word.width * schedule.rows  # bits of all pixels that are read at once
        rows, columns = schedule.rows, schedule.columns
        turned_rows = self.banks * self.word.width if len(self.ring.top_banks) > 1 else 0
        tail = schedule.column_words * columns - layer.kernel[1]  # columns that the last tile has too many
        padded = any(layer.padding)
        places = bits_of(layer.in_shape[0] + layer.padding[0]) + bits_of(layer.in_shape[1] + layer.padding[2])
        return {
            "one": 1, "address": address, "bank address": address * (self.banks - 1),
            "banks": self.banks - 1, "word": read,
            "turned word": read * (len(self.first_banks) - 1) + turned_rows * (rows - 1),
            "turned rows": turned_rows,
            "masked word": read if padded else read * tail // columns,
            "padding": places if padded else 0,
            "padded columns": rows + schedule.span - 1 if padded else 0,
            "rows": bits_of(self.ring.capacity) + bits_of(layer.conv_shape[0]),
            "input words": bits_of(self.i_transfers // layer.in_shape[0]),
        }


class WindowBuffer(wiring.Component):
    """A ring of input rows in block memory, written as pixels come, read in the order of the layer's loops.

    ::

        i --> rows x columns banks --> rotate rows --> rotate columns, pad --> a
                write: pixel x of row y to bank (y mod rows, x mod columns), px_in of them at once
                read:  neighbouring pixels at any y and x, no two from one bank; of a row as many as px output
                       pixels need

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
    a : Out, for each of px output pixels simd codes by row, column and channel, ``latency`` cycles after the step
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
            "a": Out(data.ArrayLayout(
                plan.i.shape, plan.schedule.folding.px * plan.schedule.folding.simd)),
        })

    @property
    def plan(self) -> WindowPlan:
        return self._plan

    def _ended(self, name: str) -> Value:
        """Does a loop, and all inside it, stand at its last value?"""
        return self.ends[self._plan.loops.level(name)]

    def _counted(self, m: Module, name: str, affine: Affine, *, modulus: int, turn: int = 0) -> AffineCounter:
        m.submodules[name] = counter = AffineCounter(
            affine.loops, affine.strides, start=affine.start, turn=turn, modulus=modulus
        )
        m.d.comb += counter.follow(self.step, self.ends)
        return counter

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
                memory.write.addr.eq(write_address), memory.write.data.eq(self._written(bank)),
                memory.write.en.eq(strobe),
                memory.addr.eq(delayed(m, read_address, 1 + self._plan.waits, name=f"bank{bank}_address")),
            ]
            words.append(memory.data)
        self._align_columns(m, self._align_rows(m, words, first_row), first_column)
        return m

    def _written(self, bank: int) -> Value:
        """The pixel that goes into a bank."""
        plan = self._plan
        pixel, width = bank % self._ring.columns % plan.px_in, plan.word.width
        return self.i.payload.as_value()[pixel * width : (pixel + 1) * width]

    def _write_side(self, m: Module, row_done: Signal) -> tuple[Value, list[Value]]:
        """Where the next transfer goes: (address, a strobe for each bank)."""
        schedule, ring, plan = self._schedule, self._ring, self._plan
        rows, words, turns = schedule.rows, schedule.channel_words, ring.columns // plan.px_in
        in_row = plan.i_transfers // schedule.layer.in_shape[0]
        writing = Signal()
        left = Signal(range(in_row), init=in_row - 1)
        word, turn = Signal(range(words)), Signal(range(turns))
        address = Signal(range(ring.words if rows == 1 else ring.pitch))
        m.d.comb += [writing.eq(self.i.valid & self.i.ready), row_done.eq(writing & (left == 0))]
        with m.If(writing):
            m.d.sync += left.eq(Mux(left == 0, in_row - 1, left - 1))
            m.d.sync += word.eq(Mux(word == words - 1, 0, word + 1))
            wraps = address == ring.words - 1 if rows == 1 else left == 0
            m.d.sync += address.eq(Mux(wraps, 0, address + 1))
            with m.If(word == words - 1):
                moves_on = (turn == turns - 1) | (left == 0)
                m.d.sync += turn.eq(Mux(moves_on, 0, turn + 1))
                with m.If(~moves_on):  # the next pixels are in other banks, at the same words
                    m.d.sync += address.eq(address - (words - 1))
        here = [writing & (turn == bank // plan.px_in) for bank in range(ring.columns)]
        if rows == 1:
            return address, here
        row_bank, slot = Signal(range(rows)), Signal(range(ring.slots))
        with m.If(row_done):
            m.d.sync += row_bank.eq(Mux(row_bank == rows - 1, 0, row_bank + 1))
            with m.If(row_bank == rows - 1):
                m.d.sync += slot.eq(Mux(slot == ring.slots - 1, 0, slot + 1))
        return Cat(address, slot), [(row_bank == row) & strobe for row in range(rows) for strobe in here]

    def _count_rows(self, m: Module, row_done: Value) -> None:
        """Rows held, rows needed: the handshake between both sides."""
        plan = row_plan(self._schedule.layer)
        rows = range(self._ring.capacity + 1)
        # Of each row of windows: what it needs, what goes with it, and that and what the next one needs together.
        following = (*plan[1:], plan[0])
        states = [(need, freed, freed + then) for (need, freed), (then, _) in zip(plan, following, strict=True)]
        held = Signal(rows)
        row = Signal(range(len(plan)))
        need, freed = Signal(rows, init=states[0][0], name="need"), Signal(rows, init=states[0][1])
        then = Signal(range(2 * self._ring.capacity + 1), init=states[0][2], name="then")
        row_end = self.step & self._ended("column")
        late = delayed(m, row_end, self._plan.waits, name="let_go", reset_less=False)
        kept = Signal(rows, name="kept") if self._plan.waits else held  # with rows that are still to be read
        gone = delayed(m, freed, self._plan.waits, name="freed_late")
        for count, of, less in ((held, row_end, freed), (kept, late, gone))[: 1 + (kept is not held)]:
            # Whether a row ends is known last, then whether one is complete: all is ready for either.
            m.d.sync += count.eq(
                Mux(of, Mux(row_done, count - less + 1, count - less), Mux(row_done, count + 1, count))
            )
        # Whether the rows that are needed are there stands in a register: no step waits for a comparison.
        ready = Signal(init=int(not states[0][0]), name="ready")
        m.d.sync += ready.eq(Mux(
            row_end, Mux(row_done, held + 1 >= then, held >= then), Mux(row_done, held + 1 >= need, held >= need),
        ))
        # So does whether the next row has room: a row that is let go counts a cycle late.
        room = Signal(init=1)
        m.d.sync += room.eq(Mux(row_done, kept < self._ring.capacity - 1, kept < self._ring.capacity))
        m.d.comb += [self.row_ready.eq(ready), self.i.ready.eq(room)]
        with m.If(row_end):
            m.d.sync += row.eq(Mux(self._ended("row"), 0, row + 1))
            with m.Switch(row):
                for index, state in enumerate(states):
                    moved = states[(index + 1) % len(states)]
                    if moved != state:
                        with m.Case(index):
                            m.d.sync += [need.eq(moved[0]), freed.eq(moved[1]), then.eq(moved[2])]
        # Where no case matches, the next row needs what this one did.

    def _read_side(self, m: Module) -> tuple[Value, Value, list[Value]]:
        """(row bank of the tile's first row, which of the plan's first column banks, address in each bank), a
        cycle late."""
        schedule, ring = self._schedule, self._ring
        first_column, address = self._read_address(m)
        words = schedule.channel_words
        following = address + words
        if schedule.rows == 1:
            wraps = ring.words - words
            following = Mux(address >= wraps, address - wraps, following) if wraps else address
        # Pixels from bank q on take their later ones, from the banks before q, the words of a pixel further on.
        highest = self._plan.first_banks[-1]
        addresses = [
            Mux(first_column > bank, following, address) if bank < highest else address
            for bank in range(ring.columns)
        ]
        turn = _looked_up(m, first_column, _places(self._plan.first_banks), "first_turn")
        if schedule.rows == 1:
            return Const(0), turn, addresses
        first_row, slots = self._read_slots(m)
        word = unsigned((ring.pitch - 1).bit_length())
        return first_row, turn, [Cat(extend(one, word), slot) for slot in slots for one in addresses]

    def _read_address(self, m: Module) -> tuple[Value, Value]:
        """(column bank of the first pixel, address in that bank).

        With several row banks it is the address within a slot; outside the image it can be any.
        """
        schedule, layer, ring = self._schedule, self._schedule.layer, self._ring
        row, modulus = (ring.row_words, ring.words) if schedule.rows == 1 else (0, 0)
        down, top, first = layer.stride[0], layer.padding[0], self._plan.first_column
        bank: Value = Const(0)
        if ring.columns > 1:
            bank = self._counted(m, "read_bank", first, modulus=ring.columns).value
        m.submodules.read_address = address = AffineCounter(
            self._plan.loops,
            {"row": down * row, "kernel_row": row, "seen": schedule.dot_words, "channel_word": 1},
            start=-top * row, turn=layer.in_shape[0] * row, modulus=modulus,
            plus=Quotient(of=first, divisor=ring.columns, step=schedule.channel_words), late=1,
        )
        m.d.comb += [*address.follow(self.step, self.ends), address.rest.eq(bank)]
        return delayed(m, bank, 1, name="first_bank"), address.value

    def _read_slots(self, m: Module) -> tuple[Value, list[Value]]:
        """(row bank of the top row of the window, slot in each row bank)."""
        layer, ring, rows = self._schedule.layer, self._ring, self._schedule.rows
        affine = Affine(loops=self._plan.loops, strides={"row": layer.stride[0]}, start=-layer.padding[0])
        counter = self._counted(m, "read_row", affine, turn=layer.in_shape[0], modulus=ring.rows)
        top = delayed(m, counter.value, 1, name="top_row")
        first_row: Value = Const(ring.top_banks[0])
        if len(ring.top_banks) > 1:
            first_row = _looked_up(m, top, [place % rows for place in range(ring.rows)], "first_row")
        return first_row, [
            _looked_up(m, top, [ring.slot_of(bank, place) for place in range(ring.rows)], f"slot{bank}")
            for bank in range(rows)
        ]

    def _align_rows(self, m: Module, words: list[Value], first_row: Value) -> list[list[Value]]:
        """Words of the banks by row of the window and column bank."""
        rows, columns, first = self._schedule.rows, self._ring.columns, self._ring.top_banks
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

    def _align_columns(self, m: Module, rows: list[list[Value]], turn: Value) -> None:
        """Columns in their order, those outside the image as code 0, in registers."""
        schedule, layer, first = self._schedule, self._schedule.layer, self._plan.first_banks
        lanes, tile = schedule.lanes, schedule.columns
        turned = delayed(m, turn, self._plan.latency - 2, name="first_turn") if len(first) > 1 else turn
        masks = Masks(m, schedule, self._plan.first_column, self._plan.latency - 1, self.step, self.ends)
        registers: dict[tuple[int, int, bool], Signal] = {}
        places = itertools.product(range(schedule.folding.px), range(schedule.rows), range(tile))
        for place, (pixel, row, column) in enumerate(places):
            across = pixel * layer.stride[1] + column
            key = row, across, masks.reaches_out(column)
            if key not in registers:
                banks = rows[row]
                word = select(turned, [banks[(bank + across) % len(banks)] for bank in first])
                registers[key] = Signal(len(word), name=f"column{len(registers)}", reset_less=True)
                m.d.sync += registers[key].eq(masks.masked(word, *key))
            m.d.comb += Cat(self.a[place * lanes + lane] for lane in range(lanes)).eq(registers[key])


def _places(banks: Sequence[int]) -> list[int]:
    """For each bank up to the last of ``banks`` how many of these come before it."""
    return [sum(other < bank for other in banks) for bank in range(banks[-1] + 1)]


def _looked_up(m: Module, index: Value, table: Sequence[int], name: str) -> Value:
    """``table[index]``, in logic."""
    value = Signal(range(max(table) + 1), name=name)
    with m.Switch(index):
        for entry in sorted({*table} - {0}):
            with m.Case(*(place for place, one in enumerate(table) if one == entry)):
                m.d.comb += value.eq(entry)
    return value
