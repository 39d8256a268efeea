"""The accelerator's output: scores one by one, and the index of the greatest."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.stream import code_stream

__all__ = ["ArgMax", "score_layout"]


def score_layout(score: Shape, classes: int) -> data.StructLayout:
    """Payload of the output stream: a ``score``, ``last`` with the last class, and then ``label``."""
    return data.StructLayout({"score": score, "label": range(max(classes, 2)), "last": 1})


class ArgMax(wiring.Component):
    """Adds to the scores of an image, class 0 first, the index of the greatest; of equals the lowest.

    Equals :func:`abc_hw.sim.golden.classify`.

    Members
    -------
    i : In, stream of one score per transfer
    o : Out, the same scores; ``label`` counts in the transfer with ``last`` and is the index so far before
    """

    def __init__(self, *, classes: int, score: Shape) -> None:
        self._classes, self._score = classes, score
        super().__init__({
            "i": In(code_stream(1, score)),
            "o": Out(stream.Signature(score_layout(score, classes))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        index = Signal(range(self._classes))
        best_index = Signal(range(max(self._classes, 2)))
        best = Signal(self._score)
        score, last = self.i.payload[0], index == self._classes - 1
        better = (index == 0) | (score > best)
        filled = Signal()
        m.d.comb += [self.o.valid.eq(filled), self.i.ready.eq(~filled | self.o.ready)]
        with m.If(self.o.ready):
            m.d.sync += filled.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                filled.eq(1),
                self.o.payload.score.eq(score),
                self.o.payload.last.eq(last),
                self.o.payload.label.eq(Mux(better, index, best_index)),
                index.eq(Mux(last, 0, index + 1)),
            ]
            with m.If(better):
                m.d.sync += [best.eq(score), best_index.eq(index)]
        return m
