"""Proofs of components by Yosys's SAT solver: by induction, with covers, and against broken components."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Module, ShapeLike, Signal, Value
from amaranth.lib import wiring

from abc_hw.rtl_gen.emit.yosys import run_yosys


class Spec:
    """A component, anything at its inputs, what is assumed of it, and what must hold.

    Parameters
    ----------
    dut : the component; its inputs are free signals until something is assumed of them

    Members
    -------
    m : the module around it, for the registers that a property needs
    """

    def __init__(self, dut: wiring.Component) -> None:
        self.m, self.dut = Module(), dut
        self.m.domains.sync = self._domain = ClockDomain("sync")
        self.m.submodules.dut = dut
        self._inputs: list[Signal] = []
        self._assumed: list[Value] = []
        self._proven: list[Value] = []
        self.covers: dict[str, Value] = {}
        self.inners: dict[str, str] = {}
        for path, member, value in dut.signature.flatten(dut):
            if member.flow == wiring.In:
                name = "__".join(map(str, path))
                self.m.d.comb += Value.cast(value).eq(self.free(len(Value.cast(value)), name))

    def free(self, shape: ShapeLike, name: str) -> Signal:
        """A signal that may be anything in every cycle."""
        signal = Signal(shape, name=f"free_{name}")
        self._inputs.append(signal)
        return signal

    def inner(self, path: str, shape: ShapeLike) -> Signal:
        """A signal inside the component, such as ``gate.under_way``, for what makes an induction close."""
        signal = self.free(shape, f"inner_{path.replace('.', '_')}")
        self.inners[signal.name] = path
        return signal

    def constant(self, shape: ShapeLike, name: str) -> Signal:
        """A signal that may be anything, but the same in every cycle."""
        value = self.free(shape, name)
        self.assume(value == self.before(value, name, init=None))
        return value

    def assume(self, condition: Value) -> None:
        self._assumed.append(condition)

    def prove(self, condition: Value) -> None:
        self._proven.append(condition)

    def cover(self, name: str, condition: Value) -> None:
        """``condition`` must be possible, or what is proven is empty."""
        self.covers[name] = condition

    def before(self, value: Value, name: str, *, init: int | None = 0) -> Value:
        """``value`` one cycle ago; in the first cycle ``init``, or what it is then."""
        register, begun = Signal(value.shape(), name=f"before_{name}", init=init or 0), self.begun
        self.m.d.sync += register.eq(value)
        if init is not None:
            return register
        current = Signal(value.shape(), name=f"either_{name}")
        self.m.d.comb += current.eq(value)
        with self.m.If(begun):
            self.m.d.comb += current.eq(register)
        return current

    @property
    def begun(self) -> Signal:
        """Is this not the first cycle?"""
        if not hasattr(self, "_begun"):
            self._begun = Signal(name="begun")
            self.m.d.sync += self._begun.eq(1)
        return self._begun

    def stable(self, stream: Any, name: str) -> Value:
        """The rule of streams: what was offered and not taken is still offered, unchanged."""
        waited = self.before(stream.valid & ~stream.ready, f"{name}_waited")
        payload = Value.cast(stream.payload)
        return ~waited | (stream.valid & (payload == self.before(payload, f"{name}_payload")))

    def count(self, event: Value, shape: ShapeLike, name: str) -> Signal:
        """How often ``event`` was so before this cycle, modulo the shape's range."""
        counter = Signal(shape, name=f"count_{name}")
        self.m.d.sync += counter.eq(counter + event)
        return counter

    def text(self) -> str:
        """The whole as RTLIL: outputs ``assumed``, ``proven`` and one for each cover."""
        assumed, proven = Signal(init=1, name="assumed"), Signal(init=1, name="proven")
        self.m.d.comb += [assumed.eq(Cat(*self._assumed).all()), proven.eq(Cat(*self._proven).all())]
        outputs = [assumed, proven]
        for index, condition in enumerate(self.covers.values()):
            outputs.append(Signal(name=f"missed{index}"))
            self.m.d.comb += outputs[-1].eq(~condition)
        return rtlil.convert(self.m, name="top", ports=[
            self._domain.clk, self._domain.rst, *self._inputs, *outputs
        ], emit_src=False)


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the solver found.

    Members
    -------
    proven : the properties hold: for ever, or in the first ``steps`` cycles
    steps : cycles of the induction that closed, or that were looked at
    covers : which covers can happen
    refuted, mutants : of so many components with one fault so many break a property
    """

    proven: bool
    steps: int
    covers: dict[str, bool]
    refuted: int
    mutants: int


def by_induction(spec: Spec, *, steps: int = 4, cover_at: int, mutants: int = 4) -> Proof:
    """Prove for ever, by induction over up to ``steps`` cycles; covers are to happen within ``cover_at``."""
    return _prove(spec, f"-maxsteps {steps}", cover_at, mutants, bound=cover_at)


def bounded(spec: Spec, *, steps: int, mutants: int = 4, cover_at: int | None = None) -> Proof:
    """Prove for the first ``steps`` cycles; covers are to happen in these too, or within ``cover_at``."""
    return _prove(spec, f"-tempinduct-baseonly -maxsteps {steps}", cover_at or steps, mutants, bound=steps)


_SAT = "sat -set rst 0 -set assumed 1"
_PREPARE = "read_rtlil {source}; hierarchy -top top; proc; opt_clean; design -save made"


def _prove(spec: Spec, how: str, cover_at: int, mutants: int, *, bound: int) -> Proof:
    flat = ["design -load made", "flatten", "cd top", *(
        command for name, path in spec.inners.items()
        for command in (f"delete -port {name}", f"connect -set {name} \\dut.{path}")
    ), "cd ..", "memory_map", "opt -full", "dffunmap", "opt_clean"]
    covers = [
        f"{_SAT} -seq 1 -prove missed{index} 1 -tempinduct -tempinduct-baseonly -maxsteps {cover_at} top"
        for index in range(len(spec.covers))
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, listed = Path(folder, "design.il"), Path(folder, "mutations")
        source.write_text(spec.text())
        prepare = _PREPARE.format(source=source)
        said = run_yosys(prepare, *flat, "log ==", f"{_SAT} -prove proven 1 -tempinduct {how} top", *(
            command for cover in covers for command in ("log ==", cover)
        ), "design -load made", f"mutate -list {2 * mutants} -seed 1 -o {listed} top.dut*")
        proof, *found = said.split("\n==")[1:]
        # A register's own output cannot be changed beside its initial value.
        changes = [line for line in listed.read_text().splitlines() if "-port Q" not in line][:mutants]
        broken = run_yosys(prepare, *(
            command for change in changes
            for command in (flat[0], change, *flat[1:], "log ==", f"{_BROKEN} -maxsteps {bound} top")
        )).split("\n==")[1:] if changes else []
    return Proof(
        proven="SUCCESS!" in proof if "baseonly" not in how else _FALSE not in proof,
        steps=int(re.findall(r"\[(?:base case|induction step) (\d+)\]", proof)[-1]),
        covers={name: _FALSE in said for name, said in zip(spec.covers, found, strict=True)},
        refuted=sum(_FALSE in said for said in broken), mutants=len(changes),
    )


_FALSE = "SAT temporal induction proof finished - model found for base case"
_BROKEN = f"{_SAT} -prove proven 1 -tempinduct -tempinduct-baseonly"


def transfers(stream: Any) -> Value:
    """Does a transfer happen?"""
    return stream.valid & stream.ready


def holds(proof: Proof) -> None:
    """All is proven and covered, and a design with a fault in it is refuted."""
    print(proof)
    assert proof.proven
    assert all(proof.covers.values()), proof.covers
    assert proof.refuted >= 1
