"""The newest checkpoint of a model, which a watch looks at.

1. A folder that holds a model is a checkpoint itself; else each folder in it that does is one, and the newest is the
   one whose files were written last. Where that is the same, the name decides, numbers by their value: ``step-900``
   comes before ``step-1000``.
2. ``OWNER/NAME[@REVISION]`` is the latest commit of a model of the Hugging Face hub.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from featurehub.errors import ModelNotFound
from featurehub.models.hub import HubModel, fetch

__all__ = ["ModelCheckpoint", "newest_checkpoint"]

CONFIG = "config.json"
Order = list[tuple[int, int, str]]


class ModelCheckpoint(NamedTuple):
    """A checkpoint as it lies on the disk.

    Attributes:
        folder: Its folder.
        files: Digest of the names, sizes and times of its files: as long as it is the same, nobody has written to them.
    """

    folder: Path
    files: str


def newest_checkpoint(models: str) -> ModelCheckpoint | None:
    """The newest checkpoint; None where there is none yet.

    Args:
        models: A folder, or a name on the Hugging Face hub.

    Raises:
        ModelNotFound: There is no such folder and no such model.
    """
    folder = Path(models)
    if folder.is_dir():
        found = [folder] if holds_model(folder) else list(filter(holds_model, folder.iterdir()))
        return max(map(checkpoint, found), key=lambda each: each[0], default=(None, None))[1]
    if (named := HubModel.named(models)) is None:
        raise ModelNotFound(
            f"no folder {models}: give the folder that checkpoints are written to, or OWNER/NAME of the Hugging Face "
            "hub",
            param="models",
        )
    return checkpoint(fetch(named))[1]


def holds_model(folder: Path) -> bool:
    """Whether a folder has a configuration and weights; hidden ones are being written."""
    if folder.name.startswith(".") or not folder.is_dir():
        return False
    return (folder / CONFIG).is_file() and any(folder.glob("*.safetensors"))


def checkpoint(folder: Path) -> tuple[tuple[int, Order], ModelCheckpoint]:
    """A checkpoint, and its place among others."""
    digest, written = hashlib.sha256(), 0
    for path in sorted(folder.iterdir()):
        if path.is_file():
            stat = path.stat()
            digest.update(f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
            written = max(written, stat.st_mtime_ns)
    return (written, in_order(folder.name)), ModelCheckpoint(folder, digest.hexdigest())


def in_order(name: str) -> Order:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", name)]
