"""Yosys's command line, as far as amaranth's build scripts use it, on the Yosys inside pyosys.

``python -m boards.yosys [-q] [-l log] script``
"""

from __future__ import annotations

import argparse

from pyosys import libyosys as ys


def main() -> None:
    """Run a script of Yosys commands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-q", action="store_true", help="say nothing")
    parser.add_argument("-l", default="yosys.log", help="the log file")
    parser.add_argument("script")
    options = parser.parse_args()
    design = ys.Design()
    tee = "tee -q" if options.q else "tee"
    ys.Pass.call(design, f"{tee} -o {options.l} script {options.script}")


if __name__ == "__main__":
    main()
