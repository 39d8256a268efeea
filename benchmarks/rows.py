"""Lines of a table as pages have it."""

from collections.abc import Iterable, Sequence


def head(names: Sequence[str]) -> None:
    """Print the first two lines."""
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|", flush=True)


def line(cells: Iterable[str]) -> None:
    """Print another."""
    print(f"| {' | '.join(cells)} |", flush=True)
