"""How fast the tools themselves are: evaluation, generation, simulation, each beside something to compare with.

    python benchmarks/speed.py [--images N]

Runs examples/lenet.toml (random weights; 28 x 28 images, M = N = 3) and prints one table per question. Times are
wall clock, whatever else the machine is doing; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from amaranth.back import rtlil

from abc_hw import description, onnx_export
from rtl_gen.accelerator import Accelerator
from rtl_gen.folding import default_foldings
from rtl_gen.ports import prepared
from rtl_gen.verilog import emit_accelerator
from sim import fast, golden
from sim.runner import simulate

EXAMPLE = Path(__file__).parent.parent / "examples" / "lenet.toml"


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


def generation(network: Any, foldings: Any) -> None:
    """Seconds from network to Verilog, beside Amaranth's own RTLIL of the same design."""
    alone, text = timed(
        lambda: rtlil.convert_fragment(prepared(Accelerator(network, foldings), "top"), emit_src=False)[0]
    )
    whole, verilog = timed(lambda: emit_accelerator(Accelerator(network, foldings)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\ngeneration, {len(verilog.text) / 1e6:.2f} MB of Verilog, peak {peak:.0f} MB")
    print(f"  Amaranth to RTLIL      {alone:9.1f} s        {len(text) / 1e6:.2f} MB")
    print(f"  network to Verilog     {whole:9.1f} s {whole / alone:8.1f} x")


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
    count = parser.parse_args().images
    network, _ = description.load(EXAMPLE)
    foldings = default_foldings(network)
    images = np.random.default_rng(0).integers(256, size=(count, *network.input_shape), dtype=np.uint8)
    evaluation(network, images)
    generation(network, foldings)
    simulation(network, foldings, images[: max(2, count // 50)])


if __name__ == "__main__":
    main()
