"""A netlist for ECP5 between synthesis and placement: what makes it slow or large there, and nobody needs.

    python -m abc_hw.rtl_gen.emit.ease design.json

changes a netlist of Yosys (``write_json``) in place: carry chains (:mod:`abc_hw.rtl_gen.emit.carries`) and levels
of look-up tables (:mod:`abc_hw.rtl_gen.emit.levels`). The logic stays what it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from abc_hw import writing

from .carries import ease_chains
from .levels import flatten

__all__ = ["Eased", "ease", "ease_file", "main"]


class Eased(NamedTuple):
    """How many are others than before."""

    chains: int
    tables: int


def ease_file(path: Path) -> Eased:
    """Change the netlist in a file, which is whole at any time."""
    netlist = json.loads(path.read_text())
    changed = ease(netlist)
    if any(changed):
        writing.write(path, json.dumps(netlist).encode())
    return changed


def ease(netlist: dict[str, Any]) -> Eased:
    """Change the top module of a flat netlist."""
    chains = tables = 0
    for module in netlist["modules"].values():
        if int(module.get("attributes", {}).get("top", "0"), 2):
            chains += ease_chains(module)
            tables += flatten(module)
    return Eased(chains, tables)


OTHER_FORM = (KeyError, TypeError, AttributeError)
"""What JSON that is no netlist ends in: its members are not those that are looked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: changed, or nothing to be changed; 2: no netlist."""
    parser = argparse.ArgumentParser(
        prog="python -m abc_hw.rtl_gen.emit.ease",
        description="Ease carry chains and look-up tables of a flat ECP5 netlist, before nextpnr places it.",
    )
    parser.add_argument("netlist", type=Path, help="of Yosys' write_json; changed in place")
    path = parser.parse_args(arguments).netlist
    try:
        changed = ease_file(path)
    except (OSError, ValueError, *OTHER_FORM) as error:
        print(f"{path}: expected a netlist of Yosys' write_json, found {error!r}", file=sys.stderr)
        return 2
    print(f"{path}: {changed.chains} chains and {changed.tables} tables eased")
    return 0


if __name__ == "__main__":
    sys.exit(main())
