# amaranth: UnusedElaboratable=no
"""What blocks have in common that act on each number by itself, lane by lane, in a row of registers."""

import abc
import dataclasses
from typing import Generic, TypeVar

from amaranth.hdl import Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray
from abc_hw.network.edges import Edge

from ..parts.arith import ceil_div
from ..parts.flow import Flow, in_order
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.moments import Moments, through_row
from ..parts.stream import code_stream

__all__ = ["LanewiseBlock", "LanewisePlan"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LanewisePlan(abc.ABC):
    """A block that takes a transfer in each cycle in which its output can move; results in order.

    Members
    -------
    edge : what arrives
    lanes : numbers of a transfer
    technology : what its memories can be made of
    """

    edge: Edge
    lanes: int
    technology: Technology = GENERIC

    @property
    @abc.abstractmethod
    def i_shape(self) -> Shape:
        """Of a number that arrives."""

    @property
    @abc.abstractmethod
    def o_shape(self) -> Shape:
        """Of a result."""

    @property
    @abc.abstractmethod
    def latency(self) -> int:
        """Cycles from a transfer taken to its results handed out, if nothing waits."""

    @property
    def words(self) -> int:
        """Transfers of a pixel."""
        return ceil_div(self.edge.shape[2], self.lanes)

    @property
    def transfers(self) -> int:
        """Transfers of an image."""
        return self.edge.shape[0] * self.edge.shape[1] * self.words

    @property
    def cycles(self) -> int:
        """Cycles per image: one for each transfer."""
        return self.transfers

    @property
    def flow(self) -> Flow:
        """A register holds a transfer at each of ``latency`` places."""
        return in_order(self.transfers, self.latency)

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and offered, if nobody behind waits."""
        return through_row(offered, self.latency, self.flow)


Plan = TypeVar("Plan", bound=LanewisePlan)


class LanewiseBlock(wiring.Component, Generic[Plan]):
    """A block of a :class:`LanewisePlan`.

    Members
    -------
    i : In, stream of numbers;  o : Out, stream of results
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(code_stream(plan.lanes, plan.i_shape)), "o": Out(code_stream(plan.lanes, plan.o_shape)),
        })

    @property
    def plan(self) -> Plan:
        return self._plan

    def _number(self, lane: int) -> Value:
        """What arrives in a lane."""
        number = Value.cast(self.i.payload[lane])
        return number.as_signed() if self._plan.i_shape.signed else number
