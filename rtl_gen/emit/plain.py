"""From RTLIL to plain Verilog, in a process of its own: ``python -m abc_hw.rtl_gen.emit.plain FOLDER``.

The netlist is put into the form in which Verilator's ``-Wall`` has nothing to say: every operand as wide as its
operator, no bit of a port or wire that nobody reads, plain names. Yosys orders some of what it does by numbers
that names get as they come up in its process; in a new one the same design always becomes the same text.
"""

import gc
import sys
from pathlib import Path

from .job import SOURCE, TARGET, Job, write_kept
from .libyosys import ys
from .ports import restore_ports
from .tidy import (
    modules_of,
    narrow_cells,
    part_unused,
    plain_names,
    plain_operators,
    prune_ports,
    read_bits,
    read_inputs,
    settle_comparisons,
    split_partly_read,
)  # fmt: skip

__all__ = ["main"]


def main() -> None:
    """The job in the folder that is named."""
    gc.disable()  # millions of objects, all of which stay to the end
    folder = Path(sys.argv[1])
    job = Job.read(folder)
    design = ys.Design()

    def run(command: str) -> None:
        """One pass, without its chatter."""
        ys.Pass.call(design, f"tee -q {command}")

    run(f"read_rtlil {folder / SOURCE}")
    restore_ports(design, job.members)
    for command in (
        "setattr -unset keep w:*",  # copies are for placement: the text has one register
        "proc -noopt -norom",  # a table in logic stays logic: no memory that begins with contents
        "opt_expr", "pmuxtree", "opt_clean -purge",
    ):
        run(command)
    kept_bits: dict[tuple[str, str], list[int]] = {}
    changed = True
    while changed:
        for command in ("wreduce", "opt_expr", "opt_merge", "opt_clean -purge", f"hierarchy -top {job.name}"):
            run(command)
        changed = prune_ports(design, kept_bits)
        modules = modules_of(design)
        for module in modules.values():
            changed |= settle_comparisons(module)
            changed |= narrow_cells(module, read_bits(module, modules))
    run("setattr -unset init w:*")  # which keeps wires that nobody reads any more
    run("opt_clean -purge")
    part_unused(design)
    changed = True
    while changed:
        for bits in (False, False, True):  # cleaning may call a bit by another name, and leave its old one unread
            if not split_partly_read(design, run, bits=bits):
                break
            run("opt_clean -purge")
        changed = prune_ports(design, kept_bits)
        modules = modules_of(design)
        for module in modules.values():
            changed |= narrow_cells(module, read_bits(module, modules))
        if changed:
            run("opt_clean -purge")
            run(f"hierarchy -top {job.name}")
    for module in modules_of(design).values():
        plain_operators(module)
    run("opt_clean -purge")
    read_inputs(design, job.name)
    plain_names(design)
    run(f"write_verilog -noattr -noparallelcase {folder / TARGET}")
    write_kept(folder, kept_bits)


if __name__ == "__main__":
    main()
