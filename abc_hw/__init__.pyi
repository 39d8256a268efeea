from .conversion.exporting import export as export
from .conversion.floats import convert as convert
from .network import Graph as Graph
from .network import Network as Network
from .network.files import save as save
from .rtl_gen.cost.choice import fold as fold
from .rtl_gen.emit.verilog import generate as generate
from .rtl_gen.engine.accelerator import Accelerator as Accelerator
from .sim.runner import simulate as simulate
from .sources import load as load
from .training.checkpoints import load_checkpoint as load_checkpoint
from .training.layers import ABCConv2d as ABCConv2d
from .training.layers import ABCLinear as ABCLinear
from .training.loop import train as train
from .training.normalise import Normalise as Normalise
from .training.recipes import config_for as config_for
from .training.stream import StreamConv2d as StreamConv2d
from .training.stream import StreamMean as StreamMean

__all__ = [
    "ABCConv2d", "ABCLinear", "Accelerator", "Graph", "Network", "Normalise", "StreamConv2d",
    "StreamMean", "__version__", "config_for",
    "convert", "export", "fold", "generate", "load", "load_checkpoint", "save", "simulate", "train",
]

__version__: str
