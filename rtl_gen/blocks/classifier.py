"""The accelerator's output: scores one by one, and the index of the greatest."""

import dataclasses

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import bits_of
from ..parts.stream import CodeStream

__all__ = ["ArgMax", "ArgMaxPlan", "score_layout"]


def score_layout(score: Shape, classes: int) -> data.StructLayout:
    """Payload of the output stream: a ``score``, ``last`` with the last class, and then ``label``."""
    return data.StructLayout({"score": score, "label": range(max(classes, 2)), "last": 1})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArgMaxPlan:
    """Scores and the greatest of them.

    Members
    -------
    classes : scores of an image
    score : shape of one
    """

    classes: int
    score: Shape

    @property
    def i(self) -> CodeStream:
        """The scores."""
        return CodeStream(1, self.score)

    @property
    def layout(self) -> data.StructLayout:
        """Of a transfer of the accelerator's output, :func:`score_layout`."""
        return score_layout(self.score, self.classes)

    @property
    def latency(self) -> int:
        """Cycles from a score to it with the index so far."""
        return 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per score."""
        return self.classes

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with."""
        return {"one": 1, "score": self.score.width, "label": bits_of(self.classes)}


class ArgMax(wiring.Component):
    """Adds to the scores of an image, class 0 first, the index of the greatest; of equals the lowest.

    Equals :func:`abc_hw.sim.golden.classify`.

    Parameters
    ----------
    plan : how many, of what shape

    Members
    -------
    i : In, stream of one score per transfer
    o : Out, the same scores; ``label`` counts in the transfer with ``last`` and is the index so far before
    """

    def __init__(self, plan: ArgMaxPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.i.signature), "o": Out(stream.Signature(plan.layout))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        classes = self._plan.classes
        index = Signal(range(classes))
        best_index = Signal(range(max(classes, 2)))
        best = Signal(self._plan.score)
        score, last = self.i.payload[0], index == classes - 1
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
