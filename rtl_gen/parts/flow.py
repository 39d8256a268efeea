"""How transfers go through a component, counted: what it needs for an output, and what it takes at the most.

Counts go on from image to image: ``need[k + outputs] = need[k] + inputs``. They depend on the order of the data
only, not on time, so what follows from them holds under any stalls.
"""

import dataclasses

import numpy as np

from abc_hw.network import IntArray

__all__ = ["Flow", "in_order"]


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """Counts of a component with one input and one output.

    Members
    -------
    inputs : transfers that arrive for an image
    need : int64 [outputs of an image]: how many inputs are taken in all when output k can be handed out
    take : int64 [outputs of an image]: how many inputs are taken in all, at the most, while output k waits
    """

    inputs: int
    need: IntArray
    take: IntArray

    @property
    def outputs(self) -> int:
        """Transfers that leave for an image."""
        return len(self.need)

    def needed(self, outputs: IntArray) -> IntArray:
        """Inputs that so many outputs, int64 of any shape, need."""
        image, index = np.divmod(outputs - 1, self.outputs)
        return np.where(outputs > 0, self.need[index] + image * self.inputs, 0)

    def taken(self, outputs: IntArray) -> IntArray:
        """Inputs that are taken at the most when so many outputs have been handed out and the next one waits."""
        image, index = np.divmod(outputs, self.outputs)
        return np.asarray(self.take[index] + image * self.inputs)

    def then(self, after: "Flow") -> "Flow":
        """This component with ``after`` behind it."""
        if self.outputs != after.inputs:
            raise ValueError(f"A component of {after.inputs} inputs must not follow one of {self.outputs} outputs")
        return Flow(self.inputs, self.needed(after.need), self.taken(after.take))


def in_order(transfers: int, held: int) -> Flow:
    """Each transfer goes out as it came in; ``held`` of them stay inside at the most."""
    index = np.arange(transfers, dtype=np.int64)
    return Flow(transfers, index + 1, index + held)
