"""What large files hashed to, remembered by file identity, so that a checkpoint is read once.

1. The identity of a file: its resolved path, size, inode, and the times when its content and its inode last changed.
   The second of these times cannot be set back.
2. What a file hashed to is kept in a small file in ``fingerprints`` of featurehub's home, named after that identity.
   A file that changed has another name there, so an entry can be useless but not wrong.
3. A file that changed a moment ago is not remembered: the next change may fall into the same tick of the clock.
4. Entries are written whole, and checked by their own checksum when they are read. One that cannot be read or written
   is ignored.
5. If there are more than ``ENTRIES``, the oldest are removed.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.files import write_text
from featurehub.settings import home

__all__ = ["FileIdentity", "recall", "remember"]

ENTRIES = 512
SETTLED_NS = 2_000_000_000


class FileIdentity(NamedTuple):
    """What tells whether a file is still the same.

    Attributes:
        path: Its resolved path.
        size: In bytes.
        inode: Its inode.
        content_changed: When its content last changed, in nanoseconds.
        inode_changed: When its inode last changed, in nanoseconds.
    """

    path: str
    size: int
    inode: int
    content_changed: int
    inode_changed: int

    @classmethod
    def of(cls, path: Path) -> "FileIdentity":
        """The identity that a file has now.

        Raises:
            OSError: The file cannot be found or read.
        """
        resolved = path.resolve(strict=True)
        found = resolved.stat()
        return cls(str(resolved), found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether the last change is long enough ago that the next one would show."""
        return time.time_ns() - max(self.content_changed, self.inode_changed) > SETTLED_NS


def recall(file: FileIdentity, form: str = "") -> dict[str, str] | None:
    """The hashes that were remembered for a file.

    Args:
        file: The file.
        form: What was hashed; "" for the tensors as they are in the file.

    Returns:
        Hashes by name; None where none were remembered.
    """
    with suppress(OSError, ValueError):
        checksum, _, body = entry_of(file, form).read_text("utf-8").partition("\n")
        return json.loads(body) if checksum == digest(body) else None
    return None


def remember(file: FileIdentity, hashes: Mapping[str, str], form: str = "") -> None:
    """Remembers what a file hashed to, if it has not changed since. An entry that cannot be written is skipped.

    Args:
        file: The file.
        hashes: Hashes by name.
        form: What was hashed; "" for the tensors as they are in the file.
    """
    with suppress(OSError):
        if file.settled and FileIdentity.of(Path(file.path)) == file:
            body = json.dumps(hashes)
            write_text(entry_of(file, form), f"{digest(body)}\n{body}")
            forget_oldest()


def entry_of(file: FileIdentity, form: str) -> Path:
    return folder() / digest(json.dumps([*file, form] if form else file))


def folder() -> Path:
    return home() / "fingerprints"


def forget_oldest() -> None:
    newest_first = sorted(folder().iterdir(), key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in newest_first[ENTRIES:]:
        entry.unlink(missing_ok=True)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
