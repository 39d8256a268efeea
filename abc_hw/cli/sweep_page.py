"""The page of a sweep: accuracy against cost of all variants, and their table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from abc_hw.training.sweep import COLUMNS, Result, by_variant, rows

PAGE = "page.html"
"""The page's file in the folder of the sweep."""

WIDTH, HEIGHT = 640, 320
"""Of the field of the chart."""

MARGIN = 0.05
"""Of the range of accuracies, above and below."""


def page(title: str, results: Sequence[Result], of: int) -> str:
    """One page of HTML that refers to nothing outside, of the results there are of ``of`` trainings."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    return environment.get_template("sweep.html.j2").render(
        title=title, done=len(results), all=of, columns=COLUMNS, rows=rows(results), **_chart(results)
    )


def _chart(results: Sequence[Result]) -> dict[str, Any]:
    """Points of variants on bases, lines of those in full precision, and what the edges stand for."""
    shares = [result.accuracy for result in results]
    spread = MARGIN * max(max(shares) - min(shares), 0.01)
    low, high = max(min(shares) - spread, 0.0), min(max(shares) + spread, 1.0)
    costs = [result.xnors for result in results if result.xnors is not None] or [1]
    least, most = min(costs), max(costs)

    def x(xnors: int) -> float:
        return WIDTH * (0.5 if least == most else 0.05 + 0.9 * math.log(xnors / least) / math.log(most / least))

    def y(share: float) -> float:
        return HEIGHT * (high - share) / (high - low)

    points, lines = [], []
    for name, of_seeds in by_variant(results).items():
        accuracies = [result.accuracy for result in of_seeds]
        mean, xnors = statistics.fmean(accuracies), of_seeds[0].xnors
        if xnors is None:
            lines.append({"name": name, "y": y(mean)})
            continue
        points.append({
            "name": name, "accuracy": mean, "x": x(xnors), "y": y(mean), "top": y(max(accuracies)),
            "bottom": y(min(accuracies)),
        })
    return {"points": points, "lines": lines, "low": low, "high": high, "least": least, "most": most}
