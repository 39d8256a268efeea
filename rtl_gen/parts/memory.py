"""The one memory: ROM, RAM, rows of windows, queues, pool rows, coefficients, weights fixed and loaded."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory as storage
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .delay import chosen, copied, delayed
from .memory_cells import PlainCell, Unit, storage_attributes
from .memory_plan import LOAD_BITS, MemoryPlan, Slice, write_signature

__all__ = ["Memory"]


class Memory(wiring.Component):
    """Words that are fixed or written.

    ::

        addr --+--> bank 0, output register --+
               +--> bank 1, output register --+--> tree of registered choices --> data
               +--> ...

    A word that was written can be read from the next cycle on. Of a memory whose words are all the same nothing is
    left, and nobody reads ``addr``. Written in parts, ``data`` does not follow ``addr`` while ``write.en`` is not
    0.

    Parameters
    ----------
    plan : all there is to know

    Members
    -------
    addr : In;  data : Out, the word at the ``addr`` of ``plan.latency`` cycles before
    en : In(1), with ``plan.held``: cycles without it do not count
    write : In, where it is written, :func:`write_signature`
    """

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        super().__init__({
            "addr": In(range(max(plan.words, 2))),
            "data": Out(unsigned(plan.width)),
            **({"en": In(1)} if plan.held else {}),
            **({} if plan.write == "none" else {"write": In(write_signature(plan))}),
        })

    @property
    def plan(self) -> MemoryPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        same = plan.values[0] if plan.contents and len(plan.kept) < plan.width else 0  # bits that are not stored
        if not plan.kept:
            m.d.comb += self.data.eq(same)
            return m
        word = self._in_cells(m) if plan.in_cells else self._as_array(m)
        place = {bit: index for index, bit in enumerate(plan.kept)}
        m.d.comb += self.data.eq(Cat(
            word[place[bit]] if bit in place else Const(same >> bit & 1, 1) for bit in range(plan.width)
        ))
        return m

    @property
    def _enable(self) -> Value | None:
        return self.en if self._plan.held else None

    @property
    def _address(self) -> Value:
        """Of the port that reads."""
        if self._plan.write != "parts":
            return self.addr
        return Mux(self.write.en.any(), self.write.addr, self.addr)

    def _kept_bits(self, word: int) -> int:
        plan = self._plan
        if len(plan.kept) == plan.width:
            return word
        return sum((word >> bit & 1) << index for index, bit in enumerate(plan.kept))

    # -- as one array ---------------------------------------------------------------------------------------

    def _as_array(self, m: Module) -> Value:
        """The memory as the language has them; the synthesiser is told the kind, but where it decides."""
        plan = self._plan
        if plan.lookups > 1:
            return self._looked_up(m)
        width = len(plan.kept)
        # Logic looks up an address that stands still beside it; a block's word waits at its output.
        before, behind = (plan.latency - 1, 0) if plan.in_logic else (0, plan.latency - 1)
        address = delayed(m, self._address, before, name="address", enable=self._enable)
        whole = width if plan.write != "parts" else width // LOAD_BITS * LOAD_BITS
        words: list[Value] = []
        for start, end in ((0, whole), (whole, width)):
            if start == end:
                continue
            size = min(end - start, LOAD_BITS)
            kind = "any" if plan.plain else plan.mapped.kind
            attributes = storage_attributes(kind, settled=plan.settled or plan.write == "none")
            memory = storage.Memory(
                shape=unsigned(end - start), depth=max(plan.words, 2), attrs=attributes,
                init=[self._kept_bits(word) for word in plan.values],
            )
            m.submodules[f"{kind}{'_rest' if start else ''}_array"] = memory
            read = memory.read_port()
            m.d.comb += read.addr.eq(address)
            if plan.held:
                m.d.comb += read.en.eq(self.en)
            if plan.write == "word":
                write = memory.write_port()
                m.d.comb += [
                    write.addr.eq(self.write.addr), write.data.eq(self.write.data), write.en.eq(self.write.en)
                ]
            elif plan.write == "parts":
                write = memory.write_port(granularity=size)
                m.d.comb += [
                    read.en.eq(~self.write.en.any()),
                    write.addr.eq(address),
                    write.data.eq(self.write.data[:size].replicate((end - start) // size)),
                    write.en.eq(self.write.en[start // LOAD_BITS :]),
                ]
            words.append(delayed(m, read.data, behind, name="word", enable=self._enable))
        # A bit is found faster in a signal than in a joined word, which is looked through for each of its bits.
        return words[0] if len(words) == 1 else Cat(words)

    def _looked_up(self, m: Module) -> Value:
        """A table in logic, in parts with a register of the address each."""
        plan, words = self._plan, [self._kept_bits(word) for word in self._plan.values]
        found: list[Value] = []
        for part, own in enumerate(copied(m, self.addr, plan.lookups, name="own_address", reset_less=True)):
            start, end = (len(plan.kept) * place // plan.lookups for place in (part, part + 1))
            m.submodules[f"table{part}"] = memory = storage.Memory(
                shape=unsigned(end - start), depth=max(plan.words, 2),
                attrs=storage_attributes("logic", settled=True),
                init=[word >> start & ((1 << (end - start)) - 1) for word in words],
            )
            read = memory.read_port()
            m.d.comb += read.addr.eq(own)
            found.append(read.data)
        whole = Signal(len(plan.kept), name="table_word")
        m.d.comb += whole.eq(Cat(found))
        return whole

    # -- in cells -------------------------------------------------------------------------------------------

    def _in_cells(self, m: Module) -> Value:
        """The memory in cells of its technology, banks side by side."""
        plan = self._plan
        low = (plan.bank_words - 1).bit_length()
        make, kind = (PlainCell, "bank") if plan.mapped.kind == "distributed" else (plan.technology.make, "block")
        address, units = self._address, self._units()
        written = self._written(m) if plan.write != "none" else None
        row: list[Value] = []
        for first in range(0, len(units), plan.mapped.ports):
            cell = make(units[first : first + plan.mapped.ports])
            m.submodules[f"{kind}{first // plan.mapped.ports}"] = cell
            for index, port in enumerate(cell.ports, first):
                m.d.comb += port.addr.eq(address[:low])
                if plan.held:
                    m.d.comb += port.en.eq(self.en)
                if written is not None:
                    self._write_unit(m, port, plan.slices[index], written, low)
                row.append(port.data)
        word = self._chosen_bank(m, Cat(row), address[low:])
        word = delayed(m, word, plan.relays, name="relay", enable=self._enable)
        if written is None or not self._waits:
            return word
        # A write waits a cycle: its word is read in the other's place, and the word before it while it waits.
        just, word_of_it = written[2] & (written[0] == address), written[1]
        just = delayed(m, just, plan.latency, name="just_written", enable=self._enable)
        word_of_it = delayed(m, word_of_it, plan.latency, name="written_word", enable=self._enable)
        return Mux(just, word_of_it, word)

    def _chosen_bank(self, m: Module, row: Value, bank: Value) -> Value:
        plan, width = self._plan, len(self._plan.kept)
        words = [row[index * width : (index + 1) * width] for index in range(plan.banks)]
        if len(words) == 1:
            return words[0]
        turns = Cat(bank == index for index in range(plan.banks))
        late = delayed(m, turns, 1 + plan.registered, name="bank", enable=self._enable)
        return chosen(m, late, words, "choice", self._enable)

    @property
    def _waits(self) -> bool:
        """Does what is written wait a cycle, so that no block reads and writes a word at once?"""
        plan = self._plan
        return plan.settled and plan.write == "word" and plan.mapped.kind != "distributed"

    def _units(self) -> list[Unit]:
        """One for each slice."""
        plan, width = self._plan, len(self._plan.kept)
        deep, tables = plan.bank_words, plan.mapped.kind == "distributed"
        values = [self._kept_bits(word) for word in plan.values]
        depth = min(deep, plan.words)
        rows = [
            sum(word << (bank * width) for bank, word in enumerate(values[place::deep])) for place in range(depth)
        ]
        return [
            Unit(
                width=one.end - one.start, shape=plan.mapped.unit, kind=plan.mapped.kind, write=plan.write,
                depth=min(depth, plan.words - one.start // width * deep) if tables else depth,
                held=plan.held, settled=plan.settled and tables, registered=plan.registered,
                contents=None if plan.contents is None else np.array(
                    [row >> one.start & ((1 << (one.end - one.start)) - 1) for row in rows], np.int64),
            )
            for one in plan.slices
        ]

    def _written(self, m: Module) -> tuple[Value, Value, Value]:
        """(address, data, enables) of what is written."""
        written = self.write.addr, self.write.data, self.write.en
        if not self._waits:
            return written
        names = ("waiting_addr", "waiting_data", "waiting_en")
        addr, data, en = (
            delayed(m, value, 1, name=name, reset_less=name != "waiting_en")
            for value, name in zip(written, names, strict=True)
        )
        return addr, data, en

    def _write_unit(
        self, m: Module, port: wiring.PureInterface, one: Slice, written: tuple[Value, Value, Value], low: int
    ) -> None:
        plan, (addr, data, en) = self._plan, written
        bank, start = divmod(one.start, plan.width)
        here = en if plan.write == "word" else en[start // LOAD_BITS]
        if plan.banks > 1:
            here = here & (addr[low:] == bank)
        if plan.write == "parts":
            start %= LOAD_BITS
        else:
            m.d.comb += port.w_addr.eq(addr[:low])
        m.d.comb += [port.w_data.eq(data[start : start + one.end - one.start]), port.w_en.eq(here)]
