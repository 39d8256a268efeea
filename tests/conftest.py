"""Settings and fixtures for the whole suite."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import TINY, done
from hypothesis import settings

from abc_hw.network import description, files

# Each run draws the same examples, so that two runs of the suite agree; no deadline, for slow machines exist.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the suite runs many processes side by side


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.ckpt, network.safetensors and network.onnx of a short training; tests do not change them."""
    folder = tmp_path_factory.mktemp("trained")
    done("train", "-M", "2", "-N", "2", "--epochs", "2", "--integer-epochs", "1", "--out", folder)
    done("export", folder / "model.ckpt", "-o", folder / "network.safetensors", "--onnx", folder / "network.onnx")
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The network file of a small network with random weights."""
    path = tmp_path / "tiny.safetensors"
    files.save(description.load(TINY)[0], path)
    return path


# -- what each room takes ----------------------------------------------------------------------------------------


def processor_seconds() -> float:
    """Of this process and of those that it has started and that are over."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


BEGAN = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[BEGAN] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    found = yield
    item.user_properties.append(("processor_seconds", processor_seconds() - item.stash[BEGAN]))
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Processor seconds by room, where more than one was entered."""
    rooms: Counter[str] = Counter()
    for report in terminalreporter.getreports(""):
        for name, seconds in report.user_properties:
            if name == "processor_seconds":
                rooms[str(Path(report.nodeid.partition("::")[0]).parent)] += seconds
    if len(rooms) > 1:
        terminalreporter.section("processor seconds by room")
        for room, seconds in [*rooms.most_common(), ("all", rooms.total())]:
            terminalreporter.line(f"{seconds:8.1f}  {room}")
