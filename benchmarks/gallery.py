"""Networks that come with the program, with what their accelerators take: ``python -m benchmarks.gallery``.

Accuracy is that of the network's card, on all test images; cycles are the plan's; LUTs and block RAMs are those
that ``abc-hw report`` tells for an ECP5.
"""

from __future__ import annotations

from abc_hw import sources, zoo
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.estimate import estimate

SHOWN = {
    "digits-lenet-m3n3": 2_000, "mnist-lenet-m1n1": 200_000, "mnist-lenet-m2n2": 50_000,
    "mnist-lenet-m3n3": 20_000, "cnv-m1n2": 500_000,
}
"""Network of the zoo -> cycles per image that are asked for."""


def row(name: str, cycles: int) -> str:
    """A line of the table."""
    network, card = sources.load(f"zoo:{name}"), zoo.card(name)
    told = estimate(network, fold(network, cycles=cycles), family="ecp5")
    area, hidden = told.area, network.layers[1]
    cells = (
        f"`zoo:{name}`", f"{hidden.weight_bases.count}, {hidden.input_bases.count}",
        f"{100 * card.accuracy:.2f} %",
        f"{cycles:,}", f"{told.cycles:,}", f"{area.luts:,.0f}", str(area.brams),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    print("| network | bases of a hidden layer | accuracy | cycles asked | cycles per image | LUTs | block RAMs |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name, cycles in SHOWN.items():
        print(row(name, cycles), flush=True)


if __name__ == "__main__":
    main()
