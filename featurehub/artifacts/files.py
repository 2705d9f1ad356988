"""Reading and writing files so that nothing is ever half-written."""

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_leftovers", "replace_file", "replace_folder", "sha256", "write_text"]

_CHUNK = 1 << 20


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name beside ``path``, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside ``path`` that becomes it when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    yield temporary
    os.replace(temporary, path)


def remove_leftovers(folder: Path, name: str) -> None:
    """Of ``replace_file``: temporary files for names that match the pattern ``name``, of processes that are gone."""
    for path in leftovers(folder, name):
        path.unlink(missing_ok=True)


def leftovers(folder: Path, name: str) -> list[Path]:
    """Temporary names end in their process."""
    found = [path for path in folder.glob(f".{name}.*") if path.suffix[1:].isdecimal()]
    return [path for path in found if not is_running(int(path.suffix[1:]))]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_up(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=f".{os.getpid()}") as temporary:
        fresh = Path(temporary) / "new"
        fresh.mkdir()
        yield fresh
        if path.exists():
            os.replace(path, Path(temporary) / "old")
        os.replace(fresh, path)


def clear_up(path: Path) -> None:
    """Of ``replace_folder``, what killed processes left. What stood in ``path`` comes back if one died moving it."""
    for left in leftovers(path.parent, glob.escape(path.name)):
        if (left / "old").exists() and not path.exists():
            os.replace(left / "old", path)
        shutil.rmtree(left, ignore_errors=True)
