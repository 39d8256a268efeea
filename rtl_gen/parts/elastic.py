"""Registers in a row, each of which moves on as soon as the next one can take what it holds."""

from amaranth.hdl import Module, Signal, Value

__all__ = ["Elastic"]


class Elastic:
    """Places for transfers between a stream and its answer.

    A place that is empty is filled even where those behind it wait, so ``places`` transfers find room whatever
    came between them. Not a component: it adds to the module that it is part of.

    Parameters
    ----------
    m : the module
    valid, ready : a transfer comes; the answer is taken
    places : at least one
    """

    def __init__(self, m: Module, *, valid: Value, ready: Value, places: int) -> None:
        self._m = m
        filled = [Signal(name=f"filled_{place}") for place in range(1, places + 1)]
        self._moves = [Signal(name=f"moves_{place}") for place in range(1, places + 1)]
        self.valid: Value = filled[-1]
        """An answer is there."""
        self.ready: Value = self._moves[0]
        """A transfer can be taken."""
        for place, (mine, moves) in enumerate(zip(filled, self._moves, strict=True)):
            following = self._moves[place + 1] if place + 1 < places else ready
            m.d.comb += moves.eq(~mine | following)
            with m.If(moves):
                m.d.sync += mine.eq(filled[place - 1] if place else valid)

    def moves(self, place: int) -> Value:
        """A place, 1 being the first, takes what the one before it holds."""
        return self._moves[place - 1]

    def held(self, place: int, value: Value, name: str) -> Value:
        """``value``, which belongs to the place before, in a register of ``place``."""
        register = Signal(value.shape(), name=name, reset_less=True)
        with self._m.If(self.moves(place)):
            self._m.d.sync += register.eq(value)
        return register
