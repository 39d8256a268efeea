"""First in, first out, on a memory whose output register is in use."""

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .delay import delayed
from .memory import Memory, MemoryPlan
from .memory_mapping import GENERIC, Technology

__all__ = ["Fifo", "fifo_latency", "fifo_memory"]


def fifo_memory(*, width: int, words: int, technology: Technology = GENERIC) -> MemoryPlan:
    """The memory of a :class:`Fifo` that holds at least ``words`` words and one more."""
    return MemoryPlan(
        name="storage", width=width, words=max(words, 1), write="word", held=True, technology=technology
    )


class Fifo(wiring.Component):
    """First in, first out; a word each cycle on both sides.

    Parameters
    ----------
    plan : :func:`fifo_memory`

    Members
    -------
    w_en, w_data : In, takes a word in;  w_rdy : Out, there is room; who knows that there is need not look
    r_rdy, r_data : Out, the oldest word, if there is one;  r_en : In, it is taken
    """

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        width = unsigned(plan.width)
        super().__init__({
            "w_en": In(1), "w_data": In(width), "w_rdy": Out(1), "r_rdy": Out(1), "r_data": Out(width),
            "r_en": In(1),
        })

    @property
    def latency(self) -> int:
        """Cycles from a word that finds it empty to the same word at the output."""
        return fifo_latency(self._plan)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = storage = Memory(self._plan)
        words = self._plan.words
        head, tail = Signal(range(max(words, 2))), Signal(range(max(words, 2)))
        level, filled = Signal(range(words + 1), name="level"), Signal()  # words that are not yet on their way out
        moves, leaves = Signal(), Signal()
        m.d.comb += [
            self.w_rdy.eq(level != words),
            moves.eq(~self.r_rdy | self.r_en),
            leaves.eq(moves & filled),
            storage.addr.eq(tail), storage.en.eq(moves), self.r_data.eq(storage.data),
            storage.write.addr.eq(head), storage.write.data.eq(self.w_data), storage.write.en.eq(self.w_en),
            self.r_rdy.eq(delayed(
                m, leaves, self._plan.latency, name="under_way", reset_less=False, enable=moves
            )),
        ]
        # Whether a word leaves is known last: all is ready for either.
        m.d.sync += [
            level.eq(Mux(leaves, level + self.w_en - 1, level + self.w_en)),
            filled.eq(self.w_en | Mux(leaves, level > 1, level > 0)),
        ]
        for place, step in ((head, self.w_en), (tail, leaves)):
            with m.If(step):
                m.d.sync += place.eq(_after(place, words))
        return m


def fifo_latency(plan: MemoryPlan) -> int:
    """:attr:`Fifo.latency`."""
    return 1 + plan.latency


def _after(place: Signal, words: int) -> Value:
    return Mux(place == words - 1, 0, place + 1)
