"""Files whole or not at all, whatever happens between; folders for one process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from abc_hw import writing
from abc_hw.errors import InputError

BEFORE, AFTER = b"before", b"what is there now"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- what stands at the name --------------------------------------------------------------------------------


def test_a_file_is_replaced_with_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(BEFORE)
    target.chmod(0o640)
    writing.write(target, AFTER)
    assert target.read_bytes() == AFTER
    assert target.stat().st_mode & 0o7777 == 0o640
    writing.write(tmp_path / "new", AFTER)
    (tmp_path / "plain").touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(tmp_path) == ["file", "new", "plain"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(BEFORE)
    link.symlink_to(target)
    dangling.symlink_to(Path("there", "made"))
    for path, written in ((link, target), (dangling, tmp_path / "there" / "made")):
        writing.check_writable(path)
        writing.write(path, AFTER)
        assert path.is_symlink()
        assert written.read_bytes() == AFTER
    assert names(tmp_path / "there") == ["file", "made"]


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    writing.write(pipe, AFTER)
    reader.join(10)
    assert heard == [AFTER]
    assert pipe.is_fifo()
    writing.check_writable(pipe)  # which must not wait for a reader
    assert names(tmp_path) == ["pipe"]


def test_a_device_stays_one() -> None:
    writing.check_writable(Path("/dev/null"))
    writing.write("/dev/null", AFTER)
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "link"])
def test_standard_output_goes_on_behind_what_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"from abc_hw import writing; print('a'); writing.write({name!r}, b'b' * 9000); print('c')"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"a\n" + b"b" * 9000 + b"c\n"


# -- what goes wrong ----------------------------------------------------------------------------------------


def test_what_was_there_stays_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(BEFORE)

    def fail(error: type[BaseException]) -> None:
        with writing.replacing(target) as file:
            file.write(AFTER)
            raise error

    for error in (KeyboardInterrupt, SystemExit, ZeroDivisionError):
        with pytest.raises(error):
            fail(error)
    assert target.read_bytes() == BEFORE
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "open"])
def test_a_full_disk_is_told_of_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    target = tmp_path / "file"
    target.write_bytes(BEFORE)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / f"{writing.PARTIAL}0123"))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(InputError) as caught:
        writing.write(target, AFTER)
    monkeypatch.undo()
    assert str(caught.value) == f"{target}: expected a file that can be written, found No space left on device"
    assert target.read_bytes() == BEFORE
    assert names(tmp_path) == ["file"]


def test_a_full_device_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^/dev/full: expected a file .*, found No space left on device$"):
        writing.write("/dev/full", AFTER)


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    writing.write(tmp_path / ("n" * 255), AFTER)
    assert names(tmp_path) == ["n" * 255]
    with pytest.raises(InputError, match=r"File name too long$"):
        writing.write(tmp_path / ("n" * 256), AFTER)


def test_a_copy_is_whole_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(AFTER)
    target.write_bytes(BEFORE)

    def cut(content: BinaryIO, file: BinaryIO) -> None:
        file.write(content.read(3))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", cut)
        with pytest.raises(KeyboardInterrupt):
            writing.copy(source, target)
    assert target.read_bytes() == BEFORE
    writing.copy(source, target)
    assert target.read_bytes() == AFTER
    assert names(tmp_path) == ["source", "target"]


def test_only_orphans_are_removed(tmp_path: Path) -> None:
    orphan = tmp_path / f"{writing.PARTIAL}orphan"
    orphan.write_bytes(BEFORE)
    with writing.replacing(tmp_path / "one") as one:
        writing.write(tmp_path / "two", AFTER)
        assert not orphan.exists()
        one.write(AFTER)
    assert names(tmp_path) == ["one", "two"]


# -- folders ------------------------------------------------------------------------------------------------


def test_a_folder_is_for_one_process(tmp_path: Path) -> None:
    code = f"from abc_hw import writing\nwith writing.own_folder({str(tmp_path)!r}): pass"

    def other() -> int:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode

    with writing.own_folder(tmp_path), writing.own_folder(tmp_path):
        assert other() == 1
    assert other() == 0
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="that no other run of abc-hw writes into now"):
        writing.own_folder(tmp_path).__enter__()
    os.close(descriptor)


def test_a_folder_is_filled_at_once_or_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def fill(error: type[BaseException] | None) -> None:
        with writing.filled_folder(folder) as stage:
            (stage / "file").write_bytes(AFTER)
            (stage / "in").mkdir()
            (stage / "in" / "it").touch()
            assert (folder / "file").read_bytes() == BEFORE
            if error:
                raise error

    (folder / "in").mkdir(parents=True)
    for error, content in ((SystemExit, BEFORE), (ZeroDivisionError, AFTER), (None, AFTER)):
        (folder / "file").write_bytes(BEFORE)
        (folder / "kept").touch()
        with pytest.raises(error) if error else contextlib.nullcontext():
            fill(error)
        assert (folder / "file").read_bytes() == content
        assert names(folder) == ["file", "in", "kept"]
        assert names(folder / "in") == ([] if content == BEFORE else ["it"])


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    monkeypatch.undo()
    tempfile.tempdir = None


def test_a_temporary_folder_goes_and_takes_orphans_along(places: Path) -> None:
    orphan = places / f"{writing.TEMPORARY}orphan"
    (orphan / "in").mkdir(parents=True)
    with writing.temporary_folder() as one, writing.temporary_folder() as two:
        assert one.parent == two.parent == places
        assert not orphan.exists()
        assert sorted(places.iterdir()) == sorted([one, two])
    assert not names(places)


def test_a_temporary_folder_has_a_plain_path(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = places / "with a space"
    odd.mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    with writing.temporary_folder() as folder:
        assert writing.PLAIN_PATH.fullmatch(str(folder))
    assert not names(odd)


def test_no_room_for_temporary_files_is_told(places: Path) -> None:
    with pytest.raises(InputError, match=f"^{places}: expected room for temporary files"), \
            writing.temporary_folder():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), writing.temporary_folder() as folder:
        (folder / "absent").read_bytes()


# -- signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_programs_and_temporary_folders(places: Path, number: signal.Signals, code: int) -> None:
    script = """
import subprocess, sys
from abc_hw import writing
from abc_hw.cli.ending import end_when_told
end_when_told()
with writing.temporary_folder(), writing.replacing("result") as file:
    file.write(b"half")
    file.flush()
    subprocess.run(["sh", "-c", "sleep 1000 & echo $!; wait"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=places, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    sleeper = int(process.stdout.readline())
    assert len(names(places)) == 2
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said == ""
    assert not names(places)
    assert not Path(f"/proc/{sleeper}/cmdline").exists() or not Path(f"/proc/{sleeper}/cmdline").read_bytes()
