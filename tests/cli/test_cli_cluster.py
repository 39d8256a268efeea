"""Sweeps on a Dask cluster: the table of all results, whatever dies on the way."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import distributed
import pytest
from command_line import done, refused

from abc_hw.cli import sweeping

SWEEP = ("sweep", "residual:2/1", "float", "--model", "mlp")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*treespec, LeafSpec.*:FutureWarning",  # Lightning's own use of a torch class
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning",  # of connections as they close
)


def cluster_of_one(**options: Any) -> distributed.LocalCluster:
    return distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, **options)


def epochs(shown: str, variant: str) -> list[int]:
    found = re.findall(rf"(?m)^{re.escape(variant)}, seed 1: epoch (\d+) of \d+: \d+\.\d s, loss ", shown)
    return [int(number) for number in found]


def test_a_sweep_on_a_cluster_gives_one_table(tmp_path: Path) -> None:
    with cluster_of_one(processes=False) as at:
        shown = done(*SWEEP, "--epochs", 1, "--out", tmp_path / "many", "--scheduler", at.scheduler_address)
    assert epochs(shown, "residual:2/1") == epochs(shown, "float") == [1]
    rows = (tmp_path / "many" / "table.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| residual:2/1", "| float"]
    for row in rows:
        assert row.split(" | ")[2] in shown


def test_a_scheduler_that_nobody_answers_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "CONNECT_SECONDS", 0.2)
    line = refused(*SWEEP, "--out", tmp_path, "--scheduler", "tcp://127.0.0.1:9")
    assert line.startswith("scheduler: expected a Dask scheduler's address or local, found tcp://127.0.0.1:9: ")
    assert "found nonsense://" in refused(*SWEEP, "--out", tmp_path, "--scheduler", "nonsense://")


@pytest.mark.long
def test_a_worker_that_is_killed_costs_an_epoch_and_no_result(tmp_path: Path) -> None:
    options = (*SWEEP, "--epochs", 4)
    with cluster_of_one() as cluster, distributed.Client(cluster) as client:
        (worker,) = client.run(os.getpid).values()
        reached = threading.Event()

        def listen(event: Any) -> None:
            if event[1].startswith("residual:2/1, seed 1: epoch 2 of 4") and not reached.is_set():
                reached.set()
                os.kill(worker, signal.SIGKILL)

        client.subscribe_topic(sweeping.TOPIC, listen)
        shown = done(*options, "--out", tmp_path / "killed", "--scheduler", cluster.scheduler_address)
        assert reached.is_set()
        assert worker not in client.run(os.getpid).values()
    seen = epochs(shown, "residual:2/1")
    assert sorted(set(seen)) == [1, 2, 3, 4]
    assert len(seen) <= 5
    assert epochs(shown, "float") == [1, 2, 3, 4]
    done(*options, "--out", tmp_path / "whole")
    assert (tmp_path / "killed" / "table.md").read_text() == (tmp_path / "whole" / "table.md").read_text()
    print(shown)
