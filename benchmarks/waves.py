"""The waveforms of docs/into-your-design.md, from simulation: reset, an image, back-pressure, a load; and
that of the README, the digit of :mod:`benchmarks.picture` and its scores.

    python -m benchmarks.waves [FOLDER]

Writes NAME.json (WaveDrom) and NAME.svg for each into docs/waves, or the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wavedrom

from abc_hw.data import load as load_data
from abc_hw.rtl_gen.emit import manifest
from abc_hw.rtl_gen.emit.manifest import Bits, Manifest, Stream
from abc_hw.sim.simulators import cocotb_runner
from abc_hw.writing import temporary_folder, write

from . import picture

TARGET = Path(__file__).parents[1] / "docs" / "waves"
NETWORK = "example:tiny"
GAP = None
"""A place where cycles are left out."""

QUIET = 2
"""Cycles around one that is left out in which nothing happens either."""

Sample = dict[str, int]
Column = Sample | None


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    folder.mkdir(exist_ok=True)
    for name, signals in pictures():
        text = json.dumps(signals, indent=1)
        write(folder / f"{name}.json", (text + "\n").encode())
        write(folder / f"{name}.svg", wavedrom.render(text).tostring().encode())
        print(f"{folder / name}.json, .svg")


def pictures() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what WaveDrom draws)."""
    with temporary_folder() as folder:
        design = simulated(folder, "reset", "image", "backpressure")
        samples = {name: read(folder, name) for name in ("reset", "image", "backpressure")}
    yield "reset", drawn(design, samples["reset"], ["rst"], ["i", "o"])
    yield "image", drawn(design, excerpts(samples["image"], first_and_last(samples["image"])), [], ["i", "o"])
    ends = [index for index, one in enumerate(samples["backpressure"]) if one["o__valid"]]
    waiting = excerpts(samples["backpressure"], [(ends[0] - 1, ends[-1] + 2)])
    yield "backpressure", drawn(design, waiting, [], ["o"])
    with temporary_folder() as folder:
        design = simulated(folder, "load", options=("--constants", "loaded"))
        loading = read(folder, "load")
    done = next(index for index, one in enumerate(loading) if one["loaded"])
    yield "load", drawn(design, excerpts(loading, [(0, 6), (done - 4, done + 5)]), ["loaded"], ["load", "i"])
    with temporary_folder() as folder:
        np.save(folder / "images.npy", load_data("digits").test.images[[picture.IMAGE]])
        design = simulated(folder, "image", network=picture.NETWORK)
        samples["digit"] = read(folder, "image")
    begin, end, scores = first_and_last(samples["digit"])
    ends = [end, (scores[0], scores[0] + 3), (scores[1] - 3, scores[1])]
    yield "digit", drawn(design, excerpts(samples["digit"], [begin, *ends]), [], ["i", "o"])


def simulated(folder: Path, *tests: str, network: str = NETWORK, options: Sequence[str] = ()) -> Manifest:
    """Generate the accelerator and run tests of the bench in the folder."""
    command = [sys.executable, "-m", "abc_hw", "generate", network, "--name", "core", "-o", "core.v", *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with cocotb_runner("icarus") as runner:
        runner.build(
            sources=[folder / "core.v"], hdl_toplevel="core", build_dir=folder, timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )
        runner.test(
            test_module="benchmarks.waves_bench", hdl_toplevel="core", test_dir=folder, build_dir=folder,
            test_filter="|".join(f"{test}$" for test in tests), log_file=folder / "log",
        )
    return manifest.read(folder / "core.json")


def read(folder: Path, name: str) -> list[Sample]:
    return json.loads((folder / f"{name}.samples.json").read_text())


def first_and_last(samples: list[Sample]) -> list[tuple[int, int]]:
    """Where an image begins and ends, and its scores."""
    sent = [index for index, one in enumerate(samples) if one["i__valid"] and one["i__ready"]]
    scores = [index for index, one in enumerate(samples) if one["o__valid"]]
    return [(0, sent[0] + 3), (sent[-1] - 1, sent[-1] + 2), (scores[0] - 1, scores[-1] + 2)]


def excerpts(samples: list[Sample], ranges: list[tuple[int, int]]) -> list[Column]:
    """Some ranges of cycles, a gap between any two of them, and where nothing happens for long."""
    found: list[Column] = []
    for first, end in ranges:
        found += [GAP] if found else []
        for cycle in range(first, end):
            near = [seen(one) for one in samples[max(cycle - QUIET, first) : min(cycle + QUIET + 1, end)]]
            if any(one != near[0] for one in near) or len(near) <= QUIET + 1:
                found.append(samples[cycle])
            elif found[-1] is not GAP:
                found.append(GAP)
    return found


def seen(sample: Sample) -> Sample:
    """What is drawn of a cycle: payloads that are not offered are not."""
    return {
        name: value for name, value in sample.items()
        if not name.endswith("__payload") or sample[f"{name.removesuffix('payload')}valid"]
    }


# -- WaveDrom ---------------------------------------------------------------------------------------------------


def drawn(
    design: Manifest, columns: Sequence[Column], signals: Sequence[str], streams: Sequence[str]
) -> dict[str, Any]:
    """Clock, single signals, and the three ports of each stream."""
    rows: list[Any] = [{"name": "clk", "wave": "".join("|" if one is GAP else "p" for one in columns)}]
    rows += [level(name, columns) for name in signals]
    for name in streams:
        rows += [{}, *(level(f"{name}__{part}", columns) for part in ("valid", "ready"))]
        rows.append(payload(design.stream(name), columns))
    return {"signal": rows, "config": {"hscale": 2}}


def level(name: str, columns: Sequence[Column]) -> dict[str, Any]:
    """A signal of one bit."""
    wave, before = "", ""
    for one in columns:
        if one is GAP:
            wave += "|"
            continue
        now = str(one[name])
        wave += "." if now == before else now
        before = now
    return {"name": name, "wave": wave}


def payload(stream: Stream, columns: Sequence[Column]) -> dict[str, Any]:
    """A payload: what a transfer carries while it is offered."""
    tell = _TELL.get(stream.name, _codes)
    wave, data, offered = "", [], False  # is the transfer of the column before still offered?
    for one in columns:
        if one is GAP:
            wave, offered = wave + "|", False
        elif not one[stream.valid]:
            wave, offered = wave + "x", False
        else:
            wave += "." if offered else "="
            data += [] if offered else [tell(stream, one[stream.payload])]
            offered = not one[stream.ready]
    return {"name": stream.payload, "wave": wave, "data": data}


def _value(word: int, field: Bits) -> int:
    value = word >> field.lsb & ((1 << field.bits) - 1)
    return value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value


def _codes(stream: Stream, word: int) -> str:
    return " ".join(str(_value(word, field)) for field in stream.fields)


def _score(stream: Stream, word: int) -> str:
    score, label, last = (_value(word, stream.field(name)) for name in ("score", "label", "last"))
    return f"{score}; last, {label}" if last else str(score)


def _word(stream: Stream, word: int) -> str:
    first, data = (_value(word, stream.field(name)) for name in ("first", "data"))
    return f"first, {data:x}" if first else f"{data:x}"


_TELL: dict[str, Callable[[Stream, int], str]] = {"o": _score, "load": _word}
"""What stands in a payload, by stream."""


if __name__ == "__main__":
    main()
