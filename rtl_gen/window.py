"""The window buffer: a ring of rows that hands out convolution windows word by word."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from abc_hw.network import Layer

from .arith import ceil_div, select
from .delay import delayed
from .folding import Schedule
from .loops import AffineCounter
from .stream import code_stream

__all__ = ["WindowBuffer", "ring_rows", "ring_words", "window_bounds"]


def window_bounds(schedule: Schedule) -> list[int]:
    """Bounds of the loops a layer runs per image, outermost first.

    Rows, columns, groups of channels, passes over N, passes over M, kernel rows, words of kernel columns, words
    of channels.
    """
    height, width, _ = schedule.layer.conv_shape
    return [
        height, width, schedule.groups, schedule.passes_n, schedule.passes_m,
        schedule.layer.kernel[0], schedule.column_words, schedule.channel_words,
    ]


def row_plan(layer: Layer) -> list[tuple[int, int]]:
    """For each row of windows: rows it needs from the oldest one held, and rows to let go after it."""
    height, last = layer.in_shape[0], layer.conv_shape[0] - 1
    plan = []
    for row in range(last + 1):
        top = row * layer.stride - layer.padding
        oldest = max(0, top)
        if row == last:
            plan.append((height - oldest, height - oldest))
        else:
            freed = min(height, max(0, top + layer.stride)) - oldest
            plan.append((max(min(height, top + layer.kernel[0]) - oldest, freed), freed))
    return plan


def ring_rows(layer: Layer) -> int:
    """Rows that a window buffer holds: those of a window, and those that the next one waits for."""
    plan = row_plan(layer)
    return max(need for need, _ in plan) + max(*(freed for _, freed in plan), plan[0][0])


def ring_words(schedule: Schedule) -> int:
    """Words of one row of the ring in one bank."""
    return ceil_div(schedule.layer.in_shape[1], schedule.columns) * schedule.channel_words


class WindowBuffer(wiring.Component):
    """A ring of input rows in block memory, written as pixels come, read in the order of the layer's loops.

    ::

        i --> bank 0 .. bank columns-1 --> rotate --> pad --> a
                write: pixel x to bank x mod columns
                read:  columns neighbouring pixels at any x, one from each bank

    Padding costs no memory: words that lie outside the image are read as code 0. The ring holds the rows of a
    window and those of the next one to come (of the next image too), so that writing never waits for reading
    in step with it. Equals :func:`sim.golden.windows`.

    Parameters
    ----------
    schedule : layer and folding

    Members
    -------
    i : In, stream of ``schedule.lanes`` codes, row by row, channels innermost
    row_ready : Out(1), all rows that the current row of windows needs are there
    step : In(1), read the next word;  ends : In, of the loops of :func:`window_bounds`
    a : Out, ``schedule.folding.simd`` codes, ``latency`` cycles after the step
    """

    latency = 4

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._layer = schedule.layer
        bits = unsigned(self._layer.input_bases.bits)
        super().__init__({
            "i": In(code_stream(schedule.lanes, bits)),
            "row_ready": Out(1),
            "step": In(1),
            "ends": In(1).array(len(window_bounds(schedule))),
            "a": Out(data.ArrayLayout(bits, schedule.folding.simd)),
        })

    # -- geometry -------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Rows in the ring, :func:`ring_rows`."""
        return ring_rows(self._layer)

    @property
    def row_words(self) -> int:
        """Words of one row in one bank."""
        return ring_words(self._schedule)

    # -- hardware -------------------------------------------------------------------------------------------

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row_done = Signal()
        write_bank, write_address, writing = self._write_side(m, row_done)
        self._count_rows(m, row_done)
        first_column, read_address = self._read_address(m)
        depth = self.rows * self.row_words
        next_address = Mux(read_address == depth - 1, 0, read_address + 1)
        words = []
        for bank in range(self._schedule.columns):
            width = len(Value.cast(self.i.payload))
            # A word is read long after it was written: what a read beside a write gives is of no interest, and
            # no logic shall stand behind the block memory to settle it.
            memory = Memory(shape=unsigned(width), depth=depth, init=[], attrs={"no_rw_check": 1})
            m.submodules[f"bank{bank}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                write.addr.eq(write_address),
                write.data.eq(self.i.payload),
                write.en.eq(writing & (write_bank == bank)),
            ]
            # A tile that starts in bank q takes its later columns, from the banks before q, one word on.
            late = bank < self._schedule.columns - 1
            address = Mux(first_column > bank, next_address, read_address) if late else read_address
            m.d.comb += read.addr.eq(delayed(m, Value.cast(address), 1, name=f"bank{bank}_address"))
            # Block memory answers late in its cycle: what it says goes into a register before anything else.
            words.append(delayed(m, read.data, 2, name=f"bank{bank}_word"))
        self._align(m, words, first_column)
        return m

    def _write_side(self, m: Module, row_done: Signal) -> tuple[Value, Value, Value]:
        """Where the next word goes: (bank, address, strobe)."""
        columns, width = self._schedule.columns, self._layer.in_shape[1]
        depth = self.rows * self.row_words
        words_in_row = width * self._schedule.channel_words
        writing = Signal()
        left = Signal(range(words_in_row), init=words_in_row - 1)
        bank, address = Signal(range(columns)), Signal(range(depth))
        m.d.comb += [writing.eq(self.i.valid & self.i.ready), row_done.eq(writing & (left == 0))]
        with m.If(writing):
            m.d.sync += left.eq(Mux(left == 0, words_in_row - 1, left - 1))
            turn = (bank == columns - 1) | (left == 0)
            m.d.sync += bank.eq(Mux(turn, 0, bank + 1))
            with m.If(turn):
                m.d.sync += address.eq(Mux(address == depth - 1, 0, address + 1))
        return bank, address, writing

    def _count_rows(self, m: Module, row_done: Value) -> None:
        """Rows held, rows needed: the handshake between both sides."""
        plan = row_plan(self._layer)
        held = Signal(range(self.rows + 1))
        row = Signal(range(len(plan)))
        need, freed = Signal(range(self.rows + 1), init=plan[0][0]), Signal(range(self.rows + 1), init=plan[0][1])
        # Whether the next row has room stands in a register: a row that is let go counts a cycle late.
        room = Signal(init=1)
        m.d.sync += room.eq(Mux(row_done, held < self.rows - 1, held < self.rows))
        m.d.comb += [self.row_ready.eq(held >= need), self.i.ready.eq(room)]
        row_end = self.step & self.ends[1]
        m.d.sync += held.eq(held + row_done - Mux(row_end, freed, 0))
        with m.If(row_end):
            m.d.sync += row.eq(Mux(self.ends[0], 0, row + 1))
            with m.Switch(row):
                for index in range(len(plan)):
                    following = plan[(index + 1) % len(plan)]
                    if following != plan[index]:
                        with m.Case(index):
                            m.d.sync += [need.eq(following[0]), freed.eq(following[1])]
        # Where no case matches, the next row needs what this one did.

    def _read_address(self, m: Module) -> tuple[Value, Value]:
        """(column of the tile modulo the banks, address in the bank of that column)."""
        schedule, layer = self._schedule, self._layer
        bounds = window_bounds(schedule)
        columns, row = schedule.columns, self.row_words
        per_pixel = schedule.channel_words
        padding, stride = layer.padding, layer.stride
        depth = self.rows * row
        if columns == 1:
            strides = [stride * row, stride * per_pixel, 0, 0, 0, row, per_pixel, 1]
            m.submodules.read_address = address = AffineCounter(
                bounds, strides, start=-padding * (row + per_pixel), turn=layer.in_shape[0] * row, modulus=depth
            )
            m.d.comb += address.follow(self.step, self.ends)
            return Value.cast(0), address.value
        starts = [x * stride - padding for x in range(bounds[1])]
        words = [start // columns for start in starts]
        strides = [stride * row, stride // columns, 0, 0, 0, row, 1, 0]
        m.submodules.read_address = address = AffineCounter(
            bounds, strides, start=words[0] - padding * row, turn=layer.in_shape[0] * row, modulus=depth,
            carry_level=1, carry_reach=words[-1] - words[0],
        )
        bank = Signal(range(columns), init=starts[0] % columns)
        over = bank + stride % columns >= columns
        with m.If(self.step & self.ends[2]):
            following = Mux(over, bank + (stride % columns - columns), bank + stride % columns)
            m.d.sync += bank.eq(Mux(self.ends[1], starts[0] % columns, following))
        m.d.comb += [*address.follow(self.step, self.ends), address.carry.eq(over)]
        return bank, address.value

    def _align(self, m: Module, words: list[Value], first_column: Value) -> None:
        """Columns in their order, those outside the image as code 0, in registers."""
        columns, lanes = self._schedule.columns, self._schedule.lanes
        turned = delayed(m, first_column, 3, name="first_column") if columns > 1 else first_column
        width = len(words[0])
        for column, inside in enumerate(self._inside(m)):
            word = select(turned, [words[(turn + column) % columns] for turn in range(columns)])
            register = Signal(width, name=f"column{column}", reset_less=True)
            m.d.sync += register.eq(word if inside is None else word & inside.replicate(width))
            m.d.comb += Cat(self.a[column * lanes + lane] for lane in range(lanes)).eq(register)

    def _inside(self, m: Module) -> list[Value | None]:
        """For each column of the tile, three cycles after the step: is it in image and kernel? None: always."""
        schedule, layer = self._schedule, self._layer
        bounds = window_bounds(schedule)
        height, width, _ = layer.in_shape
        columns = schedule.columns
        row_inside: Value = Value.cast(1)
        inside: list[Value] = [Value.cast(1)] * columns
        if layer.padding:
            strides_y = [layer.stride, 0, 0, 0, 0, 1, 0, 0]
            strides_x = [0, layer.stride, 0, 0, 0, 0, columns, 0]
            m.submodules.y = y = AffineCounter(bounds, strides_y, start=-layer.padding)
            m.submodules.x = x = AffineCounter(bounds, strides_x, start=-layer.padding)
            for counter in (y, x):
                m.d.comb += counter.follow(self.step, self.ends)
            row_inside = (y.value >= 0) & (y.value < height)
            inside = [(x.value + column >= 0) & (x.value + column < width) for column in range(columns)]
        tail = layer.kernel[1] - (bounds[6] - 1) * columns
        if tail < columns:
            m.submodules.tile = tile = AffineCounter(bounds, [0, 0, 0, 0, 0, 0, 1, 0])
            m.d.comb += tile.follow(self.step, self.ends)
            last_tile = tile.value == bounds[6] - 1
            inside = [value & ~last_tile if column >= tail else value for column, value in enumerate(inside)]
        return [
            delayed(m, value & row_inside, 3, name=f"inside{column}") if layer.padding or column >= tail else None
            for column, value in enumerate(inside)
        ]
