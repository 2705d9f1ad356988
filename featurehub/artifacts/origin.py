"""Where a checkpoint came from: a commit of the Hugging Face hub, or the file that it was converted from."""

import re
from pathlib import Path

from pydantic import ValidationError

from featurehub.settings import Frozen

__all__ = ["NOTE", "Origin", "note_origin", "origin_of", "repository_of"]

NOTE = "featurehub_origin.json"
"""Name of the file in a converted checkpoint that says what it was converted from."""
_SNAPSHOT = re.compile(r"/models--([^/]+)/snapshots/([^/]+)$")


class Origin(Frozen):
    """Where a checkpoint came from. It is told, not compared: the hashes of the checkpoint decide what it is.

    Attributes:
        name: The repository, the name of the file that was converted, or the name of the folder.
        revision: The commit of the repository, or the SHA-256 of the file; "" where it is not known.
    """

    name: str
    revision: str = ""


def origin_of(folder: Path) -> Origin:
    """The origin of a checkpoint: by its place in the Hugging Face cache, by its note, or else its folder's name."""
    found = snapshot(folder)
    if found:
        return Origin(name=repository_of(folder), revision=found[2])
    try:
        return Origin.model_validate_json((folder / NOTE).read_bytes())
    except (OSError, ValidationError):
        return Origin(name=folder.absolute().name)


def note_origin(folder: Path, origin: Origin) -> None:
    """Writes the note of a checkpoint that was converted."""
    (folder / NOTE).write_text(origin.model_dump_json(indent=2) + "\n", "utf-8")


def repository_of(folder: Path) -> str:
    """The repository ``OWNER/NAME`` that a snapshot in the Hugging Face cache is of; "" for any other folder."""
    found = snapshot(folder)
    return found[1].replace("--", "/") if found else ""


def snapshot(folder: Path) -> re.Match[str] | None:
    return _SNAPSHOT.search(folder.resolve().as_posix())
