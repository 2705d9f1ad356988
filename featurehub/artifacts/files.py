"""Reading and writing files so that nothing is ever half-written."""

import hashlib
import os
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
    for path in folder.glob(f".{name}.*"):
        if not is_running(int(path.suffix[1:])):
            path.unlink(missing_ok=True)


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
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        fresh = Path(temporary) / "new"
        fresh.mkdir()
        yield fresh
        if path.exists():
            os.replace(path, Path(temporary) / "old")
        os.replace(fresh, path)
