"""Reading and writing files so that none is ever left half-written, whether by an interrupt, a kill or a power cut.

1. The writer fills a workspace beside the target: a hidden folder that it holds a lock on.
2. The result is flushed to the disk, renamed to its place, and the folder around it is flushed too.
3. A workspace that nobody holds a lock on was left by a writer that died, and whoever finds it clears it up. A lock
   ends with its process, and every process that shares the disk sees it, in whichever container.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO

__all__ = ["exclusive", "remove_leftovers", "replace_file", "replace_folder", "sha256", "workspace", "write_text"]

CHUNK = 1 << 20
LOCK, NEW, OLD = "lock", "new", "old"
TOKEN_BYTES = 8


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Writes a file as UTF-8, in one step."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Replaces a file in one step.

    Yields:
        A temporary name that becomes ``path`` when the block ends without an error.
    """
    with workspace(path) as own:
        yield own / NEW
        sync(own / NEW)
        os.replace(own / NEW, path)
        sync(path.parent)


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Replaces a folder in one step.

    Yields:
        A temporary folder that becomes ``path`` when the block ends without an error.
    """
    remove_leftovers(path.parent, escape(path.name))
    with workspace(path) as own:
        (own / NEW).mkdir()
        yield own / NEW
        for each in (own / NEW).rglob("*"):
            sync(each)
        sync(own / NEW)
        if path.exists():
            os.replace(path, own / OLD)
        os.replace(own / NEW, path)
        sync(path.parent)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Lets one process at a time make what shall stand at ``path``; others wait at the ``with`` until it is done."""
    make_folder(path.parent)
    with path.with_name(f".{path.name}.{LOCK}").open("w") as lock:
        with contextlib.suppress(OSError):  # on a file system without locks, they do not wait
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_leftovers(folder: Path, names: str) -> None:
    """Removes what writers that died have left behind.

    A folder that one of them had moved aside, and not yet replaced, comes back.

    Args:
        folder: Where to look.
        names: Pattern of the names of the files and folders that were being written.
    """
    for own in folder.glob(f".{names}.{'[0-9a-f]' * (2 * TOKEN_BYTES)}"):
        if (lock := lock_of_the_dead(own)) is not None:
            with lock:
                clear(own, folder / own.stem[1:])


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path`` that belongs to this writer alone while the block runs, and is then removed.

    Yields:
        The folder.
    """
    make_folder(path.parent)
    own = path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_BYTES)}")
    unlocked = own.with_name(f"{own.name}.begun")  # so that ``remove_leftovers`` does not find it yet
    unlocked.mkdir()
    with (unlocked / LOCK).open("w") as lock:
        with contextlib.suppress(OSError):  # on a file system without locks, leftovers are never cleared up
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(unlocked, own)
        try:
            yield own
        finally:
            clear(own, path)


def lock_of_the_dead(own: Path) -> IO[str] | None:
    """The lock of a workspace, held; None where its writer is alive, or where that cannot be told."""
    try:
        lock = (own / LOCK).open("a")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def clear(own: Path, path: Path) -> None:
    """Removes a workspace. If it holds the only copy of what stood at ``path``, that is moved back first."""
    if (own / OLD).exists() and not path.exists():
        os.replace(own / OLD, path)
    shutil.rmtree(own, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Makes a folder and its parents, each flushed to the disk before anything is put into it."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Flushes a file to the disk; of a folder, the names in it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush folders
            raise
    finally:
        os.close(file)
