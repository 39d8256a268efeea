# amaranth: UnusedElaboratable=no
"""One layer's engine: from a stream of codes to a stream of codes."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property, reduce
from typing import Any

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..blocks.array import ArrayPlan, PEArray
from ..blocks.pixels import PixelAdapter, PixelPlan
from ..blocks.pool import MaxPool, PoolPlan
from ..blocks.queue import Queue, QueuePlan
from ..blocks.ring import row_plan
from ..blocks.scale import ScalePlan, ScaleUnit
from ..blocks.threshold import OutputPlan, OutputUnit
from ..blocks.weights import WeightsPlan
from ..blocks.window import WindowBuffer, WindowPlan
from ..parts.arith import bits_of, ceil_div
from ..parts.delay import delayed
from ..parts.flow import Flow
from ..parts.loops import AffineCounter, LoopNest
from ..parts.matches import LayerNumbers
from ..parts.memory import Memory
from ..parts.memory_mapping import TECHNOLOGIES, Technology
from ..parts.memory_plan import write_signature
from ..parts.moments import Moments
from ..parts.stream import CodeStream
from ..parts.timing import Taken
from ..schedule import LayerFolding, Schedule
from .loading import Load
from .timing import LayerTiming, layer_moments

__all__ = ["LayerEngine", "LayerPlan"]


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer under a folding.

    Members
    -------
    numbers : of the layer, and whether its weights are loaded
    folding : how much is done at once
    pipeline : adder levels between registers of the popcounts
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    large : have large memories of the part been set aside for the weights?
    px_in : pixels that come at once
    px_out : pixels that leave at once, before a pool; None: as the array and the pool have them

    Raises
    ------
    InputError
        if the folding does not fit the layer.
    """

    numbers: LayerNumbers
    folding: LayerFolding
    pipeline: int = 1
    target: str = "generic"
    large: bool = False
    px_in: int = 1
    px_out: int | None = None

    def __post_init__(self) -> None:
        self.schedule  # noqa: B018 - refuses a folding that does not fit

    @cached_property
    def schedule(self) -> Schedule:
        """What is done when."""
        return Schedule(self.numbers.layer, self.folding)

    @property
    def technology(self) -> Technology:
        """Of memories."""
        return TECHNOLOGIES[self.target]

    @property
    def name(self) -> str:
        return self.numbers.layer.name

    # -- blocks ---------------------------------------------------------------------------------------------

    @cached_property
    def window(self) -> WindowPlan:
        """Its words come no sooner than those of the weights can."""
        window = WindowPlan(self.schedule, self.technology, px_in=self.px_in)
        lacking = self.weights.memory.latency - self.array.weight_delay - window.latency
        return dataclasses.replace(window, waits=max(lacking, 0))

    @cached_property
    def array(self) -> ArrayPlan:
        layer, folding = self.numbers.layer, self.folding
        return ArrayPlan(
            weight_bases=layer.weight_bases, input_bases=layer.input_bases, simd=folding.simd, pe=folding.pe,
            mp=folding.mp, np=folding.np, px=folding.px, dot_length=layer.dot_length, pipeline=self.pipeline,
            target=self.target,
        )

    @cached_property
    def weights(self) -> WeightsPlan:
        return WeightsPlan(
            self.numbers, self.schedule, self.technology, array=self.array, large=self.large
        )

    @cached_property
    def scale(self) -> ScalePlan:
        """It tells of matches as early as their constants take to come."""
        constants = OutputPlan(self.numbers, self.schedule, self.technology).constants
        return ScalePlan(self.numbers, self.schedule, self.technology, wanted_ahead=constants.latency)

    @cached_property
    def output(self) -> OutputPlan:
        return OutputPlan(self.numbers, self.schedule, self.technology, ahead=self.scale.ahead)

    @cached_property
    def queue(self) -> QueuePlan:
        schedule = self.schedule
        return QueuePlan(
            i=self.output.o, per_group=self.folding.pe // schedule.out_lanes, group_cycles=schedule.group_cycles,
            under_way=self.work_latency, transfers=self.output.o.transfers(schedule.layer.conv_shape),
            apart=schedule.pixel_items,
            technology=self.technology,
        )

    @cached_property
    def pixels(self) -> PixelPlan | None:
        """From the pixels of the array to such as leave, or as the pool can take; None where they are."""
        layer, px = self.numbers.layer, self.folding.px
        wanted = px if not px % layer.pool or not layer.pool % px else ceil_div(px, layer.pool) * layer.pool
        wanted = wanted if self.px_out is None else self.px_out
        if wanted == px:
            return None
        o = dataclasses.replace(self.queue.o, px=wanted)
        return PixelPlan(shape=layer.conv_shape, i=self.queue.o, o=o, technology=self.technology)

    @cached_property
    def pool(self) -> PoolPlan | None:
        """None where the layer has none."""
        layer = self.numbers.layer
        if layer.pool == 1:
            return None
        return PoolPlan(shape=layer.conv_shape, side=layer.pool, i=self._queued, technology=self.technology)

    @property
    def _queued(self) -> CodeStream:
        """What leaves but for a pool."""
        return self.queue.o if self.pixels is None else self.pixels.o

    @cached_property
    def loads(self) -> Mapping[str, Load]:
        """What is loaded, by the name of the member of :class:`LayerEngine` that writes it, in order."""
        scale, output = self.scale, self.output
        found = {}
        if self.numbers.loaded:
            found["write_weights"] = Load(self.weights.memory, self.weights.contents)
        if scale.alphas.write != "none":
            found["write_alphas"] = Load(scale.alphas, scale.alpha_words)
        if scale.betas is not None:
            found["write_betas"] = Load(scale.betas.memory, scale.betas.contents)
        if output.loaded:
            found["write_constants"] = Load(output.constants, output.contents)
        return found

    @property
    def blocks(self) -> dict[str, Any]:
        """Plans by name, in the order of the data."""
        found = {
            "window": self.window, "control": self, "weights": self.weights, "array": self.array,
            "scale": self.scale, "output": self.output, "queue": self.queue, "pixels": self.pixels,
            "pool": self.pool,
        }
        return {name: plan for name, plan in found.items() if plan is not None}

    # -- streams and cycles ---------------------------------------------------------------------------------

    @property
    def i(self) -> CodeStream:
        """What comes in."""
        return self.window.i

    @property
    def o(self) -> CodeStream:
        """What leaves."""
        return self._queued if self.pool is None else self.pool.o

    @property
    def work_latency(self) -> int:
        """Cycles from the step of a group's last word to its first codes."""
        return self.window.latency + self.array.latency + self.scale.latency + self.output.latency

    @property
    def latency(self) -> int:
        """Cycles from the step of a group's last word to its first codes at ``o``."""
        behind = (plan.latency for plan in (self.pixels, self.pool) if plan is not None)
        return self.work_latency + self.queue.latency + sum(behind)

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of the slowest block."""
        plans = (self.window, self.scale, self.output, self.queue, self.pixels, self.pool)
        return max(plan.cycles for plan in plans if plan is not None)

    def timing(self, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind it."""
        for plan in (self.pool, self.pixels):
            if plan is not None:
                after = plan.timing(after)
        return LayerTiming(self.window, self.output, self.queue, after).take

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and offered, if nobody behind waits; for one pixel that comes at a time."""
        found = layer_moments(self.window, self.output, self.queue, offered)
        given = found.given
        for plan in (self.pixels, self.pool):
            given = given if plan is None else plan.moments(given).given
        return Moments(found.taken, given)

    @cached_property
    def flow(self) -> Flow:
        """Rows come before the windows on them; while an output waits, the ring of rows and the queue fill up."""
        layer, schedule, queue = self.numbers.layer, self.schedule, self.queue
        rows = row_plan(layer)
        need, freed = (np.array([row[index] for row in rows], np.int64) for index in (0, 1))
        released = np.cumsum(freed) - freed  # before each row of windows
        transfers = self.window.i_transfers
        row_transfers = transfers // layer.in_shape[0]
        per_row = schedule.out_transfers * schedule.pixel_groups
        outputs = np.arange(per_row * len(rows), dtype=np.int64)
        needed = (released + need)[outputs // per_row] * row_transfers
        # Groups begin as long as the queue has room for all that one brings; a row's rows go after its last group.
        in_last_group = schedule.out_transfers - (schedule.channel_groups - 1) * queue.per_group
        begun = (outputs + queue.capacity - queue.per_group + in_last_group) // per_row  # rows of windows, in all
        image, row = np.divmod(begun, len(rows))
        before = image * layer.in_shape[0] + released[row]
        flow = Flow(transfers, needed, (before + self.window.ring.capacity) * row_transfers)
        behind = (plan.flow for plan in (self.pixels, self.pool) if plan is not None)
        return reduce(Flow.then, behind, flow)

    # -- control --------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> Mapping[str, float]:
        """What the logic between the blocks grows with."""
        counted = self.schedule.loops.counted
        passes = [bound for bound in (self.schedule.passes_m, self.schedule.passes_n) if bound > 1]
        return {
            "one": 1, "loops": len(counted), "loop bits": sum(map(bits_of, counted)),
            "weight address": bits_of(self.weights.words), "passes": len(passes),
            "queue bits": bits_of(self.queue.depth),
        }

    @property
    def memories(self) -> list[Any]:
        """None of its own."""
        return []


class LayerEngine(wiring.Component):
    """A convolution or fully connected layer, thresholds and pooling included.

    ::

        i --> window buffer --> PE array --> scale unit --> output unit --> queue --> (max-pool) --> o
                    ^              ^             ^                            |
                  loops ---> weights         alpha ROM         room <---------+
                    ^                                            |
                    +-------- may a group of work begin? --------+

    From the first word of a group of work to its codes in the queue nothing can wait: the loops begin a group only
    if its window rows are there and the queue has room for what it will bring. So no register between needs an
    enable, and the array runs without a bubble as long as input comes and output is taken.

    Equals :func:`abc_hw.sim.golden.run_layer`.

    Parameters
    ----------
    plan : layer and folding

    Members
    -------
    i : In, stream of input codes
    o : Out, stream of output codes (scores of the classifier)
    write_weights, write_alphas, write_betas, write_constants : In, those of ``plan.loads``: write their memories,
        :func:`abc_hw.rtl_gen.parts.memory_plan.write_signature`
    """

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        writes = {name: In(write_signature(load.memory)) for name, load in plan.loads.items()}
        super().__init__({"i": In(plan.i.signature), "o": Out(plan.o.signature), **writes})

    @property
    def plan(self) -> LayerPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        m.submodules.window = window = WindowBuffer(plan.window)
        m.submodules.loops = nest = LoopNest(plan.schedule.loops)
        m.submodules.array = array = PEArray(plan.array)
        m.submodules.scale = scale = ScaleUnit(plan.scale)
        m.submodules.output = output = OutputUnit(plan.output)
        wiring.connect(m, wiring.flipped(self.i), window.i)

        queued, room = self._build_queue(m, nest, output)
        loops = nest.loops
        group_begins = nest.begins[loops.level(loops.inside("group"))]
        m.d.comb += [window.step.eq(nest.step), *map(Value.eq, window.ends, nest.ends)]
        m.d.comb += nest.step.eq(
            (~group_begins | room) & (~nest.begins[loops.level("column")] | window.row_ready)
        )
        self._feed_array(m, nest, window, array)
        for block, names in ((scale, ("write_alphas", "write_betas")), (output, ("write_constants",))):
            for name in names:
                if name in plan.loads:
                    wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(block, name))
        m.d.comb += [
            scale.dots.eq(array.dots),
            scale.load.eq(array.complete),
            output.matches.eq(scale.matches),
            output.i_soon.eq(scale.soon),
        ]
        wiring.connect(m, self._build_pool(m, queued), wiring.flipped(self.o))
        return m

    def _feed_array(self, m: Module, nest: LoopNest, window: WindowBuffer, array: PEArray) -> None:
        """Weights, activations and flags of a word, all the window's latency after its step."""
        late, loops = self._plan.window.latency, nest.loops
        m.d.comb += [
            array.a.eq(window.a),
            array.w.as_value().eq(self._read_weights(m, nest)),
            array.word.eq(delayed(m, nest.step, late, name="word", reset_less=False)),
            array.last.eq(delayed(m, nest.ends[loops.level("kernel_row")], late, name="last")),
        ]
        weights_late = late + self._plan.array.weight_delay
        for loop, name, wait in (("pass_m", "group_m", weights_late), ("pass_n", "group_n", late)):
            if loops.bounds[loop] > 1:
                m.submodules[name] = counter = AffineCounter(loops, {loop: 1})
                m.d.comb += counter.follow(nest.step, nest.ends)
                m.d.comb += getattr(array, name).eq(delayed(m, counter.value, wait, name=name))

    def _read_weights(self, m: Module, nest: LoopNest) -> Value:
        """The weight word of a step, the array's ``weight_delay`` after the window's."""
        plan, weights = self._plan, self._plan.weights
        m.submodules.weights = memory = Memory(weights.memory)
        if plan.numbers.loaded:
            wiring.connect(m, wiring.flipped(self.write_weights), memory.write)
        waits = plan.window.latency + plan.array.weight_delay - weights.memory.latency
        m.submodules.weight_addr = address = AffineCounter(nest.loops, weights.strides, late=waits)
        m.d.comb += [*address.follow(nest.step, nest.ends), memory.addr.eq(address.value)]
        return memory.data

    def _build_queue(
        self, m: Module, nest: LoopNest, output: OutputUnit
    ) -> tuple[wiring.PureInterface, Value]:
        """The queue behind the output unit as a stream, and whether it has room for one more group."""
        plan, schedule = self._plan.queue, self._plan.schedule
        m.submodules.queue = queue = Queue(plan)
        m.d.comb += [queue.w_data.eq(output.o), queue.w_en.eq(output.valid)]
        in_last_group = schedule.out_transfers - (schedule.channel_groups - 1) * plan.per_group
        free = Signal(range(plan.depth + 1), init=plan.depth)
        loops = nest.loops
        taken = Mux(nest.at_last[loops.level("group")], in_last_group, plan.per_group)
        begins = nest.step & nest.begins[loops.level(loops.inside("group"))]
        # What leaves the queue counts three cycles late: no step waits for a sum and a comparison, and the way
        # from the queue to the loops, which lie far apart in large arrays, has cycles of its own.
        left, room = delayed(m, queue.left, 2, name="left", reset_less=False), Signal(init=1)
        m.d.sync += free.eq(free - Mux(begins, taken, 0) + left)
        m.d.sync += room.eq(Mux(begins, free >= 2 * plan.per_group, free >= plan.per_group))
        return queue.o, room

    def _build_pool(self, m: Module, queued: wiring.PureInterface) -> wiring.PureInterface:
        """Other pixels, and max-pool, on the queue's stream, where the layer has them."""
        if self._plan.pixels is not None:
            m.submodules.pixels = pixels = PixelAdapter(self._plan.pixels)
            wiring.connect(m, queued, pixels.i)
            queued = pixels.o
        if self._plan.pool is None:
            return queued
        m.submodules.pool = pool = MaxPool(self._plan.pool)
        wiring.connect(m, queued, pool.i)
        return pool.o
