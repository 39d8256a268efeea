"""What the site has besides the pages of this folder: a home page, the command line, and readable docstrings.

mkdocs takes the functions ``on_*``, its reader of docstrings the class :class:`Roles`.
"""

import re
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.structure.files import File

from abc_hw.cli.main import app

DOCS = Path(__file__).parent.resolve()
ROOT = DOCS.parent

SECTION = r"^(?=(?:Parameters|Attributes|Raises|Returns)\n-+$)"


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that come from elsewhere: README as the home page, help texts as the command line."""
    readme = (ROOT / "README.md").read_text()
    for uri, text in (("index.md", home(readme)), ("reference/commands.md", commands())):
        files.append(File.generated(config, uri, content=text))
    return files


def home(readme: str) -> str:
    """README with links as they are from inside of the folder."""
    return re.sub(r"\]\(docs/([^)]+)\)", r"](\1)", inside_only(readme, ROOT))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leaves out links to files that the site has not got."""
    return inside_only(markdown, DOCS / Path(page.file.src_uri).parent)


def inside_only(markdown: str, folder: Path) -> str:
    """A page that lies in a folder, without its links to files outside of the documentation."""

    def kept(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        return link[0] if target.is_relative_to(DOCS) or not target.exists() else link[1]

    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#]+)\)", kept, markdown)


def commands() -> str:
    """Every command with its arguments, options and examples."""
    group: Any = typer.main.get_command(app)
    parts = ["# Command line", "", (group.help or ""), ""]
    parts += ["Exit codes: 0 done, 1 a mismatch or failed check, 2 unusable input, 130 interrupted.", ""]
    for name, command in group.commands.items():
        parts += _command(f"abc-hw {name}", command)
        for inner, below in getattr(command, "commands", {}).items():
            parts += _command(f"abc-hw {name} {inner}", below)
    return "\n".join(parts)


def _command(name: str, command: Any) -> list[str]:
    lines = [f"## {name}", "", _plain(command.help or ""), ""]
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        lines += ["| | what | default |", "|---|---|---|", *rows, ""]
    shown = re.findall(r"^abc-hw.*$", command.epilog or "", re.MULTILINE)
    return lines + (["```bash", *shown, "```", ""] if shown else [])


def _row(parameter: Any) -> str:
    names = parameter.opts + parameter.secondary_opts
    if parameter.param_type_name == "argument":
        names = [parameter.metavar or parameter.name.upper()]
    if "--help" in names:
        return ""
    default = getattr(parameter, "show_default", None)
    if not isinstance(default, str):
        default = "" if parameter.default in (None, False) or parameter.required else parameter.default
    cells = (", ".join(f"`{name}`" for name in names), _plain(getattr(parameter, "help", "") or ""), str(default))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _plain(text: str) -> str:
    return re.sub(r"\[/?[a-z ]*\]", "", text)


class Roles(griffe.Extension):
    """Docstrings as the reader takes them: no Sphinx roles, and what stands behind a colon is a description."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called with every object that has been read."""
        if obj.docstring is not None:
            text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", obj.docstring.value)
            text = re.sub(r"``([^`]+)``", r"`\1`", text).replace("Members\n-------", "Attributes\n----------")
            head, *sections = re.split(SECTION, text, flags=re.MULTILINE)
            obj.docstring.value = head + "".join(map(_described, sections))


def _described(section: str) -> str:
    return re.sub(r"^(\S.*?) : +(.*)$", r"\1\n    \2", section, flags=re.MULTILINE)
