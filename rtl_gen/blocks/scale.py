"""From dots to accumulators: the alphas and betas."""

import itertools
from collections.abc import Iterable

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import ScaleForm

from ..folding import Schedule
from ..parts.arith import constant_product, extend, range_shape, select, total
from ..parts.delay import chosen, chosen_cycles, delayed
from ..parts.loops import AffineCounter, LoopNest
from ..parts.matches import match_shape
from ..parts.rom import Rom, pack_fields

__all__ = ["AlphaCode", "ScaleUnit", "scale_latency", "sums_passes"]


def _sum_cycles(count: int) -> int:
    """Cycles of :func:`_sum`."""
    return max(count - 1, 0).bit_length()


def _sum(m: Module, values: list[Value], shape: Shape, name: str) -> Value:
    """Sum of ``values``, all in ``shape``: a tree of adders of two, with a register behind each."""
    if not values:
        return Const(0, shape)
    terms = [extend(value, shape) for value in values]
    for level in range(_sum_cycles(len(values))):
        pairs = [terms[start : start + 2] for start in range(0, len(terms), 2)]
        terms = [
            delayed(m, extend(pair[0] + pair[1], shape) if len(pair) == 2 else pair[0], 1,
                    name=f"{name}_{level}_{index}")
            for index, pair in enumerate(pairs)
        ]
    return terms[0]


class AlphaCode:
    """How alphas are stored, and multiplied by.

    ``fixed``: a signed number and a multiplier. ``csd``, ``pow2``, and alphas of at most 1: per term a sign, a
    shift and an enable, each only as wide as the given alphas need.

    Parameters
    ----------
    form : of the layer's alphas
    alphas : every value to be stored
    """

    def __init__(self, form: ScaleForm, alphas: Iterable[int]) -> None:
        values = sorted({int(alpha) for alpha in alphas})
        self._values = values
        self.multiplies = form.kind == "fixed" and max(abs(value) for value in values) > 1
        """Does the product need a multiplier?"""
        self._number = range_shape(values[0], values[-1])
        self.term_count = 1
        """Addends of a product."""
        self.has_signs = False
        """Has a product single bits to add?"""
        if self.multiplies:
            return
        self._terms = {value: form.terms_of(value) if form.kind != "fixed" else
                       ((value, 0),) if value else () for value in values}
        used = [term for terms in self._terms.values() for term in terms]
        self.term_count = max(len(terms) for terms in self._terms.values())
        self._low_shift = min((shift for _, shift in used), default=0)
        self.shift_bits = (max((shift for _, shift in used), default=0) - self._low_shift).bit_length()
        self.has_signs = any(sign < 0 for sign, _ in used)
        self.sign_bits = int(self.has_signs)
        self.enable_bits = int(min(len(terms) for terms in self._terms.values()) < self.term_count)

    @property
    def width(self) -> int:
        """Bits of a stored alpha."""
        if self.multiplies:
            return self._number.width
        return self.term_count * (self.shift_bits + self.sign_bits + self.enable_bits)

    def encode(self, alpha: int) -> int:
        if self.multiplies:
            return pack_fields([(alpha, self.width)])
        terms = [(sign, shift, 1) for sign, shift in self._terms[alpha]]
        terms += [(1, self._low_shift, 0)] * (self.term_count - len(terms))
        return pack_fields([
            field
            for sign, shift, enable in terms
            for field in (
                (shift - self._low_shift, self.shift_bits),
                (int(sign < 0), self.sign_bits),
                (enable, self.enable_bits),
            )
        ])

    def addends(self, code: Value, factor: Value, shape: Shape) -> tuple[list[Value], list[Value]]:
        """``alpha * factor`` for the alpha stored as ``code``: addends in ``shape``, and single bits to add.

        Their sum modulo 2**width is the product; a negative term is its complement and a bit.
        """
        if self.multiplies:
            number = code.as_signed() if self._number.signed else code
            return [extend(number * factor, shape)], []
        terms: list[Value] = []
        bits: list[Value] = []
        size = self.shift_bits + self.sign_bits + self.enable_bits
        for term in range(self.term_count):
            fields = code[term * size : (term + 1) * size]
            shifted = extend(factor << self._low_shift, shape)
            for bit in range(self.shift_bits):
                shifted = extend(Mux(fields[bit], extend(shifted << (1 << bit), shape), shifted), shape)
            if self.enable_bits:
                shifted = extend(Mux(fields[-1], shifted, 0), shape)
            if self.sign_bits:
                negative = fields[self.shift_bits]
                shifted = extend(shifted ^ negative.replicate(shape.width), shape)
                bits.append(negative)
            terms.append(shifted)
        return terms, bits


def sums_passes(schedule: Schedule) -> bool:
    """Are the matches of a channel the sum of more than one item?"""
    _, bases = schedule.scale_lanes
    return schedule.passes_n * schedule.passes_m * (schedule.folding.mp // bases) > 1


def _beta_cycles(schedule: Schedule) -> int:
    # no fewer than the alphas take to come
    return max(1 + _sum_cycles(schedule.folding.np), Rom.latency)


def scale_latency(schedule: Schedule, code: AlphaCode) -> int:
    """:attr:`ScaleUnit.latency` of a unit whose alphas are stored so."""
    _, bases = schedule.scale_lanes
    addends = bases + int(code.has_signs)
    products = 1 + _sum_cycles(code.term_count) + _sum_cycles(addends)
    return chosen_cycles(schedule.scale_items) + _beta_cycles(schedule) + products + 2


class ScaleUnit(wiring.Component):
    """Works off the dots of a pass, a few at a time, and adds up the passes of a group.

    ::

        dots --> hold --> beta sum --> x alpha --> sum of bases --> + --> matches, when the last pass is in
                  |                      |                         ^ |
                  choose an item       alpha ROM                   ring of pe / lanes accumulators

    Equals :func:`abc_hw.sim.golden.scale` up to the constant of :mod:`abc_hw.rtl_gen.parts.matches`. The passes
    of a group come as ``for n: for m``; within a pass the items go ``for m: for channels``.

    Members
    -------
    dots : In, [pe][mp][np];  load : In(1), dots are complete; at least ``scale_items`` cycles apart
    matches : Out, one accumulator per output lane;  valid : Out(1)
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        layer, folding = schedule.layer, schedule.folding
        dots = data.ArrayLayout(unsigned(layer.dot_length.bit_length()), folding.np)
        self._alphas = self.alpha_items(schedule)
        self._code = AlphaCode(layer.alpha_scale, self._alphas.flat)
        super().__init__({
            "dots": In(data.ArrayLayout(data.ArrayLayout(dots, folding.mp), folding.pe)),
            "load": In(1),
            "matches": Out(data.ArrayLayout(match_shape(layer), schedule.out_lanes)),
            "valid": Out(1),
        })

    @staticmethod
    def alpha_items(schedule: Schedule) -> np.ndarray:
        """Alphas in order of use, [groups x passes_m x scale_items, channels, bases]; 0 where there is none."""
        layer, folding, (channels, bases) = schedule.layer, schedule.folding, schedule.scale_lanes
        padded = np.zeros((schedule.groups * folding.pe, schedule.passes_m * folding.mp), np.int64)
        padded[: layer.out_channels, : layer.weight_bases.count] = layer.alpha
        if schedule.groups * folding.pe > layer.out_channels:
            padded[layer.out_channels :] = padded[0]  # channels that are dropped: cost no value of their own
        split = padded.reshape(
            schedule.groups, folding.pe // channels, channels, schedule.passes_m, folding.mp // bases, bases
        )
        return split.transpose(0, 3, 4, 1, 2, 5).reshape(-1, channels, bases)

    @property
    def latency(self) -> int:
        """Cycles from ``load`` to the first ``valid`` of a group of one pass."""
        return scale_latency(self._schedule, self._code)

    @property
    def _beta_latency(self) -> int:
        """Cycles from an item to its sum over the activation bases."""
        return _beta_cycles(self._schedule)

    @property
    def _item_latency(self) -> int:
        """Cycles from an item to its contribution: sum over activation bases, terms, product, sum of bases."""
        return self.latency - chosen_cycles(self._schedule.scale_items) - 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        schedule, folding = self._schedule, self._schedule.folding
        channels, bases = schedule.scale_lanes
        bounds = [
            schedule.groups, schedule.passes_n, schedule.passes_m, folding.mp // bases, folding.pe // channels
        ]
        m.submodules.nest = nest = LoopNest(bounds)
        busy, item = self._items(m, nest)
        sums = self._beta_sums(m, nest, item)
        alphas = self._read_alphas(m, nest)
        added = self._products(m, sums, alphas)
        valid = delayed(m, busy, self._item_latency, name="valid", reset_less=False)
        fresh = delayed(m, Cat(nest.at_first[1:4]).all(), self._item_latency, name="fresh")
        final = delayed(m, Cat(nest.at_last[1:4]).all(), self._item_latency, name="final")
        self._accumulate(m, added, valid, fresh, final)
        return m

    def _items(self, m: Module, nest: LoopNest) -> tuple[Value, list[list[Value]]]:
        """Hold the dots of a pass and hand them on item by item: (valid, [channel][basis] -> np counts)."""
        schedule, folding = self._schedule, self._schedule.folding
        channels, bases = schedule.scale_lanes
        width = len(Value.cast(self.dots[0][0]))
        held = Signal(data.ArrayLayout(data.ArrayLayout(width, folding.mp), folding.pe), reset_less=True)
        busy = Signal()
        items = schedule.scale_items
        turns = Signal(items)  # one bit on: the item that is handed on
        with m.If(busy):
            m.d.sync += busy.eq(~turns[-1])
        with m.If(self.load):
            m.d.sync += [busy.eq(1), held.eq(self.dots)]
        m.d.sync += turns.eq(Cat(self.load, turns[:-1]))
        counts = [
            [
                chosen(m, turns, [held[c][b] for b in range(basis, folding.mp, bases)
                                  for c in range(lane, folding.pe, channels)], f"item_{lane}_{basis}")
                for basis in range(bases)
            ]
            for lane in range(channels)
        ]
        valid = delayed(m, busy, chosen_cycles(items), name="item_valid", reset_less=False)
        m.d.comb += nest.step.eq(valid)
        return valid, counts

    def _beta_sums(self, m: Module, nest: LoopNest, item: list[list[Value]]) -> list[list[Value]]:
        """sum_n beta[n] p[m, n] for each channel and basis of the item, ``_beta_latency`` cycles later."""
        layer, schedule, at_once = self._schedule.layer, self._schedule, self._schedule.folding.np
        betas = [int(beta) for beta in layer.beta] + [0] * (schedule.passes_n * at_once - layer.input_bases.count)
        passes = [betas[start : start + at_once] for start in range(0, len(betas), at_once)]
        shape = range_shape(
            min(layer.dot_length * sum(min(beta, 0) for beta in chosen) for chosen in passes),
            max(layer.dot_length * sum(max(beta, 0) for beta in chosen) for chosen in passes),
        )
        m.submodules.pass_n = pass_n = AffineCounter(nest.bounds, [0, 1, 0, 0, 0])
        m.d.comb += pass_n.follow(nest.step, nest.ends)
        count = layer.dot_length.bit_length()
        sums: list[list[Value]] = []
        for lane, row in enumerate(item):
            sums.append([])
            for basis, counts in enumerate(row):
                fields = [counts[slot * count : (slot + 1) * count] for slot in range(at_once)]
                place = f"{lane}_{basis}"
                products = [
                    select(pass_n.value, [total(constant_product(field, chosen[slot], shape), shape)
                                          for chosen in passes])
                    for slot, field in enumerate(fields)
                ]
                wait = self._beta_latency - _sum_cycles(at_once)
                held = [delayed(m, product, wait, name=f"beta_{place}_{n}") for n, product in enumerate(products)]
                sums[-1].append(_sum(m, held, shape, f"beta_sum_{place}"))
        return sums

    def _read_alphas(self, m: Module, nest: LoopNest) -> list[list[Value]]:
        """Stored alphas of the item, ``_beta_latency`` later: [channel][basis]."""
        schedule, (channels, bases) = self._schedule, self._schedule.scale_lanes
        width = self._code.width
        if not width:
            return [[Value.cast(0)] * bases for _ in range(channels)]
        words = [
            pack_fields([(self._code.encode(int(alpha)), width) for alpha in item.flat]) for item in self._alphas
        ]
        m.submodules.alphas = rom = Rom(width=width * channels * bases, words=words)
        items = schedule.scale_items
        slots = schedule.folding.pe // channels
        strides = [schedule.passes_m * items, 0, items, slots, 1]
        m.submodules.alpha_addr = address = AffineCounter(nest.bounds, strides)
        waits = self._beta_latency - Rom.latency
        m.d.comb += [
            *address.follow(nest.step, nest.ends),
            rom.addr.eq(delayed(m, address.value, waits, name="alpha_addr")),
        ]
        return [
            [rom.data[(lane * bases + basis) * width :][:width] for basis in range(bases)]
            for lane in range(channels)
        ]

    def _products(self, m: Module, sums: list[list[Value]], alphas: list[list[Value]]) -> list[Value]:
        """sum_m alpha[c, m] x beta sum per channel lane, in the accumulator's shape, when it is added there."""
        shape = match_shape(self._schedule.layer)
        added = []
        for lane, (row, codes) in enumerate(zip(sums, alphas, strict=True)):
            products: list[Value] = []
            all_bits: list[Value] = []
            for basis, (beta_sum, code) in enumerate(zip(row, codes, strict=True)):
                terms, bits = self._code.addends(code, beta_sum, shape)
                place = f"{lane}_{basis}"
                held = [delayed(m, term, 1, name=f"term_{place}_{t}") for t, term in enumerate(terms)]
                products.append(_sum(m, held, shape, f"product_{place}"))
                all_bits += [delayed(m, bit, 1, name=f"negative_{place}_{t}") for t, bit in enumerate(bits)]
            if all_bits:
                most = unsigned(len(all_bits).bit_length())
                cycles = _sum_cycles(self._code.term_count)
                products.append(delayed(m, total(all_bits, most), cycles, name=f"negatives_{lane}"))
            added.append(_sum(m, products, shape, f"sum_{lane}"))
        return added

    def _accumulate(self, m: Module, added: list[Value], valid: Value, fresh: Value, final: Value) -> None:
        """Add the passes of a group; the accumulators of a lane's channels take turns in a ring."""
        schedule = self._schedule
        depth = schedule.folding.pe // schedule.out_lanes if sums_passes(schedule) else 1
        for lane, value in enumerate(added):
            ring = [
                Signal(value.shape(), name=f"matches_{lane}_{slot}", reset_less=True) for slot in range(depth)
            ]
            before = Mux(fresh, 0, ring[0]) if sums_passes(schedule) else Const(0, value.shape())
            with m.If(valid):
                m.d.sync += ring[-1].eq(extend(before + value, value.shape()))
                m.d.sync += [earlier.eq(later) for earlier, later in itertools.pairwise(ring)]
            m.d.comb += self.matches[lane].eq(ring[-1])
        m.d.sync += self.valid.eq(valid & final)
