"""The accelerator's output: scores one by one, and the index of the greatest."""

import dataclasses

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import bits_of
from ..parts.stream import CodeStream
from ..parts.timing import Row, Taken

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
        return 3

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per score."""
        return self.classes

    def timing(self, after: Taken) -> Taken:
        """When scores are taken, with ``after`` behind it."""
        return Row(after, self.latency).take

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
        moves = ~self.o.valid | self.o.ready
        index = Signal(range(classes))
        at_last = index == classes - 1

        def register(name: str, shape: ShapeLike = 1) -> Signal:
            return Signal(shape, name=name, reset_less=True)

        # The score that is compared next, and the one whose comparison is known.
        there, compared = Signal(name="there"), Signal(name="compared")
        score, compared_score = register("score", self._plan.score), register("compared_score", self._plan.score)
        place, compared_place = register("place", range(classes)), register("compared_place", range(classes))
        last, compared_last = register("last"), register("compared_last")
        first = register("first")
        better = Signal()  # than all before it
        best, best_index = register("best", self._plan.score), register("best_index", range(max(classes, 2)))
        # Both that may be the greatest so far are compared at once: no sum waits for which of them it is. The
        # score before stays where it is while none comes, and then is the greatest if it was better.
        greater = Mux(better, (compared_score - score)[-1], (best - score)[-1])
        m.d.comb += self.i.ready.eq(moves)
        with m.If(moves):
            m.d.sync += [
                there.eq(self.i.valid), score.eq(self.i.payload[0]), place.eq(index), first.eq(index == 0),
                last.eq(at_last),
                compared.eq(there), self.o.valid.eq(compared), self.o.payload.score.eq(compared_score),
                self.o.payload.last.eq(compared_last),
                self.o.payload.label.eq(Mux(better, compared_place, best_index)),
            ]
            with m.If(self.i.valid):
                m.d.sync += index.eq(Mux(at_last, 0, index + 1))
            with m.If(there):
                m.d.sync += [
                    compared_score.eq(score), compared_place.eq(place), compared_last.eq(last),
                    better.eq(first | greater),
                ]
            with m.If(better):
                m.d.sync += [best.eq(compared_score), best_index.eq(compared_place)]
        return m
