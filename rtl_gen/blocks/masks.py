"""What lies outside the map, or outside the kernel, in the words of a window buffer."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Value

from ..parts.delay import delayed
from ..parts.loops import Affine, AffineCounter
from ..schedule import Schedule

__all__ = ["Masks"]


class Masks:
    """What becomes of words that lie outside the map, or outside the kernel.

    Parameters
    ----------
    m : that it is part of
    schedule : layer and folding
    first : column of the map that the first pixel of a word is on
    late : cycles from a step to the word before its last register
    step, ends : of the window buffer's loops
    """

    def __init__(
        self, m: Module, schedule: Schedule, first: Affine, late: int, step: Value, ends: Iterable[Value]
    ) -> None:
        self._m, self._schedule, self._late = m, schedule, late
        layer = schedule.layer
        self._down: list[Value] = []
        self._along: list[Value] = []
        self._in_kernel: Value | None = None
        self._tail = layer.kernel[1] - (schedule.column_words - 1) * schedule.columns

        def counted(name: str, affine: Affine) -> Value:
            m.submodules[name] = counter = AffineCounter(affine.loops, affine.strides, start=affine.start)
            m.d.comb += counter.follow(step, ends)
            return counter.value

        if any(layer.padding):
            height, width, _ = layer.in_shape
            y = counted("y", Affine(
                loops=first.loops, strides={"row": layer.stride[0], "kernel_row": 1}, start=-layer.padding[0]))
            x = counted("x", first)
            each_y = [y, *(y + row for row in range(1, schedule.rows))]
            self._down = [(value >= 0) & (value < height) for value in each_y]
            self._along = [(x + column >= 0) & (x + column < width) for column in range(schedule.span)]
        if self._tail < schedule.columns:
            tile = counted("tile", Affine(loops=first.loops, strides={"kernel_column": 1}))
            self._in_kernel = tile != schedule.column_words - 1

    def reaches_out(self, column: int) -> bool:
        """Does a column of the tile lie outside the kernel in its last tile?"""
        return column >= self._tail

    def masked(self, word: Value, row: int, across: int, reaches_out: bool) -> Value:
        """A word as it goes into the last register: the padding code outside the map, code 0 outside the kernel.
        """
        layer, lanes = self._schedule.layer, self._schedule.lanes
        code = layer.padding_code
        on_map = self._down[row] & self._along[across] if self._down else None
        in_kernel = self._in_kernel if reaches_out else None
        if code and on_map is not None:
            filling = Cat(Const(code, layer.input_bases.bits) for _ in range(lanes))
            word = Mux(self._delayed(~on_map, f"outside{row}_{across}"), filling, word)
            inside = in_kernel
        else:
            found = [value for value in (on_map, in_kernel) if value is not None]
            inside = Cat(found).all() if found else None
        if inside is None:
            return word
        late = self._delayed(inside, f"inside{row}_{across}{'_tail' * (in_kernel is not None)}")
        return word & late.replicate(len(word))

    def _delayed(self, value: Value, name: str) -> Value:
        return delayed(self._m, value, self._late, name=name)
