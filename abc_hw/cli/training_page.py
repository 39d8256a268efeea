"""The page of a training: curves, confusions, wrong images, levels of weights and activations by layer."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from abc_hw.data import Split
from abc_hw.training.models import ABCNet
from abc_hw.training.quantised import QuantisedLayer, quantise

if TYPE_CHECKING:
    from abc_hw.training.checkpoints import Trained

PAGE = "page.html"
"""The page's file in the folder of its run."""

MOST_WRONG = 30
"""Wrong images that are shown at most: those whose wrong class leads by most."""

MOST_CLASSES = 30
"""Classes whose confusions are shown as one table; of more, only the commonest confusions."""

Array = npt.NDArray[Any]


def page(trained: Trained, log: Path, test: Split) -> str:
    """One page of HTML that refers to nothing outside.

    Parameters
    ----------
    trained : as :func:`abc_hw.training.loop.train` returns it
    log : the folder of the run's logs, ``*/metrics.csv`` in it
    test : the images of its test scores
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    scores = trained.scores["test"]
    told = scores.argmax(1)
    counts = np.zeros((len(trained.classes),) * 2, np.int64)
    np.add.at(counts, (test.labels, told), 1)
    epochs = epochs_of(log)
    return environment.get_template("training.html.j2").render(
        config=trained.config, accuracy=trained.accuracy, before=trained.before_rounding, classes=trained.classes,
        images=len(test), right=int((told == test.labels).sum()), epochs=epochs, curves=_curves(epochs),
        confusions=_commonest(counts, trained.classes), counts=counts.tolist(),
        whole=len(trained.classes) <= MOST_CLASSES, wrong=_wrong(scores, test, trained.classes),
        layers=_layers(trained),
    )


# -- curves and confusions ----------------------------------------------------------------------------------


def epochs_of(log: Path) -> list[dict[str, float]]:
    """Loss and validation accuracy of each epoch that is logged, by the newest run of each."""
    found: dict[int, dict[str, float]] = {}
    for path in sorted(log.glob("*/metrics.csv"), key=lambda path: path.stat().st_mtime_ns):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                epoch = found.setdefault(int(row["epoch"]), {})
                named = {name: row.get(name) for name in ("loss", "validation_accuracy")}
                epoch |= {name: float(value) for name, value in named.items() if value}
    return [{"epoch": number + 1, **found[number]} for number in sorted(found)]


def _curves(epochs: list[dict[str, float]]) -> list[dict[str, Any]]:
    """For each figure its points in a field 400 wide and 160 high, and what its edges stand for."""
    curves = []
    for name, title in (("loss", "training loss"), ("validation_accuracy", "accuracy on validation images")):
        points = [(epoch["epoch"], epoch[name]) for epoch in epochs if np.isfinite(epoch.get(name, np.nan))]
        if not points:
            continue
        x, y = (np.array(column, float) for column in zip(*points, strict=True))
        low, high = (0.0, float(y.max())) if name == "loss" else (float(y.min()), 1.0)
        places = zip(
            400 * (x - 1) / max(x.max() - 1, 1), 160 * (1 - (y - low) / max(high - low, 1e-9)), strict=True
        )
        curves.append({
            "title": title, "low": low, "high": high, "first": 1, "last": int(x.max()), "final": float(y[-1]),
            "points": " ".join(f"{px:.1f},{py:.1f}" for px, py in places),
        })
    return curves


def _commonest(counts: Array, classes: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """(class, taken for, how often) of the commonest confusions."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[:10]
    places = [divmod(int(place), len(classes)) for place in order]
    return [(classes[i], classes[j], int(off[i, j])) for i, j in places if off[i, j]]


# -- images -------------------------------------------------------------------------------------------------


def _wrong(scores: Array, test: Split, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    told = scores.argmax(1)
    wrong = np.flatnonzero(told != test.labels)
    lead = scores[wrong, told[wrong]] - scores[wrong, test.labels[wrong]]
    order = wrong[np.argsort(-lead, kind="stable")][:MOST_WRONG]
    return [
        {
            "index": int(i), "told": classes[told[i]], "is": classes[test.labels[i]],
            "told_score": _number(scores[i, told[i]]), "is_score": _number(scores[i, test.labels[i]]),
            "image": picture(test.images[i]),
        }
        for i in order
    ]


def _number(score: Any) -> str:
    return f"{int(score):,}" if isinstance(score, np.integer) else f"{float(score):.2f}"


def picture(image: Array) -> str:
    """A uint8 image [H, W, 1 or 3] as the URL of a PNG; the empty text for what is no picture."""
    height, width, channels = image.shape
    if channels not in (1, 3) or min(height, width) < 2:
        return ""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if channels == 1 else image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# -- layers -------------------------------------------------------------------------------------------------


def _layers(trained: Trained) -> list[dict[str, Any]]:
    """For each layer the shares of its weight levels, the steps of its input, and what rounding changes.

    Nothing for full precision, and for residual networks, whose layers are no chain.
    """
    if trained.config.kind == "float" or not isinstance(trained.model, ABCNet):
        return []
    rows = []
    for block, layer in zip(trained.model, quantise(trained.model), strict=True):
        rows.append({
            "name": layer.name, "M": layer.weight_bases.count, "N": layer.input_bases.count,
            "bars": _weight_bars(layer), "steps": _steps(block.layer.input_bases, layer),
            "error": _rounding(block.layer),
        })
    return rows


def _weight_bars(layer: QuantisedLayer) -> list[dict[str, Any]]:
    """The levels of a filter's weights by their mean over filters, and how many weights have each."""
    bits = layer.signs.flatten(1).long()
    powers = 2 ** torch.arange(bits.shape[0])
    combination = (bits * powers.unsqueeze(1)).sum(0)
    values = layer.weight_values.double()
    values = values / values.abs().flatten(1).amax(1).clamp(min=1).view(-1, 1, 1, 1)
    flat, total = values.flatten(), combination.numel()
    bars = []
    for code in combination.unique().tolist():
        here = combination == code
        bars.append((float(flat[here].mean()), int(here.sum()) / total))
    widest = max(share for _, share in bars)
    return [{"value": value, "share": share, "height": 60 * share / widest} for value, share in sorted(bars)]


@torch.no_grad()
def _steps(bases: Any, layer: QuantisedLayer) -> dict[str, Any] | None:
    """The function from a real input to levels as a line in a field 300 wide and 60 high; None for pixels."""
    if not hasattr(bases, "t"):
        return None
    t = bases.t.double().sort().values.numpy()
    levels = np.asarray(layer.input_bases.values(layer.beta.numpy()), float)
    reach = 1.25 * max(1.0, float(np.abs(t).max()))
    spread = max(float(levels.max() - levels.min()), 1e-9)
    x = 300 * (t + reach) / (2 * reach)
    y = 60 * (1 - (levels - levels.min()) / spread)
    points = [(0.0, y[0])]
    for place, before, after in zip(x, y, y[1:], strict=False):
        points += [(place, before), (place, after)]
    points.append((300.0, y[-1]))
    return {
        "points": " ".join(f"{px:.1f},{py:.1f}" for px, py in points),
        "thresholds": [{"x": float(place), "t": float(at)} for place, at in zip(x, t, strict=True)],
        "levels": [int(level) for level in levels],
    }


@torch.no_grad()
def _rounding(layer: Any) -> float:
    """How far integers move the weights of a step, as a share of their root mean square."""
    was = layer.integer
    layer.set_integer(False)
    free = layer.approximate_weight()
    layer.set_integer(True)
    moved = layer.approximate_weight() - free
    layer.set_integer(was)
    return float((moved.square().mean() / free.square().mean().clamp(min=1e-30)).sqrt())
