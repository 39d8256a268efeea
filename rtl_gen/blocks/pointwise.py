"""Nodes that act on each number by itself: tables, thresholds, codes to integers and back, requantisation."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, unsigned

from abc_hw.network import IntArray
from abc_hw.network.edges import Codes, Edge
from abc_hw.network.node import PointwiseNode
from abc_hw.network.nodes import Decode, Encode, Node, Requantise, Scores, Table, Threshold

from ..parts.arith import extend, range_shape, select, total
from ..parts.elastic import Elastic
from ..parts.memory import Memory
from ..parts.memory_plan import MemoryPlan, pack_fields
from .even import Line
from .lanewise import LanewiseBlock, LanewisePlan

__all__ = ["Pointwise", "PointwisePlan", "edge_shape"]

FUNCTION_CYCLES: dict[type[Node | Line], int] = {
    Table: 1, Encode: 1, Decode: 1, Threshold: 2, Requantise: 3, Line: 3, Scores: 1,
}
"""Registers from a number and its constants to the result; one for nodes of other packages."""


def edge_shape(edge: Edge) -> Shape:
    """Shape of a number of an edge."""
    if isinstance(edge, Codes):
        return unsigned(edge.bases.bits)
    return range_shape(edge.least, edge.greatest)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PointwisePlan(LanewisePlan):
    """A node that acts on each number by itself.

    Members
    -------
    node : Table, Encode, Decode, Threshold, Requantise or Scores, or what gives the codes of a Threshold
    """

    node: Node | Line

    def __post_init__(self) -> None:
        if type(self.node) not in FUNCTION_CYCLES and not isinstance(self.node, PointwiseNode):
            raise ValueError(f"A pointwise node must be one of them, not {self.node.kind}")

    @property
    def i_shape(self) -> Shape:
        """Of a number that arrives."""
        return edge_shape(self.edge)

    @cached_property
    def o_shape(self) -> Shape:
        """Of a result."""
        return edge_shape(self.node.output(self.edge))

    @property
    def latency(self) -> int:
        """Cycles from a transfer taken to its results handed out, if nothing waits."""
        return self.constant_cycles + FUNCTION_CYCLES.get(type(self.node), 1)

    # -- constants --------------------------------------------------------------------------------------------

    @cached_property
    def constants(self) -> IntArray:
        """What each channel needs, int64 [C, count]; [C, 0] where all channels are alike."""
        node, channels = self.node, self.edge.shape[2]
        match node:
            case Threshold():
                return node.thresholds
            case Requantise() | Line():
                return np.stack([node.factor, node.offset], axis=1)
            case Scores():
                return node.bias[:, None]
        return np.zeros((channels, 0), np.int64)

    @cached_property
    def stored(self) -> list[int]:
        """Indices of those constants that are not the same in all channels."""
        return [index for index, column in enumerate(self.constants.T) if (column != column[0]).any()]

    def shape_of(self, index: int) -> Shape:
        """Of a constant in all channels."""
        column = self.constants[:, index]
        return range_shape(int(column.min()), int(column.max()))

    @property
    def constant_cycles(self) -> int:
        """Cycles in which the constants of a transfer come: none where every transfer has the same."""
        return self.memory.latency + 1 if self.memory else 0

    @cached_property
    def memory(self) -> MemoryPlan | None:
        """Of the constants: a word for each transfer of a pixel, lanes in order; none where all are the same."""
        if self.words == 1 or not self.stored:
            return None
        width = self.lanes * sum(self.shape_of(index).width for index in self.stored)
        return MemoryPlan(
            width=width, words=self.words, contents=self.constant_words, held=True, registered=False,
            technology=self.technology, name="constants",
        )

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        return [] if self.memory is None else [self.memory]

    def constant_words(self) -> list[int]:
        """The stored constants of each transfer of a pixel."""
        spare = self.words * self.lanes - self.edge.shape[2]
        padded = np.concatenate([self.constants, np.repeat(self.constants[:1], spare, axis=0)])
        shapes = [self.shape_of(index) for index in self.stored]
        return [
            pack_fields([
                (int(channel[index]), shape.width)
                for channel in word for index, shape in zip(self.stored, shapes, strict=True)
            ])
            for word in padded.reshape(self.words, self.lanes, -1)
        ]


class Pointwise(LanewiseBlock[PointwisePlan]):
    """Takes a transfer in each cycle in which its output can move; results in order.

    Equals the golden function of the node's kind, lane by lane. Lanes past the last channel carry anything.

    Members
    -------
    i : In, stream of numbers;  o : Out, stream of results
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        row = Elastic(m, valid=self.i.valid, ready=self.o.ready, places=plan.latency)
        m.d.comb += [self.i.ready.eq(row.ready), self.o.valid.eq(row.valid)]
        constants = self._constants(m, row)
        for lane in range(plan.lanes):
            number = self._number(lane)
            for place in range(1, plan.constant_cycles + 1):
                number = row.held(place, number, f"number_{lane}_{place}")
            result = self._result(number, constants[lane], row, f"{lane}")
            m.d.comb += self.o.payload[lane].eq(extend(result, plan.o_shape))
        return m

    # -- constants --------------------------------------------------------------------------------------------

    def _constants(self, m: Module, row: Elastic) -> list[list[Value]]:
        """[lane][constant] of the transfer that came in ``constant_cycles`` before."""
        plan = self._plan
        count = plan.constants.shape[1]
        found: list[list[Value]] = [[] for _ in range(plan.lanes)]
        fields = self._stored(m, row) if plan.stored else [[] for _ in range(plan.lanes)]
        for lane in range(plan.lanes):
            mine = iter(fields[lane])
            for index in range(count):
                known = Const(int(plan.constants[0, index]), plan.shape_of(index))
                found[lane].append(next(mine) if index in plan.stored else known)
        return found

    def _stored(self, m: Module, row: Elastic) -> list[list[Value]]:
        """[lane][stored constant], from memory or, where a pixel is one transfer, fixed."""
        plan = self._plan
        if plan.memory is None:
            width = plan.lanes * sum(plan.shape_of(index).width for index in plan.stored)
            word: Value = Const(plan.constant_words()[0], width)
        else:
            m.submodules.constants = memory = Memory(plan.memory)
            place = Signal(range(plan.words))
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += place.eq(Mux(place == plan.words - 1, 0, place + 1))
            m.d.comb += [memory.addr.eq(place), memory.en.eq(row.moves(1))]
            word = row.held(2, memory.data, "constant_word")
        found: list[list[Value]] = []
        start = 0
        for _ in range(plan.lanes):
            found.append([])
            for index in plan.stored:
                shape = plan.shape_of(index)
                field = word[start : start + shape.width]
                found[-1].append(field.as_signed() if shape.signed else field)
                start += shape.width
        return found

    # -- functions --------------------------------------------------------------------------------------------

    def _result(self, x: Value, constants: Sequence[Value], row: Elastic, name: str) -> Value:
        """The node's function of a number, ``FUNCTION_CYCLES`` later."""
        plan, node, first = self._plan, self._plan.node, self._plan.constant_cycles + 1
        match node:
            case Table() | Decode():
                values = node.entries if isinstance(node, Table) else node.values
                entries = [Const(int(value), plan.o_shape) for value in values]
                return row.held(first, select(x, entries), f"entry_{name}")
            case Encode():
                return row.held(first, (x - node.low)[: plan.o_shape.width], f"code_{name}")
            case Scores():
                return row.held(first, extend(x + constants[0], plan.o_shape), f"score_{name}")
            case Threshold():
                above = [
                    row.held(first, x >= threshold, f"above_{name}_{n}") for n, threshold in enumerate(constants)
                ]
                return row.held(first + 1, total(above, plan.o_shape), f"level_{name}")
            case PointwiseNode():
                return row.held(first, extend(node.express(x), plan.o_shape), f"{node.kind}_{name}")
            case _:
                return self._requantise(x, constants, row, name)

    def _requantise(self, x: Value, constants: Sequence[Value], row: Elastic, name: str) -> Value:
        """``clip((x factor + offset) >> shift, low, high)``"""
        plan, node, first = self._plan, self._plan.node, self._plan.constant_cycles + 1
        assert isinstance(node, Requantise | Line)
        factor, offset = constants
        product = row.held(first, x * factor, f"product_{name}")
        late_offset = row.held(first, offset, f"offset_{name}")
        moved = row.held(first + 1, (product + late_offset) >> node.shift, f"moved_{name}")
        low, high = (Const(end, range_shape(end, end)) for end in (node.low, node.high))
        clipped = Mux(moved < low, low, Mux(moved > high, high, moved))
        return row.held(first + 2, extend(clipped, plan.o_shape), f"clipped_{name}")
