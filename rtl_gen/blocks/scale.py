"""From dots to accumulators: the alphas and betas."""

import dataclasses
import itertools
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.adders import registered_sum, sum_cycles
from ..parts.arith import bits_of, constant_product, extend, select, total
from ..parts.delay import chosen, chosen_cycles, chosen_gates, delayed
from ..parts.loops import AffineCounter, LoopNest, Loops
from ..parts.memory import Memory
from ..parts.memory_plan import MemoryPlan, pack_fields, write_signature
from .alpha import AlphaCode
from .betas import FixedBetas, LoadedBetas
from .folded import FoldedLayer

__all__ = ["ScalePlan", "ScaleUnit"]


@dataclasses.dataclass(frozen=True)
class ScalePlan(FoldedLayer):
    """How the dots of a layer are weighted.

    Members
    -------
    wanted_ahead : cycles by which those behind want to know of matches before they are there
    """

    wanted_ahead: int = 0

    # -- alphas ---------------------------------------------------------------------------------------------

    @property
    def _padded(self) -> tuple[int, int]:
        """Channels and weight bases, those included that are not there."""
        schedule = self.schedule
        return schedule.channels, schedule.passes_m * schedule.folding.mp

    @cached_property
    def code(self) -> AlphaCode:
        """How alphas are stored."""
        return self.numbers.shared(
            ("alpha code", self._padded),
            lambda: AlphaCode(
                self.numbers.layer.alpha_scale,
                self.alpha_items().ravel() if self.numbers.alpha_choices is None else self.numbers.alpha_choices,
            ),
        )

    def alpha_items(self) -> IntArray:
        """Alphas in order of use, [groups x passes_m x alpha_items, channels, bases]; 0 where there is none."""
        schedule, (_, channels, bases) = self.schedule, self.schedule.scale_lanes
        layer, folding = self.numbers.layer, schedule.folding
        padded = np.zeros(self._padded, np.int64)
        padded[: layer.out_channels, : layer.weight_bases.count] = layer.alpha
        if len(padded) > layer.out_channels:
            padded[layer.out_channels :] = padded[0]  # channels that are dropped: cost no value of their own
        split = padded.reshape(
            schedule.channel_groups, folding.pe // channels, channels, schedule.passes_m, folding.mp // bases,
            bases,
        )
        return split.transpose(0, 3, 4, 1, 2, 5).reshape(-1, channels, bases)

    @cached_property
    def alphas(self) -> MemoryPlan:
        """The memory of alphas, an item a word."""
        _, channels, bases = self.schedule.scale_lanes
        folding = self.schedule.folding
        key = (self.technology.name, "alphas", self._padded, folding.pe, folding.mp, channels, bases)
        return self.numbers.shared(key, lambda: MemoryPlan(
            name="alphas", width=self.code.width * channels * bases,
            words=self.schedule.channel_groups * self.schedule.passes_m * self.schedule.alpha_items,
            contents=self.alpha_words if self.numbers.alpha_choices is None else None,
            write="none" if self.numbers.alpha_choices is None else "parts", technology=self.technology,
            relayed=True,
        ))

    def alpha_words(self) -> list[int]:
        """Words of their memory."""
        items, code = self.alpha_items(), self.code
        codes = {int(alpha): code.encode(int(alpha)) for alpha in np.unique(items)}
        return [pack_fields([(codes[int(alpha)], code.width) for alpha in item.flat]) for item in items]

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.alphas]

    @cached_property
    def betas(self) -> LoadedBetas | None:
        """Betas, where they are loaded."""
        return None if self.numbers.beta_choices is None else LoadedBetas(self.numbers, self.schedule.folding.np)

    @property
    def beta_addends(self) -> int:
        """Addends of a sum over activation bases."""
        return self.schedule.folding.np if self.betas is None else self.betas.addends

    # -- loops ----------------------------------------------------------------------------------------------

    @property
    def loops(self) -> Loops:
        """In which items are worked off."""
        schedule, folding, (_, channels, bases) = self.schedule, self.schedule.folding, self.schedule.scale_lanes
        return Loops({
            "group": schedule.channel_groups, "pass_n": schedule.passes_n, "pass_m": schedule.passes_m,
            "basis": folding.mp // bases, "channel": folding.pe // channels,
            "pixel": schedule.pixel_items,
        })

    @property
    def summed(self) -> list[int]:
        """Levels of the loops whose items add up to the matches of a channel."""
        return [self.loops.level(name) for name in ("pass_n", "pass_m", "basis")]

    @property
    def sums_items(self) -> bool:
        """Are the matches of a channel the sum of more than one item?"""
        bounds = list(self.loops.bounds.values())
        return any(bounds[level] > 1 for level in self.summed)

    @property
    def turns(self) -> int:
        """Items of one basis, each with accumulators of its own."""
        return self.loops.bounds["channel"] * self.loops.bounds["pixel"]

    @property
    def lanes(self) -> int:
        """Accumulators that are handed on at once."""
        return self.schedule.scale_lanes.pixels * self.schedule.scale_lanes.channels

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def choice_cycles(self) -> int:
        """From ``load`` to the first item."""
        return chosen_cycles(self.schedule.scale_items)

    @cached_property
    def shifts_counts(self) -> bool:
        """Is a count times its beta the count in another place? Then no register stands behind."""
        return self.betas is None and FixedBetas(self.numbers, self.schedule.folding.np).shift

    @property
    def beta_cycles(self) -> int:
        """From an item to its sum over the activation bases; no fewer than the alphas take to come."""
        summed = int(not self.shifts_counts) + sum_cycles(self.beta_addends)
        return max(summed, self.alphas.latency) if self.code.width else summed

    @property
    def term_cycles(self) -> int:
        """From a sum over activation bases to the terms of its product: none where all alphas are one shift."""
        return int(self.code.width > 0)

    @property
    def item_cycles(self) -> int:
        """From an item to its contribution: sum over activation bases, terms, product, sum of bases."""
        addends = self.schedule.scale_lanes.bases + int(self.code.has_signs)
        return self.beta_cycles + self.term_cycles + sum_cycles(self.code.term_count) + sum_cycles(addends)

    @property
    def ahead(self) -> int:
        """Cycles by which ``soon`` comes before ``valid``."""
        return min(self.wanted_ahead, self.item_cycles + self.sums_items)

    @property
    def latency(self) -> int:
        """Cycles from ``load``, of the last pass of a group, to the group's first ``valid``."""
        waits = self.schedule.scale_items - self.turns  # for the last basis
        return self.choice_cycles + 1 + waits + self.item_cycles + self.sums_items

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per item."""
        return self.schedule.layer.conv_shape[0] * self.schedule.pixel_groups * self.loops.steps

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        schedule, layer, folding = self.schedule, self.numbers.layer, self.schedule.folding
        outputs, bases = self.lanes, schedule.scale_lanes.bases
        lanes, code, width = outputs * bases, self.code, self.numbers.shape.width
        dot = layer.dot_length.bit_length()
        beta_adders, beta_choices = (self.betas or FixedBetas(self.numbers, folding.np)).work
        shifted = self.numbers.beta_shape(folding.np).width + code.shift_range
        terms = lanes * code.term_count * min(shifted, width) * (code.width > 0)
        # Bits of alphas that are the same in all words choose nothing.
        varying = len(self.alphas.kept) / max(self.alphas.width, 1)
        return {
            "one": 1, "loops": sum(map(bits_of, self.loops.counted)),
            "held": folding.px * folding.pe * folding.mp * folding.np * dot,
            "chosen": lanes * folding.np * dot * chosen_gates(schedule.scale_items),
            "adders": lanes * beta_adders + (
                lanes * (code.term_count - 1) + outputs * (bases - 1 + self.sums_items)
            ) * width,
            "choices": lanes * beta_choices, "terms": terms, "term gates": terms * code.gates * varying,
            "ring": folding.px * folding.pe * width if self.sums_items else 0,
            "alpha address": bits_of(self.alphas.words),
        }

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """(how many, bits of the one factor, bits of the other) of products that need a multiplier."""
        at_once, lanes = self.schedule.folding.np, self.schedule.scale_lanes.total
        found = []
        if self.code.multiplies:
            found.append((lanes, self.code.width, self.numbers.beta_shape(at_once).width))
        if self.betas is not None and self.betas.code.multiplies:
            dot = self.numbers.layer.dot_length.bit_length()
            found.append((lanes * at_once, self.betas.code.width, dot))
        return found


class ScaleUnit(wiring.Component):
    """Works off the dots of a pass, a few at a time, and adds up the passes of a group.

    ::

        dots --> hold --> beta sum --> x alpha --> sum of bases --> + --> matches, when the last pass is in
                  |                      |                         ^ |
                  choose an item       alpha ROM                   ring of px pe / lanes accumulators

    Equals :func:`abc_hw.sim.golden.scale` up to the constant of :mod:`abc_hw.rtl_gen.parts.matches`. The passes
    of a group come as ``for n: for m``; within a pass the items go ``for m: for channels: for pixels``.

    Parameters
    ----------
    plan : how they are weighted

    Members
    -------
    dots : In, [px pe][mp][np], pixel by pixel
    load : In(px pe), they are complete, all bits at once; at least ``scale_items`` cycles apart
    matches : Out, an accumulator for each pixel and channel at once, pixel by pixel;  valid : Out(1)
    soon : Out(1), the same ``ahead`` cycles before
    write_alphas, write_betas : In, where they are loaded: what writes them
    """

    def __init__(self, plan: ScalePlan) -> None:
        self._plan = plan
        self._schedule = plan.schedule
        layer, folding = plan.numbers.layer, plan.schedule.folding
        dots = data.ArrayLayout(unsigned(layer.dot_length.bit_length()), folding.np)
        super().__init__({
            "dots": In(data.ArrayLayout(data.ArrayLayout(dots, folding.mp), folding.px * folding.pe)),
            "load": In(folding.px * folding.pe),
            "matches": Out(data.ArrayLayout(plan.numbers.shape, plan.lanes)),
            "valid": Out(1),
            "soon": Out(1),
            **({"write_alphas": In(write_signature(plan.alphas))} if plan.alphas.write != "none" else {}),
            **({"write_betas": In(write_signature(plan.betas.memory))} if plan.betas is not None else {}),
        })

    @property
    def plan(self) -> ScalePlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        m.submodules.nest = nest = LoopNest(plan.loops)
        busy, item = self._items(m, nest)
        sums = self._beta_sums(m, nest, item)
        alphas = self._read_alphas(m, nest)
        added = self._products(m, sums, alphas)
        if plan.sums_items:
            self._accumulate(m, nest, busy, added)
        else:
            m.d.comb += [matches.eq(value) for matches, value in zip(self.matches, added, strict=True)]
        final = Cat(nest.at_last[level] for level in plan.summed).all()
        waits = plan.item_cycles + plan.sums_items - plan.ahead
        m.d.comb += self.soon.eq(delayed(m, busy & final, waits, name="soon", reset_less=False))
        m.d.comb += self.valid.eq(delayed(m, self.soon, plan.ahead, name="valid", reset_less=False))
        return m

    def _items(self, m: Module, nest: LoopNest) -> tuple[Value, list[list[Value]]]:
        """Hold the dots of a pass and hand them on item by item: (valid, [lane][basis] -> np counts)."""
        schedule, folding = self._schedule, self._schedule.folding
        pixels, channels, bases = schedule.scale_lanes
        width = len(Value.cast(self.dots[0][0]))
        each = data.ArrayLayout(width, folding.mp)
        held = Signal(data.ArrayLayout(each, folding.px * folding.pe), reset_less=True)
        busy = Signal()
        items = schedule.scale_items
        turns = Signal(items)  # one bit on: the item that is handed on
        with m.If(busy):
            m.d.sync += busy.eq(~turns[-1])
        with m.If(self.load[0]):
            m.d.sync += busy.eq(1)
        for place, taken in enumerate(self.load):
            with m.If(taken):
                m.d.sync += held[place].eq(self.dots[place])
        m.d.sync += turns.eq(Cat(self.load[0], turns[:-1]))
        counts = [
            [
                chosen(m, turns, [
                    held[p * folding.pe + c][b] for b in range(basis, folding.mp, bases)
                    for c in range(channel, folding.pe, channels) for p in range(pixel, folding.px, pixels)
                ], f"item_{pixel * channels + channel}_{basis}")
                for basis in range(bases)
            ]
            for pixel in range(pixels) for channel in range(channels)
        ]
        valid = delayed(m, busy, chosen_cycles(items), name="item_valid", reset_less=False)
        m.d.comb += nest.step.eq(valid)
        return valid, counts

    def _beta_sums(self, m: Module, nest: LoopNest, item: list[list[Value]]) -> list[list[Value]]:
        """sum_n beta[n] p[m, n] for each lane and basis of the item, ``beta_cycles`` later."""
        numbers, at_once = self._plan.numbers, self._schedule.folding.np
        passes, shape = numbers.beta_passes(at_once), numbers.beta_shape(at_once)
        m.submodules.pass_n = pass_n = AffineCounter(nest.loops, {"pass_n": 1})
        m.d.comb += pass_n.follow(nest.step, nest.ends)
        count = numbers.layer.dot_length.bit_length()
        betas = self._plan.betas
        stored = [] if betas is None else betas.read(m, wiring.flipped(self.write_betas), pass_n.value)
        sums: list[list[Value]] = []
        for lane, row in enumerate(item):
            sums.append([])
            for basis, counts in enumerate(row):
                fields = [counts[slot * count : (slot + 1) * count] for slot in range(at_once)]
                place = f"{lane}_{basis}"
                if betas is not None:
                    products = betas.products(stored, fields, shape)
                else:
                    products = [
                        select(pass_n.value, [total(constant_product(field, chosen[slot], shape), shape)
                                              for chosen in passes])
                        for slot, field in enumerate(fields)
                    ]
                late = int(not self._plan.shifts_counts)
                held = [delayed(m, product, late, name=f"beta_{place}_{n}") for n, product in enumerate(products)]
                summed = registered_sum(m, held, shape, f"beta_sum_{place}")
                waits = self._plan.beta_cycles - late - sum_cycles(self._plan.beta_addends)
                sums[-1].append(delayed(m, summed, waits, name=f"beta_summed_{place}"))
        return sums

    def _read_alphas(self, m: Module, nest: LoopNest) -> list[list[Value]]:
        """Stored alphas of the item, ``beta_cycles`` later: [lane][basis]."""
        schedule, (pixels, channels, bases) = self._schedule, self._schedule.scale_lanes
        memory, width = self._plan.alphas, self._plan.code.width
        if not width:
            return [[Value.cast(0)] * bases for _ in range(pixels * channels)]
        m.submodules.alphas = rom = Memory(memory)
        if memory.write != "none":
            wiring.connect(m, wiring.flipped(self.write_alphas), rom.write)
        items = schedule.alpha_items
        m.submodules.alpha_addr = address = AffineCounter(nest.loops, {
            "group": schedule.passes_m * items, "pass_m": items, "basis": nest.loops.bounds["channel"],
            "channel": 1,
        }, late=self._plan.beta_cycles - memory.latency)
        m.d.comb += [*address.follow(nest.step, nest.ends), rom.addr.eq(address.value)]
        return [
            [rom.data[(channel * bases + basis) * width :][:width] for basis in range(bases)]
            for channel in range(channels)
        ] * pixels

    def _products(self, m: Module, sums: list[list[Value]], alphas: list[list[Value]]) -> list[Value]:
        """sum_m alpha[c, m] x beta sum per lane, in the accumulator's shape, when it is added there."""
        shape, code_of = self._plan.numbers.shape, self._plan.code
        added = []
        for lane, (row, codes) in enumerate(zip(sums, alphas, strict=True)):
            products: list[Value] = []
            all_bits: list[Value] = []
            for basis, (beta_sum, code) in enumerate(zip(row, codes, strict=True)):
                terms, bits = code_of.addends(code, beta_sum, shape)
                place = f"{lane}_{basis}"
                late = self._plan.term_cycles
                held = [delayed(m, term, late, name=f"term_{place}_{t}") for t, term in enumerate(terms)]
                products.append(registered_sum(m, held, shape, f"product_{place}"))
                all_bits += [delayed(m, bit, late, name=f"negative_{place}_{t}") for t, bit in enumerate(bits)]
            if all_bits:
                most = unsigned(len(all_bits).bit_length())
                cycles = sum_cycles(code_of.term_count)
                products.append(delayed(m, total(all_bits, most), cycles, name=f"negatives_{lane}"))
            added.append(registered_sum(m, products, shape, f"sum_{lane}"))
        return added

    def _accumulate(self, m: Module, nest: LoopNest, busy: Value, added: list[Value]) -> None:
        """Add the passes of a group; the accumulators of a lane take turns in a ring."""
        plan, late = self._plan, self._plan.item_cycles
        valid = delayed(m, busy, late, name="added", reset_less=False)
        first = Cat(nest.at_first[level] for level in plan.summed).all()
        fresh = delayed(m, first, late, name="fresh")
        for lane, value in enumerate(added):
            ring = [
                Signal(value.shape(), name=f"matches_{lane}_{slot}", reset_less=True) for slot in range(plan.turns)
            ]
            with m.If(valid):
                m.d.sync += ring[-1].eq(extend(Mux(fresh, 0, ring[0]) + value, value.shape()))
                m.d.sync += [earlier.eq(later) for earlier, later in itertools.pairwise(ring)]
            m.d.comb += self.matches[lane].eq(ring[-1])
