"""Names in generated text: safe, unique, and the layer's own wherever it may be."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_hw.errors import InputError
from abc_hw.network import Network, description
from abc_hw.rtl_gen.emit.libyosys import ys
from abc_hw.rtl_gen.emit.verilog import generate
from abc_hw.rtl_gen.engine.accelerator import OWN_NAMES
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.rtl_gen.parts.names import CPLUSPLUS, KEYWORDS, MOST_LETTERS, Names, in_comment, safe
from abc_hw.sim.runner import simulate

ANY_NAME = st.one_of(
    st.text(max_size=60), st.sampled_from(sorted(KEYWORDS | CPLUSPLUS)), st.sampled_from(OWN_NAMES),
    st.from_regex(r"[a-z_]{1,4}(_in|__i)?", fullmatch=True),
)


@given(ANY_NAME)
def test_a_safe_name_is_one_and_stays_as_it_is(name: str) -> None:
    made = safe(name)
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", made)
    assert len(made) <= MOST_LETTERS
    assert made not in KEYWORDS | CPLUSPLUS
    assert safe(made) == made


@given(st.lists(ANY_NAME, max_size=30))
def test_names_differ_with_all_that_hangs_on_them(wanted: list[str]) -> None:
    names = Names(OWN_NAMES)
    made = [names.new(name, with_=["_in"]) for name in wanted]
    everything = [*OWN_NAMES, *made, *(f"{name}_in" for name in made)]
    assert len({name.lower() for name in everything}) == len(everything)


@pytest.mark.parametrize("name", ["conv1", "fc", "dense_2", "a1"])
def test_an_ordinary_name_stays(name: str) -> None:
    assert safe(name) == name
    assert Names(OWN_NAMES).new(name, with_=["_in"]) == name


def test_names_that_cannot_be_are_close_to_what_was_wanted() -> None:
    assert [safe(name) for name in ("größe", "module", "数", "_1", "x" * 300)] == [
        "grosse", "layer_module", "layer", "layer_1", "x" * MOST_LETTERS,
    ]
    names = Names(OWN_NAMES)
    assert [names.new(name, with_=["_in"]) for name in ("gate", "a", "a_in", "A", "a__in")] == [
        "gate_2", "a", "a_in_2", "A_2", "a_in_3",
    ]


def test_keywords_are_those_of_yosys_too() -> None:
    """What Yosys would have to write as an escaped name is among them."""
    design = ys.Design()
    for word in ("module", "always_ff", "logic", "checker"):
        assert word in KEYWORDS
    del design


def test_a_comment_stays_on_its_line() -> None:
    assert in_comment("a\nüb") == "a\\n\\xfcb"


# -- whole accelerators -------------------------------------------------------------------------------------


def named(*names: str) -> Network:
    layers = "".join(
        f'[[layers]]\nkind = "conv"\nname = "{name}"\nout_channels = 2\nkernel = 1\n' for name in names[:-1]
    )
    text = f"""
name = "größe"
input_shape = [2, 2, 1]
classes = 2
M = 1
N = 1
{layers}
[[layers]]
kind = "dense"
name = "{names[-1]}"
"""
    return description.parse(text, "names").network()


ALL_AT_ONCE = (
    "accelerator", "argmax", "gate", "loader", "scores", "clk", "rst", "module", "stimulus", "größe", "in",
    "n" * 300, "n" * 299, "harness", "class",
)


@pytest.mark.parametrize(("simulator", "weights"), [("verilator", "loaded"), ("icarus", "rom")])
def test_layers_of_any_name_are_compared_as_themselves(simulator: str, weights: str) -> None:
    network = named(*ALL_AT_ONCE)
    images = np.random.default_rng(3).integers(256, size=(2, 2, 2, 1), dtype=np.uint8)
    result = simulate(
        network, images, foldings=default_foldings(network), simulator=simulator,
        weights="loaded" if weights == "loaded" else "rom",
    )
    assert result.ok
    assert {layer.name for layer in result.layers} == {*ALL_AT_ONCE, "output"}
    assert all(layer.bits_compared for layer in result.layers)


def test_the_text_is_ascii_whatever_the_names() -> None:
    network = named(*ALL_AT_ONCE)
    text = generate(network, default_foldings(network))
    assert text.isascii()
    assert "gr\\xf6\\xdfe" in text.splitlines()[0]


@pytest.mark.parametrize("name", ["module", "logic", "x" * 101])
def test_a_top_module_is_called_what_verilog_allows(name: str) -> None:
    network = named("a", "b")
    with pytest.raises(InputError, match=r"^name: expected "):
        generate(network, default_foldings(network), name=name)
