"""The trainings of a sweep, each to its result: one after another here, or on the workers of a Dask cluster.

A training that was cut short goes on from its last epoch, wherever it is begun again; so a worker that is killed
costs one epoch at most. Nothing but the folder of the sweep, which all workers must see, keeps what was done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abc_hw.data import load, name_of
from abc_hw.errors import InputError
from abc_hw.network import Graph
from abc_hw.network.reencode import reencode
from abc_hw.training.sweep import Result, Variant, read_result
from abc_hw.writing import write

from .console import need, progress, say
from .training import telling

if TYPE_CHECKING:
    import distributed

    from abc_hw.data import Split
    from abc_hw.training.checkpoints import Trained
    from abc_hw.training.recipes import TrainingConfig

RESULT = "result.json"
"""Of a finished training, in the folder of its run."""

LOCAL = "local"
"""In the place of a scheduler's address: workers on this machine, one a core."""

TOPIC = "abc-hw-epochs"
"""What workers call their messages."""

CONNECT_SECONDS = 30

Bar = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a sweep, as it is sent to a worker; folders are absolute."""

    variant: Variant
    config: TrainingConfig
    folder: Path
    data_dir: Path | None

    @property
    def title(self) -> str:
        """Which one it is, for people."""
        return f"{self.variant.text}, seed {self.config.seed}"


def one_by_one(trainings: Sequence[Training]) -> Iterator[tuple[int, Result]]:
    """The index and result of each training, in their order, in this process."""
    for number, training in enumerate(trainings, 1):
        say(f"{number} of {len(trainings)}: {training.title}")
        yield number - 1, result_of(training, bar=lambda: progress("golden model"), **telling())


def side_by_side(trainings: Sequence[Training], scheduler: str) -> Iterator[tuple[int, Result]]:
    """The index and result of each training as they come, from the workers of a cluster.

    Parameters
    ----------
    scheduler : the address of a Dask scheduler, or :data:`LOCAL`

    Raises
    ------
    InputError : nobody answers at the address, workers die again and again, or a training cannot be done
    """
    need("cluster", "distributed")
    import distributed

    with _client(scheduler) as client:
        client.subscribe_topic(TOPIC, lambda event: say(event[1]))
        futures = [
            client.submit(_on_worker, training, key=f"{training.folder.name}-{index}", pure=False)
            for index, training in enumerate(trainings)
        ]
        places = {future.key: index for index, future in enumerate(futures)}
        say(f"scheduler: {client.scheduler.address}, trainings: {len(trainings)}")
        try:
            for future in distributed.as_completed(futures):
                yield places[future.key], _result_from(future, trainings[places[future.key]])
        finally:
            client.cancel(futures)


@contextlib.contextmanager
def _client(scheduler: str) -> Iterator[distributed.Client]:
    import distributed

    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if scheduler == LOCAL:
            cluster = distributed.LocalCluster(
                threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
            )
            address = stack.enter_context(cluster)
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            found = f"{scheduler}: {' '.join(str(error).split())}"
            raise InputError(f"scheduler: expected a Dask scheduler's address or {LOCAL}, found {found}") from None
        yield stack.enter_context(client)


def _result_from(future: Any, training: Training) -> Result:
    import distributed

    try:
        result: Result = future.result()
    except distributed.KilledWorker as error:
        expected, count = f"a worker that outlives an epoch of {training.title}", error.allowed_failures + 1
        raise InputError(f"scheduler: expected {expected}, found {count} that died") from None
    return result


def _on_worker(training: Training) -> Result:
    """Runs on a worker, whose epochs it tells to all that listen."""
    import distributed

    def tell(epoch: Any) -> None:
        distributed.get_worker().log_event(TOPIC, f"{training.title}: {epoch}")

    return result_of(training, progress=False, on_epoch=tell)


def result_of(training: Training, *, bar: Bar = contextlib.nullcontext, **told: Any) -> Result:
    """The result of a training, which is done, or ended, if need be.

    Parameters
    ----------
    bar : gives what is called while the golden model evaluates
    told : options of :func:`abc_hw.training.loop.train` that tell how far it is

    Raises
    ------
    InputError : the folder has another configuration's training, or what the training raises
    """
    from abc_hw.training import loop
    from abc_hw.training.checkpoints import load_checkpoint

    config, folder = training.config, training.folder
    final, kept = folder / loop.FINAL, folder / RESULT
    if final.exists():
        trained = load_checkpoint(final)
        if trained.config != config:
            raise InputError(f"{final}: expected this sweep's configuration, found another; choose another --out")
    else:
        resume = (folder / loop.LAST).exists()
        trained = loop.train(config, folder, data_dir=training.data_dir, resume=resume, **told)
    if kept.exists():
        return read_result(kept, training.variant.text, config.seed)
    test = load(config.dataset, training.data_dir, config.reading).test
    result = _measure(training.variant, trained, test, bar)
    write(kept, json.dumps(dataclasses.asdict(result), indent=2).encode())
    return result


def _measure(variant: Variant, trained: Trained, test: Split, bar: Bar) -> Result:
    from abc_hw.sim import fast
    from abc_hw.training.lowering import to_network

    config = trained.config
    result = Result(
        variant=variant.text, seed=config.seed, validation=trained.accuracy["validation"],
        right=round(trained.accuracy["test"] * len(test)), images=len(test),
    )
    if config.kind == "float":
        return result
    network = to_network(trained.model, name=f"{name_of(config.dataset)}-{config.model}", classes=trained.classes)
    fewer = network if isinstance(network, Graph) else reencode(network)
    with bar() as update:
        scores = fast.run(fewer, test.images, progress=update)
    return dataclasses.replace(
        result, right=int((scores.argmax(1) == test.labels).sum()), xnors=fewer.binary_macs,
        xnors_before=network.binary_macs, weight_bits=fewer.weight_bits,
    )
