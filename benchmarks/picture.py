"""The picture in the README: a held-out digit as the network sees it, and its scores.

    python -m benchmarks.picture
"""

from __future__ import annotations

from pathlib import Path

from abc_hw import load
from abc_hw.data import load as load_data
from abc_hw.sim import golden
from abc_hw.writing import write

TARGET = Path(__file__).parents[1] / "docs" / "digit.svg"
NETWORK, IMAGE = "zoo:digits-lenet-m3n3", 3
CELL, ROW, BAR = 20, 16, 260


def main() -> None:
    network = load(NETWORK)
    test = load_data("digits").test
    image = test.images[IMAGE]
    trace = golden.run(network, image[None])
    scores, best = trace.scores[0].tolist(), int(trace.classes[0])
    shapes = [
        f'<rect x="{x * CELL}" y="{y * CELL}" width="{CELL}" height="{CELL}" fill="rgb({value},{value},{value})"/>'
        for y, row in enumerate(image[:, :, 0].tolist()) for x, value in enumerate(row)
    ]
    left, least, most = image.shape[1] * CELL + 40, min(scores), max(scores)
    for index, score in enumerate(scores):
        y, length = index * ROW, BAR * (score - least) / (most - least)
        colour = "#f58518" if index == best else "#4c78a8"
        shapes += [
            f'<text x="{left}" y="{y + 12}">{network.classes[index]}</text>',
            f'<rect x="{left + 20}" y="{y + 2}" width="{length:.1f}" height="{ROW - 4}" fill="{colour}"/>',
            f'<text x="{left + BAR + 110}" y="{y + 12}" text-anchor="end">{score:,}</text>',
        ]
    width, height = left + BAR + 120, max(image.shape[0] * CELL, len(scores) * ROW)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
    style = "<style>text { font: 12px system-ui, sans-serif; fill: #555; }</style>"
    write(TARGET, ("\n".join([head, style, *shapes, "</svg>"]) + "\n").encode())
    print(f"{TARGET}: image {IMAGE}, a {test.labels[IMAGE]}, class {best}")


if __name__ == "__main__":
    main()
