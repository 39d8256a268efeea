from .convert import export as export
from .network import Graph as Graph
from .network import Network as Network
from .network.files import save as save
from .rtl_gen.cost.choice import fold as fold
from .rtl_gen.emit.verilog import generate as generate
from .rtl_gen.engine.accelerator import Accelerator as Accelerator
from .sim.runner import simulate as simulate
from .sources import load as load
from .training.layers import ABCConv2d as ABCConv2d
from .training.layers import ABCLinear as ABCLinear

__all__ = [
    "ABCConv2d", "ABCLinear", "Accelerator", "Graph", "Network", "__version__", "export", "fold", "generate",
    "load", "save", "simulate",
]

__version__: str
