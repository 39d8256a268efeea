"""A fault planted in each block of a layer is found, and named by block, layer, image, pixel and channel."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from abc_hw import load
from abc_hw.network import Network
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.emit import verilog
from abc_hw.rtl_gen.engine.design import make_accelerator
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.sim import diagnosis, golden

KNOBS = {"conv1": {"simd": 3, "pe": 2}}


@pytest.fixture(scope="module")
def design() -> tuple[Network, dict[str, LayerFolding]]:
    network = load("example:tiny")
    return network, fold(network, knobs=KNOBS)


def images(network: Network) -> np.ndarray:
    return np.random.default_rng(1).integers(256, size=(2, *network.input_shape), dtype=np.uint8)


def within(module: str, pattern: str, replacement: str) -> Callable[[str], str]:
    """Changes the first place in a module's text where the pattern is."""

    def mutate(text: str) -> str:
        body = re.search(rf"^module accelerator_{module}\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
        assert body is not None
        changed, count = re.subn(pattern, replacement, body[0], count=1)
        assert count == 1
        return text[: body.start()] + changed + text[body.end() :]

    return mutate


def flipped(module: str, bits: int) -> Callable[[str], str]:
    """Inverts the lowest bits of the first word of a memory."""

    def mutate(text: str) -> str:
        word = re.search(rf"(module accelerator_{module}\(.*?)= (\d+)'h([0-9a-f]+);", text, re.DOTALL)
        assert word is not None
        return f"{text[: word.start()]}{word[1]}= {word[2]}'h{int(word[3], 16) ^ bits:x};{text[word.end() :]}"

    return mutate


FAULTS = {
    "window": within("conv1_window_bank0", r"(\[write__addr\] <= )(\w+);", r"\1~\2;"),
    "array": flipped("conv1_weights", 1),
    "scale": flipped("conv1_scale_alphas", 7),
    "threshold": within("conv1_output", r" >= ", " < "),
    "pool": within("conv1_pool", r"(assign \w+ = )\w+ \? data : (codes_\w+);", r"\1\2;"),
}


def test_every_fault_has_its_place(design: tuple[Network, dict[str, LayerFolding]]) -> None:
    text = verilog.emit_accelerator(make_accelerator(*design)).text
    assert len({text, *(mutate(text) for mutate in FAULTS.values())}) == 1 + len(FAULTS)


@pytest.mark.parametrize("block", [
    block if block == "scale" else pytest.param(block, marks=pytest.mark.long) for block in FAULTS
])
def test_a_planted_fault_is_named(design: tuple[Network, dict[str, LayerFolding]], block: str) -> None:
    network, foldings = design
    place = diagnosis.locate(network, images(network), foldings=foldings, mutate=FAULTS[block])
    assert place is not None
    assert (place.layer, place.block) == ("conv1", block)
    assert place.expected != place.found
    if block in ("threshold", "pool"):
        trace = golden.run(network, images(network)).layers[0]
        values = trace.levels if block == "threshold" else trace.output
        assert values is not None
        assert values[place.image, *place.pixel, place.channel] == place.expected
    assert re.fullmatch(
        rf"conv1, {block}: image \d+, pixel \(\d+, \d+\), channel \d+: expected -?\d+, found -?\d+", str(place)
    )


@pytest.mark.long
@pytest.mark.parametrize("weights", ["rom", "loaded"])
def test_nothing_is_named_where_nothing_differs(
    design: tuple[Network, dict[str, LayerFolding]], weights: str
) -> None:
    network, foldings = design
    assert diagnosis.locate(
        network, images(network), foldings=foldings, weights=weights, stalls=0.3  # type: ignore[arg-type]
    ) is None
