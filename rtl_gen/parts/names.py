"""Names in generated text: safe for every tool that reads it, and unique.

Layers may be called what their makers like. Modules, signals and files that are made for them are called the same
where that is a name in Verilog that nothing else has, and something close to it otherwise.
"""

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["KEYWORDS", "MOST_LETTERS", "Names", "in_comment", "safe"]

MOST_LETTERS = 40
"""Of a name; those of modules are put together from several, and files have names of at most 255 bytes."""

_KEYWORDS = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin
    bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos
    config const constraint context continue cover covergroup coverpoint cross deassign default defparam design
    disable dist do edge else end endcase endchecker endclass endclocking endconfig endfunction endgenerate
    endgroup endinterface endmodule endpackage endprimitive endprogram endproperty endspecify endsequence
    endtable endtask enum event eventually expect export extends extern final first_match for force foreach
    forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins
    implements implies import incdir include initial inout input inside instance int integer interconnect
    interface intersect join join_any join_none large let liblist library local localparam logic longint
    macromodule matches medium modport module nand negedge nettype new nexttime nmos nor noshowcancelled not
    notif0 notif1 null or output package packed parameter pmos posedge primitive priority program property
    protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
    showcancelled signed small soft solve specify specparam static string strong strong0 strong1 struct super
    supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit
    tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until
    until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard
    wire with within wor xnor xor
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""Words that SystemVerilog (IEEE 1800-2017, annex B) keeps for itself, those of Verilog among them."""

_CPLUSPLUS = """
    alignas alignof asm auto bitand bitor bool catch char compl concept consteval constexpr constinit const_cast
    co_await co_return co_yield decltype delete double dynamic_cast errno explicit false float friend goto
    inline long mutable namespace noexcept not_eq nullptr operator or_eq override private public register
    reinterpret_cast requires short sizeof static_assert static_cast switch template thread_local throw true try
    typeid typename using volatile wchar_t xor_eq
"""
CPLUSPLUS = frozenset(_CPLUSPLUS.split())
"""Words of C++, into which Verilator turns the text."""


def safe(name: str, *, otherwise: str = "layer") -> str:
    """A name of lower- and upper-case letters, digits and single underscores that no language keeps for itself.

    It is ``name`` where that is such a name. It never has two underscores side by side, which the ports of streams
    have, and has at most :data:`MOST_LETTERS` letters.

    Parameters
    ----------
    otherwise : what stands before a name that cannot be one
    """
    letters = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    plain = re.sub(r"[\W_]+", "_", letters).strip("_")[:MOST_LETTERS].rstrip("_")
    if plain and plain[0].isalpha() and plain.lower() not in KEYWORDS | CPLUSPLUS:
        return plain
    return f"{otherwise}_{plain}".rstrip("_")[:MOST_LETTERS].rstrip("_")


def in_comment(text: str) -> str:
    """Text as it may stand in a comment of one line: printable ASCII, all else in the form ``\\xfc``."""
    return "".join(
        letter if " " <= letter <= "~" else letter.encode("unicode_escape").decode() for letter in text
    )


class Names:
    """Gives names that differ from each other, in upper and lower case too, and from the ``taken`` ones."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {name.lower() for name in taken}

    def new(self, wanted: str, *, with_: Iterable[str] = ()) -> str:
        """A :func:`safe` name close to ``wanted``.

        Parameters
        ----------
        with_ : endings; the name with each of them behind it is taken along
        """
        base, endings = safe(wanted), ("", *with_)
        name, number = base, 1
        while not self._taken.isdisjoint(f"{name}{ending}".lower() for ending in endings):
            number += 1
            name = f"{base}_{number}"
        self._taken |= {f"{name}{ending}".lower() for ending in endings}
        return name
