"""Files that are written whole or not at all, and folders that one process has for itself.

Everything that the program leaves on a disk is written here. A file appears under its name when it is complete;
what was there before stays until then, and stays when the process ends early, in whatever way. What an ended
process left half-written is removed by the next one that writes into the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

if sys.platform != "win32":  # on Windows no lock tells two runs in a folder apart; leftovers stay
    import fcntl

PARTIAL = ".abc-hw-partial-"
"""How names of files begin that are not complete; they lie beside those that they will replace."""

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

TEMPORARY = "abc-hw-work-"
"""How names of temporary folders begin."""

# -- files --------------------------------------------------------------------------------------------------


def write(path: str | Path, data: bytes) -> None:
    """Write a whole file or nothing; see :func:`replacing`."""
    with replacing(path) as file:
        file.write(data)


def copy(source: str | Path, path: str | Path) -> None:
    """Write what ``source`` holds into ``path``, the whole of it or nothing; see :func:`replacing`."""
    with open(source, "rb") as content, replacing(path) as file:
        shutil.copyfileobj(content, file)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file for what ``path`` is to hold: complete under that name once the block ends, absent if it raises.

    A link is followed, permissions of what is replaced are kept. What is no regular file, such as a pipe or
    ``/dev/stdout``, is written into as it is.

    Raises
    ------
    InputError : the folder or file cannot be written, or the disk is full; what was there before is untouched
    """
    path = Path(path)
    with telling(path):
        straight = _straight(path)
        if straight is not None:
            with straight:
                yield straight
            return
        target = Path(os.path.realpath(path))
        before = target.stat() if target.exists() else None
        if before is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _remove_orphans(target.parent)
        partial, file = _partial(target.parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if before is not None and sys.platform != "win32":
                    with contextlib.suppress(OSError):  # only root gives files away
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                if sys.platform == "win32":
                    file.close()  # an open file keeps its name there
                os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


@contextlib.contextmanager
def telling(path: str | Path, what: str = "a file") -> Iterator[None]:
    """An OSError of the block as an InputError about ``path``, which the user knows, not about some other name."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: expected {what} that can be written, found {_reason(path, error)}") from None


def check_writable(*paths: Path | None) -> None:
    """InputError if a file cannot be written there; found out before the work that makes its contents."""
    for path in paths:
        if path is None:
            continue
        reason = ""
        try:
            if path.is_dir():
                reason = "a folder of that name"
            elif not _descriptor(path) and (path.is_file() or not path.exists()):  # others would notice a trial
                target = Path(os.path.realpath(path))
                if target.exists() and not os.access(target, os.W_OK):
                    reason = os.strerror(errno.EACCES)
                else:
                    tempfile.TemporaryFile(dir=target.parent).close()  # only a trial tells
        except OSError as error:
            reason = f"{path.parent}: {error.strerror}"
        if reason:
            raise InputError(f"{path}: expected a file that can be written, found {reason}")


def _reason(path: str | Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    named = error.filename if isinstance(error.filename, str | Path) else None
    if named is None or Path(named).name.startswith(PARTIAL) or Path(named) == Path(path):
        return reason
    return f"{named}: {reason}"


def _descriptor(path: Path) -> re.Match[str] | None:
    """Is the path a name of one of this process's open files, such as ``/dev/stdout``?"""
    for _ in range(40):  # as many links as Linux follows
        place = str(path.parent.resolve() / path.name)
        if found := re.fullmatch(rf"/proc/{os.getpid()}/fd/(\d+)", place):
            return found
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _straight(path: Path) -> BinaryIO | None:
    """The file to write into as it stands; None for one that is to be replaced."""
    if found := _descriptor(path):
        sys.stdout.flush()
        sys.stderr.flush()
        return os.fdopen(os.dup(int(found[1])), "wb")
    if not path.exists() or path.is_file():
        return None
    return open(path, "wb")


def _partial(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file in the folder, and its name; locked for as long as it is open."""
    while True:
        partial = folder / f"{PARTIAL}{secrets.token_hex(6)}"
        file = os.fdopen(os.open(partial, NEW_FILE, 0o666), "wb")
        if _lock(file.fileno(), without=True) and partial.exists():
            return partial, file
        file.close()  # another process took it for an orphan before it was locked


def _remove_orphans(folder: Path) -> None:
    for orphan in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError), open(orphan, "rb") as file:
            if _lock(file.fileno(), without=False):
                orphan.unlink()


def _lock(descriptor: int, *, without: bool) -> bool:
    """Take the lock of an open file or folder; False if another process has it, ``without`` where there are none.

    The lock goes when the file is closed, or with the process.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return without
        return True
    return without


# -- folders ------------------------------------------------------------------------------------------------


def make_folder(path: str | Path) -> Path:
    """The folder, made if need be; InputError if it cannot be, or cannot be written into."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise InputError(f"{folder}: expected a folder that can be written, found {reason}")
    return folder


_held: dict[tuple[int, int, int], int] = {}
"""(device, inode, thread) of folders that are held -> how often."""


@contextlib.contextmanager
def own_folder(path: str | Path) -> Iterator[Path]:
    """The folder, made if need be, for this process alone while the block runs; the block may take it again.

    Raises
    ------
    InputError : it cannot be made or written, or another process has it
    """
    folder = make_folder(path)
    if sys.platform == "win32":
        yield folder
        return
    _remove_orphans(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino, threading.get_ident())
        if key not in _held and not _lock(descriptor, without=True):
            raise InputError(
                f"{folder}: expected a folder that no other run of abc-hw writes into now, found one that does"
            )
        _held[key] = _held.get(key, 0) + 1
        try:
            yield folder
        finally:
            _held[key] -= 1
            if not _held[key]:
                del _held[key]
    finally:
        os.close(descriptor)


PLAIN_SIGNS = "/ . _ - + , = @ ~"
DRIVE = r"[A-Za-z]:\\" if os.name == "nt" else ""
PLAIN_PATH = re.compile(rf"(?:{DRIVE})?[\w{re.escape(PLAIN_SIGNS.replace(' ', ''))}{re.escape(os.sep)}]+")
"""Paths that Make, Verilator and Yosys take as one word."""


@contextlib.contextmanager
def filled_folder(path: str | Path) -> Iterator[Path]:
    """A new folder for what ``path`` is to hold: its files appear there, in place of those of their names.

    They do so once the block ends or raises an Exception; if the process ends before, ``path`` stays as it was.

    Raises
    ------
    InputError : as :func:`own_folder`
    """
    with own_folder(path) as folder, telling(folder, "a folder"):
        stage = folder / f"{PARTIAL}folder"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        try:
            try:
                yield stage
            except Exception:
                _move(stage, folder)
                raise
            _move(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, folder: Path) -> None:
    for made in stage.iterdir():
        place = folder / made.name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        made.replace(place)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes when the block ends; those that killed processes left behind go now.

    Its path is a :data:`PLAIN_PATH`, so it lies elsewhere if ``TMPDIR`` has spaces.

    Raises
    ------
    InputError : there is no room for temporary files, or no place for them
    """
    parent = _temporary_parent()
    folder, descriptor = _new_temporary(parent)
    try:
        yield folder
    except OSError as error:
        inside = error.filename is None or str(error.filename).startswith(str(folder))
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not inside:
            raise
        raise InputError(f"{parent}: expected room for temporary files, found {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _temporary_parent() -> Path:
    wanted = os.path.realpath(tempfile.gettempdir())
    for parent in (wanted, "/tmp", "/var/tmp"):
        if PLAIN_PATH.fullmatch(parent) and os.access(parent, os.W_OK | os.X_OK):
            return Path(parent)
    raise InputError(f"TMPDIR: expected a folder that can be written, with no spaces in its path, found {wanted}")


def _new_temporary(parent: Path) -> tuple[Path, int | None]:
    """A new folder in ``parent``, and its descriptor, locked for as long as it is open, where there are locks."""
    if sys.platform == "win32":
        return Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent)), None
    for orphan in parent.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(orphan, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor, without=False):
                    shutil.rmtree(orphan, ignore_errors=True)
            finally:
                os.close(descriptor)
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
        except OSError as error:
            raise InputError(f"{parent}: expected room for temporary files, found {error.strerror}") from None
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _lock(descriptor, without=True) and folder.exists():
                return folder, descriptor
            os.close(descriptor)  # another process took it for an orphan before it was locked
