"""Benches for designs with one clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator


def simulate(design: Elaboratable, *testbenches: Any, processes: Iterable[Any] = ()) -> None:
    """Run ``design`` until all testbenches have ended; ``processes`` go on beside them."""
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    for process in processes:
        simulator.add_testbench(process, background=True)
    simulator.run()
