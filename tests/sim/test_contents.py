"""Contents of memories go to files word for word; what a simulator makes of them is compared wherever one runs."""

from __future__ import annotations

import re
from pathlib import Path

from places import EXAMPLES

from abc_hw.network import description
from abc_hw.rtl_gen.emit.verilog import generate
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.sim.contents import FEWEST, contents_in_files


def test_files_hold_all_words(tmp_path: Path) -> None:
    network, _ = description.load(EXAMPLES / "tiny.toml")
    text = generate(network, {layer.name: LayerFolding() for layer in network.layers})
    made = contents_in_files(text, tmp_path)
    files = re.findall(r'^  initial \$readmemh\("(.*)", (\w+)\);\n', made, re.MULTILINE)
    assert files
    for path, memory in files:
        lines = [line.split() for line in Path(path).read_text().splitlines()]
        assert [place for place, _ in lines] == [f"@{index:x}" for index in range(len(lines))]
        assert len(lines) >= FEWEST
        pattern = rf"    {memory}\[0\] = (\d+)'h{lines[0][1]};\n    {memory}\[1\] = \1'h{lines[1][1]};"
        widths = re.findall(pattern, text)
        assert len(widths) == 1
        words = "".join(
            f"    {memory}[{index}] = {widths[0]}'h{word};\n" for index, (_, word) in enumerate(lines)
        )
        made = made.replace(f'  initial $readmemh("{path}", {memory});\n', f"  initial begin\n{words}  end\n")
    assert made == text
