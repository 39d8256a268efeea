"""``build``, ``run`` and ``boards`` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import done, refused
from PIL import Image

NETWORK = "zoo:digits-lenet-m3n3"


def test_boards_are_listed() -> None:
    listed = done("boards")
    for name in ("icebreaker", "hx8k", "ulx3s-85f", "orangecrab-85f", "tangnano9k"):
        assert name in listed


def test_simulated_board_gives_golden_scores() -> None:
    said = done("run", NETWORK, "--simulate", "--images", 4)
    assert "images whose scores differ from the golden model's: 0" in said


def test_image_of_another_size(tmp_path: Path) -> None:
    image = tmp_path / "big.png"
    Image.new("L", (9, 7)).save(image)
    message = refused("run", NETWORK, image, "--port", "/dev/null")
    assert message == f"{image}: expected 8 x 8 pixels (or --resize), found 7 x 9"


@pytest.mark.parametrize(("words", "message"), [
    (["run", "--simulate"], "network: expected one with --simulate, found none"),
    (["run", NETWORK, "--port", "/dev/ttyNONE", "--simulate"], "found both"),
    (["run", NETWORK, "--cycles", 500], "cycles: expected with --simulate only, as a board's are fixed"),
    (["run", NETWORK, "--simulate", "--cycles", 1], "expected a target of at least "),
    (["run", NETWORK, "--simulate", "--images", 0], "images: expected a number from 1, found 0"),
    (["build", NETWORK, "--board", "toaster"], "board: expected one of icebreaker, hx8k"),
])
def test_refusals(words: list[object], message: str) -> None:
    assert message in refused(*words)
