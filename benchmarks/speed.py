"""How fast the tools themselves are: evaluation, generation, simulation, each beside something to compare with.

    python -m benchmarks.speed [--images N] [--only generation] [--networks lenet,vgg,zoo:cnv-m1n2]

Prints one table per question. Evaluation and simulation run examples/lenet.toml (random weights; 28 x 28 images,
M = N = 3), generation every network that is named, each in a process of its own for its peak of memory. Times of
generation are the processor's, the others wall clock, whatever else the machine is doing.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from amaranth.back import rtlil

from abc_hw import zoo
from abc_hw.network import Graph, Network, description, onnx_export
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.emit.members import prepared
from abc_hw.rtl_gen.emit.verilog import emit_accelerator
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.engine.graph_plan import GraphPlan
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.sim import fast, golden
from abc_hw.sim.runner import simulate
from abc_hw.training.lowering import to_network
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.residual import DESIGNS, ResidualNet

EXAMPLES = Path(__file__).parent.parent / "examples"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def evaluation(network: Any, images: np.ndarray) -> None:
    """Images per second of the three evaluators, which must agree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        onnx_export.save(network, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
        rows = {
            "golden, every basis": timed(lambda: golden.run(network, images).scores),
            "golden, factored": timed(lambda: fast.run(network, images)),
            "onnxruntime": timed(lambda: session.run(["scores"], {"image": images})[0]),
        }
    base = rows["golden, every basis"]
    print(f"\nevaluation of {len(images)} images")
    for name, (seconds, scores) in rows.items():
        assert np.array_equal(scores, base[1]), name
        print(f"  {name:22} {len(images) / seconds:9.0f} images/s {base[0] / seconds:8.1f} x")


def generation(name: str) -> str:
    """Processor seconds from network to Verilog by stage, and the peak of memory: a line of a table."""
    network = named(name)
    start = time.process_time()
    foldings = default_foldings(network)
    folded = time.process_time()
    rtlil.convert_fragment(prepared(Accelerator(AcceleratorPlan.of(network, foldings)), "top"), emit_src=False)
    elaborated = time.process_time()
    text = emit_accelerator(Accelerator(AcceleratorPlan.of(network, foldings))).text
    done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| {name} | {folded - start:.1f} | {elaborated - folded:.1f} | {done - elaborated:.1f} | "
        f"{len(text) / 1e6:.2f} | {peak:.0f} |"
    )


def depths() -> None:
    """Processor seconds for the depths of a large graph's buffers, beside those for its foldings."""
    torch.manual_seed(1)
    model = ResidualNet(DESIGNS["resnet18"], (224, 224, 3), 1000, M=1, N=1)
    model.set_integer(True)
    reestimate_batch_norm(model, [torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)])
    graph = to_network(model, name="resnet18", classes=[str(index) for index in range(1000)])
    assert isinstance(graph, Graph)
    start = time.process_time()
    foldings = fold(graph)
    folded = time.process_time()
    found = GraphPlan(network=graph, foldings=foldings).buffers
    seconds = time.process_time() - folded
    print(f"\nresnet18, {len(found)} joins: depths {seconds:.2f} s, foldings {folded - start:.2f} s")


def named(name: str) -> Network:
    """An example, or a network of the zoo."""
    return zoo.load(name.removeprefix("zoo:")) if name.startswith("zoo:") else description.load(
        EXAMPLES / f"{name}.toml")[0]


def simulation(network: Any, foldings: Any, images: np.ndarray) -> None:
    """Cycles per second of both simulators, build and comparison included."""
    print(f"\nsimulation of {len(images)} images, build and comparison included")
    base = None
    for simulator in ("icarus", "verilator"):
        run = partial(simulate, network, images, foldings=foldings, simulator=simulator)
        seconds, result = timed(run)
        assert result.ok
        cycles = result.latency + sum(result.cycles_between_images)
        base = base or seconds
        print(f"  {simulator:22} {cycles / seconds:9.0f} cycles/s {base / seconds:8.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="to evaluate; a fiftieth is simulated")
    parser.add_argument("--networks", default="lenet,zoo:mnist-lenet-m3n3,vgg,zoo:cnv-m1n2")
    parser.add_argument("--only", choices=["evaluation", "generation", "depths", "simulation"])
    options = parser.parse_args()
    if options.only in (None, "generation"):
        print("| network | folding, s | Amaranth to RTLIL, s | network to Verilog, s | Verilog, MB | peak, MB |")
        print("|---" * 6 + "|")
        for name in options.networks.split(","):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                print(pool.submit(generation, name).result(), flush=True)
    if options.only in (None, "depths"):
        depths()
    network = named("lenet")
    images = np.random.default_rng(0).integers(256, size=(options.images, *network.input_shape), dtype=np.uint8)
    if options.only in (None, "evaluation"):
        evaluation(network, images)
    if options.only in (None, "simulation"):
        simulation(network, default_foldings(network), images[: max(2, options.images // 50)])


if __name__ == "__main__":
    main()
