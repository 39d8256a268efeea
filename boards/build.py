# amaranth: UnusedElaboratable=no
"""From a network to a bitstream, with what it takes of the part and how fast it is."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amaranth._toolchain import tool_env_var

from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.cost.choice import fold, fold_near
from abc_hw.rtl_gen.emit.yosys import for_synthesis
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.writing import filled_folder

from . import fit, link, placing
from .board import Board, BoardTop
from .folding import fold_into
from .gateware.top import LinkedAccelerator, Room
from .toolchain import Stage, run_script

NAME = "top"

ROOMS = tuple(Room(several=several, large=large) for several in (True, False) for large in (False, True))
"""For images, the best first: those that travel while one is computed take block RAMs; an image in a large memory
leaves that to no weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clock:
    """A clock's name, the highest frequency it could have, and the one it has, in MHz."""

    name: str
    reached: float
    wanted: float

    @property
    def met(self) -> bool:
        return self.reached >= self.wanted

    @property
    def slack(self) -> float:
        """Nanoseconds to spare in a period."""
        return 1e3 / self.wanted - 1e3 / self.reached


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """A finished build.

    Members
    -------
    board, network : names
    use : by resource, (used, there are)
    clocks : every clock of the design
    cycles : per image;  clock : Hz
    link_images : images a second that the serial line can carry
    seconds : by stage
    seeds : by seed, of several, how fast the slowest clock could be as a share of what it is to be; none where it
        was not routed
    bitstream : the file to load;  folder : where all files are
    """

    board: str
    network: str
    use: dict[str, tuple[int, int]]
    clocks: list[Clock]
    cycles: int
    clock: int
    link_images: float
    seconds: dict[str, float]
    seeds: dict[int, float | None]
    bitstream: Path
    folder: Path

    @property
    def met(self) -> bool:
        """Does every clock meet its constraint?"""
        return all(clock.met for clock in self.clocks)

    @property
    def images(self) -> float:
        """Images a second that the accelerator can take."""
        return self.clock / self.cycles


def usual_weights(board: Board, network: Network | Graph) -> WeightSource:
    """Where weights come from where nobody says: as the board has it, of graphs the design."""
    return board.weights if isinstance(network, Network) else "rom"


def design(
    board: Board, network: Network | Graph, foldings: Mapping[str, LayerFolding] | None = None,
    weights: WeightSource | None = None, cycles: int | None = None,
) -> LinkedAccelerator:
    """The board's accelerator, its images kept where they leave block RAMs enough; weights from where the board
    has them unless told otherwise.

    Without foldings it has those with the least hardware for so many cycles per image; without a number for the
    board's own target, or as near as the layers come. If only block RAMs are short for them, the least of those
    whose memories have room, without a number up to eight times as slow; if there are none, those without room.

    Raises
    ------
    InputError
        if a folding does not fit, no folding is so fast, or the image does not fit the link.
    """
    weights = weights or usual_weights(board, network)
    if foldings is not None:
        return _roomiest(board, network, foldings, weights)
    least = fold_near(network, board.cycles) if cycles is None else fold(network, cycles=cycles)
    linked = _roomiest(board, network, least, weights)
    if isinstance(network, Graph) or fit.block_count(linked.memories) <= board.part.brams:
        return linked
    if fit.least_luts(board, network, least, weights) > board.part.luts:
        return linked
    found = _folded_into(board, network, linked, weights, cycles)
    return linked if found is None else _roomiest(board, network, found, weights)


def _roomiest(
    board: Board, network: Network | Graph, foldings: Mapping[str, LayerFolding], weights: WeightSource
) -> LinkedAccelerator:
    """With the first of ``ROOMS`` that leaves block RAMs enough, or else with that which takes the fewest."""
    found = []
    for room in ROOMS:
        found.append(_linked(board, network, foldings, weights, room))
        if fit.block_count(found[-1].memories) <= board.part.brams:
            return found[-1]
    return min(found, key=lambda linked: fit.block_count(linked.memories))


def _linked(
    board: Board, network: Network | Graph, foldings: Mapping[str, LayerFolding], weights: WeightSource, room: Room
) -> LinkedAccelerator:
    return LinkedAccelerator(
        network, foldings, clock=board.clock, target=board.part.target, weights=weights, large=board.part.large,
        room=room,
    )


def _folded_into(
    board: Board, network: Network, short: LinkedAccelerator, weights: WeightSource, cycles: int | None
) -> Mapping[str, LayerFolding] | None:
    """Foldings whose memories have room in place of those of an accelerator whose memories have not."""
    plan = short.accelerator.plan
    wanted = max(plan.cycles, cycles or board.cycles)
    rooms = [_linked(board, network, plan.foldings, weights, room) for room in ROOMS if not room.several]
    for times, linked in itertools.product((1,) if cycles is not None else (1, 2, 4, 8), rooms):
        taken = [memory.mapped for memory in linked.kept]
        found = fold_into(
            network, wanted * times, target=board.part.target, weights=weights,
            blocks=board.part.brams - sum(one.cells for one in taken if one.kind == "block"),
            large=board.part.large - sum(one.cells for one in taken if one.kind == "large"),
            cells=board.part.luts - fit.LINK_LUTS,
        )
        if found is not None:
            return found
    return None


def plan(board: Board, linked: LinkedAccelerator, *, seed: int = 1) -> Any:
    """Amaranth's build plan, files and script, for the design."""
    overrides = dict(board.overrides)
    options = f"--seed {seed} --report {NAME}.report.json --timing-allow-fail"
    overrides["nextpnr_opts"] = f"{options} {overrides.get('nextpnr_opts', '')}".strip()
    made = board.platform().build(BoardTop(board, linked), name=NAME, do_build=False, **overrides)
    made.files[f"{NAME}.il"] = for_synthesis(made.files[f"{NAME}.il"])
    return made


def build(
    network: Network | Graph,
    board: Board,
    *,
    folder: Path | str,
    foldings: Mapping[str, LayerFolding] | None = None,
    cycles: int | None = None,
    weights: WeightSource | None = None,
    seeds: Sequence[int] = (1,),
    on_stage: Stage | None = None,
) -> Summary:
    """Make the bitstream.

    Parameters
    ----------
    network, board : what, for which
    folder : for all files; made if it is not there
    foldings : of all layers; None for so many ``cycles`` per image, None of them for the board's own target
    weights : where they come from; None for what is usual on the board
    seeds : of the placements, which run at once; the one whose slowest clock is fastest is kept
    on_stage : told what begins: generation, synthesis, place and route, bitstream

    Raises
    ------
    InputError
        if the network does not fit the board, the folding not the network, or a program is missing.
    RuntimeError
        if a program fails.
    """
    folder = Path(folder)
    if on_stage is not None:
        on_stage("generation")
    linked = design(board, network, foldings, weights, cycles)

    def needs(foldings: Mapping[str, LayerFolding]) -> int:
        return fit.block_count(design(board, network, foldings, weights).memories)

    source = weights or usual_weights(board, network)
    fit.check(board, network, linked.accelerator.plan.foldings, source, needs)
    made = plan(board, linked, seed=seeds[0])
    with filled_folder(folder) as stage:
        seconds = _run(board, made, stage, on_stage, seeds)
    report = json.loads((folder / f"{NAME}.report.json").read_text())
    per_image = len(link.image_frames(1, b"\1" * linked.identity.image_bytes)) * 10
    return Summary(
        board=board.name, network=network.name,
        use={name: (entry["used"], entry["available"]) for name, entry in report["utilization"].items()},
        clocks=[
            Clock(name=name, reached=entry["achieved"], wanted=entry["constraint"])
            for name, entry in report["fmax"].items()
        ],
        cycles=linked.accelerator.plan.cycles, clock=board.clock, link_images=link.BAUD / per_image,
        seconds=seconds, seeds=_reached(folder, seeds),
        bitstream=folder / f"{NAME}.{board.bitstream}", folder=folder,
    )


def _run(
    board: Board, made: Any, folder: Path, on_stage: Stage | None, seeds: Sequence[int]
) -> dict[str, float]:
    """Run the build plan in the folder: seconds by stage; where a program fails, no bitstream is left."""
    made.extract(folder)
    commands = made.files[f"{made.script}.sh"]
    tools = [tool for tool in board.platform().required_tools if f'"${tool_env_var(tool)}"' in commands]
    try:
        return run_script(folder, made.script, tools, on_stage, seeds)
    except RuntimeError:
        (folder / f"{NAME}.{board.bitstream}").unlink(missing_ok=True)
        raise


def _reached(folder: Path, seeds: Sequence[int]) -> dict[int, float | None]:
    """:attr:`Summary.seeds`"""
    if len(seeds) == 1:
        return {}
    reports = {seed: folder / placing.of_seed(f"{NAME}.report.json", seed) for seed in seeds}
    return {seed: placing.reached(report) if report.exists() else None for seed, report in reports.items()}
