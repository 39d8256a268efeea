# amaranth: UnusedElaboratable=no
"""One layer's engine: from a stream of codes to a stream of codes."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..blocks.array import PEArray
from ..blocks.pool import MaxPool
from ..blocks.ring import window_bounds
from ..blocks.scale import ScaleUnit
from ..blocks.threshold import OutputUnit, output_shape
from ..blocks.window import WindowBuffer
from ..folding import Schedule
from ..parts.arith import ceil_div
from ..parts.delay import delayed
from ..parts.loops import AffineCounter, LoopNest
from ..parts.ram import Ram, write_signature
from ..parts.rom import Rom
from ..parts.stream import code_stream

__all__ = ["LayerEngine", "queue_depth"]

ROW, COLUMN, GROUP, PASS_N, PASS_M, KERNEL_ROW, COLUMN_WORD, CHANNEL_WORD = range(8)
"""Loops of :func:`abc_hw.rtl_gen.blocks.ring.window_bounds`, outermost first."""


def queue_depth(schedule: Schedule, latency: int) -> int:
    """:attr:`LayerEngine.queue_depth` of an engine of that latency."""
    per_group = schedule.folding.pe // schedule.out_lanes
    under_way = ceil_div(latency + schedule.scale_items + 5, schedule.group_cycles) + 1
    return (under_way + 1) * per_group


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
    schedule : layer and folding
    pipeline : adder levels between registers of the popcounts
    loaded : are the weights written from outside, or fixed?
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`

    Members
    -------
    i : In, stream of ``schedule.lanes`` input codes
    o : Out, stream of ``schedule.out_lanes`` output codes (scores of the classifier)
    write : In, if ``loaded``: writes the weight memory, :func:`abc_hw.rtl_gen.parts.ram.write_signature`
    """

    def __init__(
        self, schedule: Schedule, *, pipeline: int = 1, loaded: bool = False, target: str = "generic"
    ) -> None:
        self._schedule = schedule
        self._loaded = loaded
        self._window = WindowBuffer(schedule)
        self._array = PEArray(
            weight_bases=schedule.layer.weight_bases, input_bases=schedule.layer.input_bases,
            simd=schedule.folding.simd, pe=schedule.folding.pe, mp=schedule.folding.mp, np=schedule.folding.np,
            dot_length=schedule.layer.dot_length, pipeline=pipeline, target=target,
        )
        self._scale = ScaleUnit(schedule)
        self._output = OutputUnit(schedule)
        super().__init__({
            "i": In(code_stream(schedule.lanes, unsigned(schedule.layer.input_bases.bits))),
            "o": Out(code_stream(schedule.out_lanes, output_shape(schedule.layer))),
            **({"write": In(write_signature(*self.weight_memory))} if loaded else {}),
        })

    @property
    def schedule(self) -> Schedule:
        return self._schedule

    @property
    def latency(self) -> int:
        """Cycles from a group's last word to its first codes in the queue."""
        return self._window.latency + self._array.latency + self._scale.latency + self._output.latency

    @property
    def queue_depth(self) -> int:
        """Transfers that can be under way or waiting: enough that the array never waits for its own latency."""
        return queue_depth(self._schedule, self.latency)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        schedule = self._schedule
        m.submodules.window = window = self._window
        m.submodules.loops = loops = LoopNest(window_bounds(schedule))
        m.submodules.array = array = self._array
        m.submodules.scale = scale = self._scale
        m.submodules.output = output = self._output
        wiring.connect(m, wiring.flipped(self.i), window.i)

        queued, room = self._build_queue(m, loops, output)
        m.d.comb += [window.step.eq(loops.step), *map(Value.eq, window.ends, loops.ends)]
        m.d.comb += loops.step.eq(
            (~loops.begins[GROUP + 1] | room) & (~loops.begins[COLUMN] | window.row_ready)
        )
        self._feed_array(m, loops, window, array)
        m.d.comb += [
            scale.dots.eq(array.dots),
            scale.load.eq(array.valid),
            output.matches.eq(scale.matches),
            output.i_valid.eq(scale.valid),
        ]
        wiring.connect(m, self._build_pool(m, queued), wiring.flipped(self.o))
        return m

    def _feed_array(self, m: Module, loops: LoopNest, window: WindowBuffer, array: PEArray) -> None:
        """Weights, activations and flags of a word, all ``window.latency`` after its step."""
        late = window.latency
        m.d.comb += [
            array.a.eq(window.a),
            array.w.as_value().eq(self._read_weights(m, loops)),
            array.word.eq(delayed(m, loops.step, late, name="word", reset_less=False)),
            array.last.eq(delayed(m, loops.ends[KERNEL_ROW], late, name="last")),
        ]
        weights_late = late + array.weight_delay
        for level, name, wait in ((PASS_M, "group_m", weights_late), (PASS_N, "group_n", late)):
            if loops.bounds[level] > 1:
                counter = AffineCounter(loops.bounds, [int(index == level) for index in range(len(loops.bounds))])
                m.submodules[name] = counter
                m.d.comb += counter.follow(loops.step, loops.ends)
                m.d.comb += getattr(array, name).eq(delayed(m, counter.value, wait, name=name))

    def _read_weights(self, m: Module, loops: LoopNest) -> Value:
        """The weight word of a step, ``array.weight_delay`` cycles after the window's."""
        schedule = self._schedule
        width, depth = self.weight_memory
        memory: Ram | Rom
        if self._loaded:
            memory = Ram(width=width, depth=depth)
            wiring.connect(m, wiring.flipped(self.write), memory.write)
        else:
            memory = Rom(width=width, words=self.weight_words)
        m.submodules.weights = memory
        strides = [0, 0, schedule.words, 0, 0, schedule.column_words * schedule.channel_words,
                   schedule.channel_words, 1]
        m.submodules.weight_addr = address = AffineCounter(loops.bounds, strides)
        waits = self._window.latency + self._array.weight_delay - Rom.latency
        m.d.comb += [
            *address.follow(loops.step, loops.ends),
            memory.addr.eq(delayed(m, address.value, waits, name="weight_addr")),
        ]
        return memory.data

    @property
    def weight_memory(self) -> tuple[int, int]:
        """(bits of a word, words) of the weight memory."""
        return len(Value.cast(self._array.w)), self._schedule.groups * self._schedule.words

    @property
    def weight_words(self) -> list[int]:
        """Contents of the weight memory, [groups x words] of [pe][simd] weights as the array wants them stored.

        Positions that do not exist hold the code of all bases at +1: their activation is all bases at -1, so
        they never match. Channels that do not exist repeat channel 0; nobody looks at them.
        """
        schedule, layer = self._schedule, self._schedule.layer
        height, width, channels = layer.weights.shape[1:]
        padded = np.full(
            (
                schedule.groups * schedule.folding.pe, height, schedule.column_words * schedule.columns,
                schedule.channel_words * schedule.lanes,
            ),
            layer.weight_bases.levels - 1, np.uint8,
        )
        padded[: layer.out_channels, :, :width, :channels] = layer.weights
        padded[layer.out_channels :, :, :width, :channels] = layer.weights[0]
        split = padded.reshape(
            schedule.groups, schedule.folding.pe, schedule.row_words, schedule.rows, schedule.column_words,
            schedule.columns, schedule.channel_words, schedule.lanes,
        )
        # [groups, row words, column words, channel words][pe][rows][columns][lanes]
        levels = split.transpose(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, schedule.folding.pe, schedule.folding.simd)
        words = self._array.stored(levels).reshape(schedule.groups * schedule.words, -1)
        bits = layer.weight_bases.bits
        unpacked = ((words[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(words), -1)
        packed = np.packbits(unpacked, axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in packed]

    def _build_queue(
        self, m: Module, loops: LoopNest, output: OutputUnit
    ) -> tuple[wiring.PureInterface, Value]:
        """The queue behind the output unit as a stream, and whether it has room for one more group."""
        schedule = self._schedule
        width = len(Value.cast(output.o))
        depth = self.queue_depth
        m.submodules.queue = queue = SyncFIFOBuffered(width=width, depth=depth)
        queued = code_stream(schedule.out_lanes, output_shape(schedule.layer)).create(path=("queued",))
        m.d.comb += [
            queue.w_data.eq(output.o),
            queue.w_en.eq(output.valid),
            queued.valid.eq(queue.r_rdy),
            queued.payload.eq(queue.r_data),
            queue.r_en.eq(queued.ready),
        ]
        per_group = schedule.folding.pe // schedule.out_lanes
        in_last_group = schedule.out_transfers - (schedule.groups - 1) * per_group
        free = Signal(range(depth + 1), init=depth)
        taken = Mux(loops.at_last[GROUP], in_last_group, per_group)
        begins = loops.step & loops.begins[GROUP + 1]
        m.d.sync += free.eq(free - Mux(begins, taken, 0) + (queued.valid & queued.ready))
        # In a register, so that no step waits for a comparison: what leaves the queue counts a cycle late.
        room = Signal(init=1)
        m.d.sync += room.eq(Mux(begins, free >= 2 * per_group, free >= per_group))
        return queued, room

    def _build_pool(self, m: Module, queued: wiring.PureInterface) -> wiring.PureInterface:
        """Max-pool on the queue's stream, where the layer has one."""
        schedule, layer = self._schedule, self._schedule.layer
        if layer.pool == 1:
            return queued
        m.submodules.pool = pool = MaxPool(
            shape=layer.conv_shape, side=layer.pool, lanes=schedule.out_lanes, code=output_shape(layer)
        )
        wiring.connect(m, queued, pool.i)
        return pool.o
