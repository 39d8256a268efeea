"""The native loop: scores and classes of many images, and what it does with a design that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from places import EXAMPLES

from abc_hw.errors import InputError
from abc_hw.network import description
from abc_hw.rtl_gen.blocks.pe import ElementPlan, ProcessingElement
from abc_hw.rtl_gen.emit.verilog import emit
from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.rtl_gen.parts.popcount import TARGETS
from abc_hw.sim import fast, native
from abc_hw.sim.counters import with_operators
from abc_hw.writing import temporary_folder

NETWORK, _ = description.load(EXAMPLES / "tiny.toml")
IMAGES = np.random.default_rng(0).integers(256, size=(41, *NETWORK.input_shape), dtype=np.uint8)
FOLDINGS = default_foldings(NETWORK)


def test_all_scores_equal_the_fast_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights loaded, both streams stalled, two processes; and what becomes of a design that stands still."""
    seen: list[tuple[int, int]] = []
    result = native.simulate_scores(
        NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", stalls=0.4, jobs=2, work_dir=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    expected = fast.run(NETWORK, IMAGES)
    np.testing.assert_array_equal(result.scores, expected)
    np.testing.assert_array_equal(result.labels, expected.argmax(axis=1))
    assert len(result.cycles) == 39  # 41 images in two processes
    assert seen == sorted(seen)
    assert seen[-1] == (41, 41)
    monkeypatch.setattr(native, "build_native", lambda *_, **__: tmp_path / "native" / "Vaccelerator")
    free = native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", jobs=1, work_dir=tmp_path)
    np.testing.assert_array_equal(free.scores, expected)
    assert free.cycles.tolist() == [free.bound] * 40
    monkeypatch.setattr(native, "_patience", lambda *_: 100)
    with pytest.raises(RuntimeError, match=r"verilator ended with code 3 after 0 of 41 images"):
        native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, weights="loaded", jobs=1, work_dir=tmp_path)


def equal_counters(gates: str, operators: str, latency: int) -> bool:
    """Are the counters of two elements, top_pe0 and other, equal for all inputs, as Yosys proves or refutes?"""
    with temporary_folder() as folder:
        (folder / "gates.v").write_text(gates)
        (folder / "operators.sv").write_text(operators)
        said = run_yosys(
            f"read_verilog {folder / 'gates.v'}", f"read_verilog -sv {folder / 'operators.sv'}", "proc",
            "miter -equiv -flatten top_pe0_count_0_0 other_count_0_0 miter", "hierarchy -top miter",
            f"sat -prove trigger 0 -seq {latency} -tempinduct -maxsteps {latency + 2} miter",
        )
    assert ("SUCCESS!" in said) != ("FAIL!" in said)
    return "SUCCESS!" in said


def test_counters_by_operator_count_the_same_in_the_same_cycle() -> None:
    """The modules as they are generated and those that stand for them."""
    for simd, target in ((2, "generic"), (3, "generic"), (6, "asic"), (9, "generic")):
        plan = ElementPlan(simd=simd, mp=1, np=1, dot_length=simd, target=target, code=TARGETS[target].code)
        text = emit(ProcessingElement(plan), name="top_pe0").text
        found, count = with_operators(text, target=target)
        assert count == 1
        found = found.replace("top_pe0", "other")
        assert equal_counters(text, found, plan.latency)
    for right, wrong in (("(plain << 1)", "plain"), ("count1 <= count0", "count1 <= a")):
        assert right in found
        assert not equal_counters(text, found.replace(right, wrong), plan.latency)


@pytest.mark.long
@pytest.mark.parametrize("target", ["generic", "ecp5-slices"])
def test_a_model_with_counters_by_operator_gives_the_same(target: str) -> None:
    result = native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, target=target, jobs=1, fast=True)
    np.testing.assert_array_equal(result.scores, fast.run(NETWORK, IMAGES))
    assert result.cycles.tolist() == [result.bound] * 40


def test_a_netlist_has_no_counters() -> None:
    with pytest.raises(InputError, match=r"fast: expected the Verilog, .* found a netlist for ecp5"):
        native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, netlist="ecp5", fast=True)


@pytest.mark.long
def test_a_score_that_differs_is_noticed() -> None:
    def halves(text: str) -> str:
        changed = re.sub(r"\.i__payload\(i__payload\)", ".i__payload(i__payload >> 1)", text, count=1)
        assert changed != text
        return changed

    result = native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, mutate=halves)
    assert (result.scores != fast.run(NETWORK, IMAGES)).any()


@pytest.mark.parametrize("stalls", [-0.1, 0.95])
def test_stalls_are_a_share(stalls: float) -> None:
    with pytest.raises(InputError, match=rf"stalls: expected a share from 0 to 0.9, found {stalls}"):
        native.simulate_scores(NETWORK, IMAGES, foldings=FOLDINGS, stalls=stalls)
