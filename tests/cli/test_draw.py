"""The page to draw on: what it answers, and in a browser what it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest
from command_line import refused

from abc_hw import load
from abc_hw.cli.draw import PAD, answer, answering, as_image, make_server
from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.sim import golden

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def network() -> Network:
    return load("zoo:mnist-lenet-m3n3")


@pytest.fixture(scope="module")
def page(network: Network) -> Iterator[str]:
    """The address of a page that the golden model answers."""
    with answering(network, "golden", None) as infer, make_server(
        network, infer, name="the golden model", http_port=0
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def one() -> np.ndarray:
    """A drawing of a 1."""
    drawing = np.zeros((PAD, PAD), np.uint8)
    drawing[60:220, 130:150] = 255
    return drawing


def asked(page: str, drawing: bytes, query: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{page}answer?{query}", data=drawing, timeout=60) as reply:
        found = json.load(reply)
    assert isinstance(found, dict)
    return found


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    with urllib.request.urlopen(page, timeout=60) as reply:
        text = reply.read().decode()
    assert re.findall(r"(?:src|href)=|https?://|@import|url\(", text) == []
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{page}../etc/passwd", timeout=60)


def test_answers_are_the_golden_models(page: str, network: Network) -> None:
    found = asked(page, one().tobytes(), "centre=1&dark=0")
    image = as_image(one(), network, centre=True, dark=False)
    trace = golden.run(network, image[None])
    assert found["seen"] == image[:, :, 0].tolist()
    assert found["scores"] == trace.scores[0].tolist()
    assert found["class"] == trace.classes[0] == 1
    layers = found["layers"]
    assert isinstance(layers, list)
    assert [layer["name"] for layer in layers] == [layer.name for layer in network.layers[:-1]]
    assert layers[0]["maps"] == trace.layers[0].output[0].transpose(2, 0, 1).tolist()


def test_polarity_and_size(network: Network) -> None:
    bright = as_image(one(), network, centre=True, dark=False)
    assert (255 - bright == as_image(one(), network, centre=True, dark=True)).all()
    rows = np.argwhere(bright[:, :, 0].any(axis=1)).ravel()
    assert (rows.min(), rows.max()) == (4, 23)
    assert as_image(np.zeros((PAD, PAD), np.uint8), network, centre=True, dark=False).max() == 0
    small = load("zoo:digits-lenet-m3n3")
    assert as_image(one(), small, centre=True, dark=False)[:, :, 0].any(axis=1).all()


def test_what_is_no_drawing(page: str, network: Network) -> None:
    assert asked(page, b"short", "centre=1")["error"] == f"drawing: expected {PAD * PAD} bytes, found 5"
    assert "error" in asked(page, one().tobytes(), "nonsense=1")
    with pytest.raises(InputError, match="drawing: expected"):
        answer(network, lambda images: images, b"")
    assert refused("demo", "--draw", "--engine", "oracle") == (
        "engine: expected one of golden, simulation, board, found oracle"
    )
    assert refused("demo", "--draw", "--engine", "board") == (
        "port: expected --port with the engine board, found none"
    )


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
def test_in_a_browser(page: str) -> None:
    stroke = quote(json.dumps([[140, 60], [140, 220]]))
    shown = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom",
         f"{page}#{stroke}"],
        capture_output=True, text=True, check=True, timeout=300,
    ).stdout
    assert re.search(r'<b id="class">1</b>', shown)
    assert shown.count('class="bar') == 10
    assert "28 x 28 x 1, bright on dark" in shown
    assert re.search(r"conv1: level codes 0 to 3, \d+ channels", shown)
    assert re.search(r'<p id="trouble" role="alert"></p>', shown)
