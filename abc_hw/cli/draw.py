"""``demo --draw``: a page on this machine on which one draws a digit and sees what the network makes of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import numpy.typing as npt

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.network import Network

from .console import need, say
from .polarity import ground_of

PAD = 280
"""Pixels of a side of the canvas that is drawn on."""

ENGINES = ("golden", "simulation", "board")
"""What can answer."""

MOST_CHANNELS = 32
"""Channels of a layer that are shown."""

MARGIN_FROM = 20
"""Sides from which on a drawing gets a margin of a seventh, as the digits of MNIST have; 8 x 8 have none."""

Images = npt.NDArray[np.uint8]
Engine = Callable[[Images], npt.NDArray[np.int64]]


def serve(network: Path, *, engine: str, port: str | None, http_port: int) -> None:
    """Serve the page until interrupted.

    Raises
    ------
    InputError : an unknown engine, a network for images of another kind, no board, or a port that is taken
    """
    found, _ = sources.read(network)
    with answering(found, engine, port) as infer:
        try:
            server = make_server(found, infer, name=engine_name(engine, port), http_port=http_port)
        except OSError as error:
            raise InputError(f"http_port: expected a free port, found {http_port}: {error.strerror}") from None
        with server:
            say(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends it)")
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()


def engine_name(engine: str, port: str | None) -> str:
    """What answers, for people."""
    return {"golden": "the golden model", "simulation": "a simulated board"}.get(engine, f"the board at {port}")


@contextlib.contextmanager
def answering(network: Network, engine: str, port: str | None) -> Iterator[Engine]:
    """What computes scores, for as long as the block runs."""
    if engine not in ENGINES:
        raise InputError(f"engine: expected one of {', '.join(ENGINES)}, found {engine}")
    if engine == "golden":
        from abc_hw.sim import fast

        yield lambda images: fast.run(network, images)
        return
    need("board", "serial")
    from abc_hw.boards.gateware.top import LinkedAccelerator
    from abc_hw.boards.host.driver import Accelerator
    from abc_hw.boards.host.run import SIMULATED_CLOCK
    from abc_hw.boards.host.simulated import simulated_board
    from abc_hw.rtl_gen.cost.choice import fold

    with contextlib.ExitStack() as open_things:
        timeout = 1.0
        if engine == "simulation":
            top = LinkedAccelerator(network, fold(network), clock=SIMULATED_CLOCK, baud=None)
            port, timeout = open_things.enter_context(simulated_board(top, images=1)).port, 30.0
        elif port is None:
            raise InputError("port: expected --port with the engine board, found none")
        device = open_things.enter_context(Accelerator.open(port, network=network, timeout=timeout))
        yield device.infer


def make_server(network: Network, infer: Engine, *, name: str, http_port: int) -> ThreadingHTTPServer:
    """The page's server, on this machine only; port 0 takes any that is free.

    Raises
    ------
    InputError : a network whose images are no pictures of 1 or 3 channels
    """
    if network.input_shape[2] not in (1, 3):
        raise InputError(f"network: expected images of 1 or 3 channels, found {network.input_shape[2]}")
    page = files("abc_hw.cli").joinpath("draw.html").read_bytes()
    told = json.dumps(facts(network, name)).encode()
    lock = Lock()  # a board answers one after the other

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            texts = {"/": ("text/html; charset=utf-8", page), "/facts": ("application/json", told)}
            kind, body = texts.get(urlparse(self.path).path, ("text/plain", b""))
            self._reply(kind, body, 200 if body else 404)

        def do_POST(self) -> None:
            asked = urlparse(self.path)
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), PAD * PAD + 1))
            options = {key: values[0] == "1" for key, values in parse_qs(asked.query).items()}
            try:
                with lock:
                    made = answer(network, infer, body, **options) if asked.path == "/answer" else {}
            except (InputError, TypeError) as error:
                made = {"error": str(error)}
            self._reply("application/json", json.dumps(made).encode(), 200 if made else 404)

        def _reply(self, kind: str, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: a terminal is no place for every stroke."""

    return ThreadingHTTPServer(("127.0.0.1", http_port), Handler)


def facts(network: Network, engine: str) -> dict[str, Any]:
    """What the page tells before anything is drawn."""
    layer = network.layers[-1]
    return {
        "name": network.name, "classes": network.classes, "shape": network.input_shape, "engine": engine,
        "most": network.layers[0].input_bases.levels - 1, "dark": ground_of(network) == "bright",
        "about": f"{len(network.layers)} layers, M = {layer.weight_bases.count}, N = {layer.input_bases.count}, "
                 f"digest {network.digest[:16]}",
    }


def answer(
    network: Network, infer: Engine, drawing: bytes, *, centre: bool = True, dark: bool = False
) -> dict[str, Any]:
    """What the network makes of a drawing of ``PAD`` x ``PAD`` grey pixels, ink 255.

    Parameters
    ----------
    centre : scale the ink to the image's size and put its middle there
    dark : hand the network dark ink on bright ground

    Raises
    ------
    InputError : another number of bytes
    """
    from abc_hw.sim import fast

    if len(drawing) != PAD * PAD:
        raise InputError(f"drawing: expected {PAD * PAD} bytes, found {len(drawing)}")
    image = as_image(np.frombuffer(drawing, np.uint8).reshape(PAD, PAD), network, centre=centre, dark=dark)
    begun = time.perf_counter()
    scores = infer(image[None])[0]
    seconds = time.perf_counter() - begun
    hidden, _ = fast.codes(network, image[None])
    return {
        "scores": scores.tolist(), "class": int(scores.argmax()), "milliseconds": 1000 * seconds, "dark": dark,
        "seen": (image[:, :, 0] if image.shape[2] == 1 else image).tolist(),
        "layers": [
            {
                "name": layer.name, "channels": layer.out_channels, "most": int(after.input_bases.levels) - 1,
                "maps": maps(codes[0]).tolist(),
            }
            for layer, after, codes in zip(network.layers, network.layers[1:], hidden, strict=False)
        ],
    }


def maps(codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Codes [H, W, C] as pictures [pictures, rows, columns]: one a channel, or one row of all where H = W = 1."""
    if codes.shape[:2] == (1, 1):
        return codes.reshape(1, 1, -1)
    return codes.transpose(2, 0, 1)[:MOST_CHANNELS]


def as_image(drawing: Images, network: Network, *, centre: bool, dark: bool) -> Images:
    """A drawing as the network's input [H, W, C]; see :func:`answer`."""
    from PIL import Image

    height, width, channels = network.input_shape
    places = np.argwhere(drawing > 0)
    if centre and len(places):
        top, left = places.min(axis=0)
        bottom, right = places.max(axis=0) + 1
        drawing = drawing[top:bottom, left:right]
        side = min(height, width)
        room = side - 2 * round(side / 7) if side >= MARGIN_FROM else side
        scale = room / max(drawing.shape)
        rows, columns = (max(1, round(size * scale)) for size in drawing.shape)
        small = np.asarray(Image.fromarray(drawing).resize((columns, rows), Image.Resampling.BOX))
        image = np.zeros((height, width), np.uint8)
        first_row, first_column = (height - rows) // 2, (width - columns) // 2
        image[first_row : first_row + rows, first_column : first_column + columns] = small
    else:
        image = np.asarray(Image.fromarray(drawing).resize((width, height), Image.Resampling.BOX))
    most = network.layers[0].input_bases.levels - 1
    scaled = np.round(image.astype(np.float64) * most / 255).astype(np.uint8)
    scaled = most - scaled if dark else scaled
    return np.repeat(scaled[:, :, None], channels, axis=2)
