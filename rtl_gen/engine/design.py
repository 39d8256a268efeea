# amaranth: UnusedElaboratable=no
"""Accelerators of any network, a chain of layers or a graph: what all that is built around them asks of either."""

from collections.abc import Mapping

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.network.fused import Fused

from ..parts.matches import stable_score_bits
from ..schedule import LayerFolding
from .accelerator import Accelerator, AcceleratorPlan, WeightSource
from .accelerator import served_digest as digest_of_chain
from .graph import GraphAccelerator
from .graph_plan import GraphPlan
from .lowering import units_of

__all__ = [
    "AnyAccelerator", "AnyPlan", "accelerator_of", "folded_names", "load_words", "make_accelerator", "make_plan",
    "plan_of", "served_digest",
]

AnyPlan = AcceleratorPlan | GraphPlan
AnyAccelerator = Accelerator | GraphAccelerator


def plan_of(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], *, weights: WeightSource = "rom",
    target: str = "generic", score_bits: int | None = None, input_px: int = 1, large: int = 0,
) -> AnyPlan:
    """The plan of a network's accelerator with these foldings, of each layer or convolution by name.

    Parameters
    ----------
    weights, target, score_bits, input_px : as of :meth:`abc_hw.rtl_gen.engine.accelerator.AcceleratorPlan.of`
    large : as there, for weights that are loaded

    Raises
    ------
    InputError
        as there; also for weights of a graph that are to be loaded, or several pixels in its transfers.
    """
    if isinstance(network, Network):
        return AcceleratorPlan.of(
            network, foldings, weights=weights, target=target, score_bits=score_bits, input_px=input_px,
            large=large,
        )
    if input_px != 1:
        raise InputError(f"input-px: expected 1 for {network.name}, which is no chain of layers, found {input_px}")
    if weights != "rom":
        raise InputError(f"weights: expected rom for {network.name}, which is no chain of layers, found loaded")
    return GraphPlan(network=network, foldings=foldings, target=target, score_bits=score_bits)


def load_words(plan: AnyPlan) -> list[int]:
    """What loads an accelerator; nothing where nothing is loaded."""
    return plan.load_words if isinstance(plan, AcceleratorPlan) and plan.loads else []


def folded_names(network: Network | Graph) -> list[str]:
    """What has a folding: the layers of a chain; of a graph the units that compute a convolution."""
    if isinstance(network, Network):
        return [layer.name for layer in network.layers]
    return [unit.name for unit in units_of(network) if isinstance(unit.does, Fused)]


def served_digest(network: Network | Graph, weights: WeightSource) -> str:
    """What names a design for the network: two with the same compute each other's networks, once loaded; of a
    graph nothing is loaded."""
    return network.digest if isinstance(network, Graph) else digest_of_chain(network, weights)


def accelerator_of(plan: AnyPlan) -> AnyAccelerator:
    """The component of a plan."""
    return Accelerator(plan) if isinstance(plan, AcceleratorPlan) else GraphAccelerator(plan)


def make_plan(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], *, weights: WeightSource = "rom",
    target: str = "generic", score_bits: int | None = None, input_px: int = 1,
) -> AnyPlan:
    """The plan of the accelerator that is generated: where it can be, its ports do not change with training.

    Parameters
    ----------
    score_bits : of a score at the output; None: so many that no training of a chain of layers needs more
        (:func:`abc_hw.rtl_gen.parts.matches.stable_score_bits`), and as few as a graph's scores need
    """
    if score_bits is None and isinstance(network, Network):
        score_bits = stable_score_bits(network.layers[-1])
    return plan_of(
        network, foldings, weights=weights, target=target, score_bits=score_bits, input_px=input_px
    )


def make_accelerator(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], *, weights: WeightSource = "rom",
    target: str = "generic", score_bits: int | None = None,
) -> AnyAccelerator:
    """The accelerator of :func:`make_plan`."""
    return accelerator_of(make_plan(network, foldings, weights=weights, target=target, score_bits=score_bits))
