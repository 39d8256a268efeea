"""Generate, build, simulate, compare: one call."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.errors import InputError
from abc_hw.network import Graph, IntArray, Network
from abc_hw.rtl_gen.emit.verilog import Verilog
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan, WeightSource, served_digest
from abc_hw.rtl_gen.engine.design import AnyAccelerator, accelerator_of, plan_of
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.writing import copy, write

from .expected import Expected, expected, joined
from .folders import work_folder
from .harness import OutputFields, expected_output, expected_taps, harness_text, load_stimulus, stimulus
from .netlist import accelerator_text, find_flow, simulated
from .running import leave_rerun, run_bench, viewer_lists, wave_kind
from .simulators import environment

TOP = "accelerator"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """Bits of the stream behind a layer or unit that were compared with the golden model, and that differ."""

    name: str
    bits_compared: int
    bits_differing: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """What a simulation showed.

    Members
    -------
    layers : comparison per layer, or unit of a graph, then of the accelerator's ``output`` (scores and label)
    scores, labels : of the simulated hardware, int64 [B, classes] and [B]; absent bits read as 0. Of a network
        without classes its output [B, H, W, C], and no labels
    cycles_between_images : cycles from one image's last score to the next one's
    latency : cycles from the first input transfer to the first image's last score
    latencies : cycles from an image's last input transfer to its last score
    planned : what the plan says of the first of them, where nobody stalls; None: nothing
    bound : least cycles between images that the folding allows
    finished : did every image come out in time?
    cells : of a netlist, how many of each kind; nothing otherwise
    """

    layers: list[LayerComparison]
    scores: IntArray
    labels: IntArray | None
    cycles_between_images: list[int]
    latency: int
    latencies: list[int]
    planned: int | None
    bound: int
    finished: bool
    cells: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.finished and all(layer.bits_differing == 0 for layer in self.layers)


def simulate(
    network: Network | Graph,
    images: npt.NDArray[Any],
    *,
    foldings: Mapping[str, LayerFolding],
    simulator: str = "verilator",
    stalls: float = 0.0,
    waves: Path | str | None = None,
    seed: int = 0,
    work_dir: Path | str | None = None,
    netlist: str | None = None,
    target: str | None = None,
    weights: WeightSource = "rom",
    swap: Network | None = None,
    mutate: Callable[[str], str] | None = None,
) -> SimulationResult:
    """Run ``images`` through the generated Verilog and compare every layer's stream with the golden model.

    Parameters
    ----------
    network, foldings : what to generate
    images : uint8 (or int8 where the network's are signed) [B, H, W, C], at least one
    simulator : ``verilator`` or ``icarus``
    stalls : share of cycles, 0 to 0.9, in which input is held back and output not taken, at random
    waves : write a waveform file here, .vcd or in Icarus .fst, and lists of signals for GTKWave and Surfer
    seed : of the stalls
    work_dir : keep sources, build, records and a ``rerun.sh`` here; a temporary folder otherwise
    netlist : simulate what Yosys makes of the accelerator in this technology (a key of
        :data:`abc_hw.sim.netlist.FLOWS`) instead; only the accelerator's output can then be compared
    target : technology that the accelerator is made for; None: generic, or that of the netlist
    weights : ``loaded``, ``trained``: into an accelerator that comes without
    swap : a network that differs from the other only in what is loaded, which it is when half of the images
        have been sent
    mutate : changes the Verilog text before it is built, to try whether a fault is noticed

    Raises
    ------
    InputError
        if the images do not fit, the folding does not, the simulator is missing, a folder is not writable, or
        networks differ in more than their weights.
    """
    if not 0 <= stalls <= 0.9:
        raise InputError(f"stalls: expected a share from 0 to 0.9, found {stalls}")
    if len(images) < 1:
        raise InputError("images: expected at least one, found none")
    environment(simulator)  # refuses one that is not there before anything is made
    kind = wave_kind(waves, simulator)
    flow = None if netlist is None else find_flow(netlist)
    accelerator = simulated(network, foldings, weights=weights, target=target, flow=flow)
    following = _following(accelerator, swap, foldings)
    if following is None:
        trace = expected(accelerator.plan, images)
    else:  # half of them by the network that is loaded second
        half = len(images) // 2
        trace = joined(expected(accelerator.plan, images[:half]), expected(following.plan, images[half:]))
    with work_folder(work_dir) as folder:
        verilog, cells = accelerator_text(accelerator, top=TOP, flow=flow, folder=folder)
        if mutate is not None:
            verilog = dataclasses.replace(verilog, text=mutate(verilog.text))
        most_cycles = _prepare(folder, accelerator, following, verilog, images, trace, stalls, seed)
        leave_rerun(folder, simulator)
        seen = run_bench(folder, simulator, kind=kind)
        if waves is not None and seen is not None:
            copy(seen, waves)
            for path, text in viewer_lists(Path(waves), list(accelerator.plan.module_names.values())).items():
                write(path, text.encode())
        result_file = folder / "result.json"
        if not result_file.exists():
            log = (folder / "simulation.log").read_text()[-2000:]
            raise RuntimeError(f"{simulator} ended without a result after at most {most_cycles} cycles:\n{log}")
        result = _result(json.loads(result_file.read_text()), accelerator, len(images))
        return dataclasses.replace(result, cells=cells)


def _following(
    accelerator: AnyAccelerator, swap: Network | None, foldings: Mapping[str, LayerFolding]
) -> AnyAccelerator | None:
    """The accelerator of the network that is loaded second."""
    if swap is None:
        return None
    network = accelerator.plan.network
    plan = accelerator.plan
    same = isinstance(plan, AcceleratorPlan) and served_digest(swap, plan.weights) == plan.served_digest
    if not plan.loads or not same:
        what = "what is loaded" if plan.weights == "trained" else "its weights"
        raise InputError(
            f"swap: expected loaded weights and a network that differs from {network.name} in {what} only, "
            f"found {plan.weights} and {swap.name}"
        )
    return accelerator_of(plan_of(swap, foldings, weights=plan.weights, target=plan.target))


def _prepare(
    folder: Path, accelerator: AnyAccelerator, following: AnyAccelerator | None, verilog: Verilog,
    images: npt.NDArray[Any], trace: Expected, stalls: float, seed: int,
) -> int:
    """Write design, harness, input and expectation into the folder; returns the cycles after which to give up."""
    taps = expected_taps(accelerator, verilog, trace, TOP) if verilog.inner_streams else []
    words = stimulus(accelerator, images)
    scores, score_masks = expected_output(accelerator.plan, trace)
    plan = accelerator.plan
    slowest = sum(plan.rates.values()) + plan.cycles * len(images)
    loads = [
        load_stimulus(loaded) for loaded in (accelerator, following)
        if isinstance(loaded, Accelerator) and loaded.plan.loads
    ]
    weights = [word for words in loads for word in words]
    most_cycles = round((2 * slowest + 8 * len(words) + 2 * len(weights) + 10_000) / (1 - stalls) ** 2)
    (folder / "result.json").unlink(missing_ok=True)
    (folder / f"{TOP}.v").write_text(verilog.text)
    (folder / "harness.sv").write_text(
        harness_text(
            accelerator, taps, name=TOP, images=len(images), words=len(words),
            loads=(len(loads[0]), len(weights)) if loads else None,
            barrier=accelerator.plan.i_transfers * (len(images) // 2),
        )
    )
    for name, transfers in (("stimulus", words), ("weights", weights)):
        (folder / f"{name}.hex").write_text("".join(f"{word:x}\n" for word in transfers))
    (folder / "run.json").write_text(json.dumps({
        "stall": round(stalls * 256),
        "seed": (seed * 2654435761 + 1) % (1 << 32) or 1,
        "most_cycles": most_cycles,
        "taps": [dataclasses.asdict(tap) for tap in taps],
        "scores": scores,
        "score_masks": score_masks,
    }))
    return most_cycles


def _result(record: dict[str, Any], accelerator: AnyAccelerator, images: int) -> SimulationResult:
    plan, fields = accelerator.plan, OutputFields.of(accelerator.plan)
    words = [word or 0 for word in record["scores"]]
    words += [0] * (images * plan.o_transfers - len(words))
    scores = np.array([fields.number(word) for word in words], np.int64)
    shape = (-1,) if fields.label else plan.traced[-1].shape
    labels = [fields.label_of(word) for word in words[plan.o_transfers - 1 :: plan.o_transfers]]
    done = [moment for moment in record["done_at"] if moment is not None]
    finished = not record["timed_out"]
    return SimulationResult(
        layers=[LayerComparison(**counts) for counts in record["layers"]],
        scores=scores.reshape(images, *shape),
        labels=np.array(labels, np.int64) if fields.label else None,
        cycles_between_images=[after - before for before, after in itertools.pairwise(done[1:])]
        if finished
        else [],
        latency=done[1] - done[0] if finished else 0,
        latencies=[after - before for before, after in zip(record["sent_at"], done[1:], strict=True)]
        if finished
        else [],
        planned=plan.latency,
        bound=plan.cycles,
        finished=finished,
    )
