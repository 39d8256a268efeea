"""What README and docs tell people to type, typed: every block of a page in its order, in a folder of its own.

A block is run unless the line above it says ``<!-- not run: REASON -->``; one below ``<!-- in the repository -->``
is run there. The README also against the wheel, in an environment that has nothing else. Data sets are downloaded,
or read from the folder that ABC_HW_DATA names.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

PAGES = {
    page.relative_to(ROOT).with_suffix("").as_posix(): page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
BLOCK = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE = "in the repository"
NOT_RUN = "not run: "
PYTHON_PAGES = ("README",)
"""Pages whose Python is run here; that of others is run by the tests that are called as they are."""

TORCH = "torch==2.13.0+cpu", "https://download.pytorch.org/whl/cpu"
"""As .ci/setup.sh has it: a build without what GPUs need."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Lines of a page, and what the page says of running them."""

    marker: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    found = [Block(*match.groups("")) for match in BLOCK.finditer(PAGES[page].read_text(encoding="utf-8"))]
    return [block for block in found if block.language == "bash" or page in PYTHON_PAGES]


def to_run(page: str) -> list[Block]:
    return [block for block in blocks(page) if not block.marker.startswith(NOT_RUN)]


RUN = [page for page in PAGES if to_run(page)]


def test_markers_say_why() -> None:
    markers = [block.marker for page in PAGES for block in blocks(page)]
    assert {marker for marker in markers if marker not in ("", HERE) and len(marker) < len(NOT_RUN) + 10} == set()
    known = [marker for marker in markers if marker in ("", HERE) or marker.startswith(NOT_RUN)]
    assert known == markers
    comment = re.compile(r"^<!--(?! measured)", re.MULTILINE)  # those are about tables
    written = sum(len(comment.findall(page.read_text())) for page in PAGES.values())
    assert written == sum(marker != "" for marker in markers)
    assert {"README", "docs/tutorial", "docs/how-to", "docs/into-your-design"} <= set(RUN)


def type_in(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """What is in the block, one line after the other, as a user types it; all of it must succeed."""
    interpreter = ["bash", "-euxo", "pipefail", "-c"] if block.language == "bash" else ["python", "-c"]
    # Of the machine that the tests run on doctor may miss things, which is for it to tell.
    text = re.sub(r"^(abc-hw doctor.*)$", r"\1 || test $? = 1", block.text, flags=re.MULTILINE)
    at = ROOT if block.marker == HERE else folder
    done = subprocess.run(
        [*interpreter, text], cwd=at, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=7200,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def environment_of(folder: Path, *, sources: bool) -> dict[str, str]:
    """An environment in which the programs of an installation come first."""
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return plain | {"PATH": path} | ({"PYTHONPATH": str(ROOT)} if sources else {})


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pages take as there: a run, its network, and that of another run like it; trained for a moment only."""
    folder = tmp_path_factory.mktemp("given")
    short = "--dataset digits --model lenet -M 3 -N 3 --epochs 2 --integer-epochs 1"
    text = "\n".join(
        f"abc-hw train {short} --seed {seed} --out {run}\nabc-hw export {run}/model.ckpt -o {name}.safetensors"
        for seed, run, name in ((1, "runs/digits", "network"), (2, "runs/other", "retrained"))
    )
    type_in(Block("", "bash", text), folder, environment_of(Path(sys.prefix), sources=True))
    shutil.rmtree(folder / "runs" / "other")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_a_page_works(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "work"
    if page == "README":
        folder.mkdir()
    else:
        shutil.copytree(request.getfixturevalue("given"), folder)
    for block in to_run(page):
        type_in(block, folder, environment_of(Path(sys.prefix), sources=True))


@pytest.mark.long
def test_every_command_of_the_readme_works_with_the_wheel_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "build", "runs"))
    here = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", str(source)]
    subprocess.run([*here, "-w", str(tmp_path)], check=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.rmtree(source)
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", str(empty)], check=True, timeout=600)
    pip = [str(empty / "bin" / "python"), "-m", "pip", "install", "-q"]
    once = "--retries", "1", "--timeout", "20"
    subprocess.run([*pip, *once, "--extra-index-url", TORCH[1], TORCH[0]], check=False, timeout=1800)
    subprocess.run([*pip, f"{wheel}[train,sim]"], check=True, timeout=1800)
    folder = tmp_path / "work"
    (folder / "sim").mkdir(parents=True)  # a folder of the user's that is called as one of ours
    (folder / "sim" / "__init__.py").write_text("raise RuntimeError('a package of the user')\n")
    for block in to_run("README"):
        type_in(block, folder, environment_of(empty, sources=False))
