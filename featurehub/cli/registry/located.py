"""Finds the SAE that a command names.

1. What an artifact in the database is called in full, by name, alias or id, means that one.
2. Else what has a slash in it, or is ``.`` or ``..``, is a folder; so is what is called as a folder here with an SAE.
3. Else it is the beginning of one artifact's name, alias or id.
"""

import os
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import MANIFEST, Artifact, open_artifact
from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound, CorruptArtifact
from featurehub.store import Reader, open_store
from featurehub.store import RegisteredArtifact as Registered

__all__ = ["SaeLocation", "folder_of", "locate", "registered"]


class SaeLocation(NamedTuple):
    """record: what the database knows of it; None where it does not have it"""

    folder: Path
    manifest: Manifest
    record: Registered | None

    def holds(self) -> bool:
        """Whether the folder is there still, and holds this SAE."""
        try:
            return self.open().manifest.id == self.manifest.id
        except (ArtifactNotFound, CorruptArtifact):
            return False

    def open(self) -> Artifact:
        """Raises ArtifactNotFound, CorruptArtifact."""
        artifact = open_artifact(self.folder)
        if artifact.manifest.id != self.manifest.id:
            wanted, found = (f"{each.name} ({each.id[:12]})" for each in (self.manifest, artifact.manifest))
            raise ArtifactNotFound(f"{self.folder} holds {found} now, not the SAE {wanted}", param="sae")
        return artifact


def locate(reader: Reader, key: str) -> SaeLocation:
    """Raises ArtifactNotFound, CorruptArtifact."""
    if not names_folder(reader, key):
        record = reader.artifact(key)
        return SaeLocation(Path(record.path), record.manifest, record)
    artifact = open_artifact(Path(key).resolve())
    known = [each for each in reader.artifacts() if each.id == artifact.manifest.id]
    return SaeLocation(artifact.folder, artifact.manifest, known[0] if known else None)


def registered(reader: Reader, key: str) -> Registered:
    """The same, of the database only. Raises ArtifactNotFound, CorruptArtifact."""
    found = locate(reader, key)
    if found.record is None:
        raise ArtifactNotFound(f"the SAE in {found.folder} is not in this database; give --db", param="sae")
    return found.record


def folder_of(key: str, database: str) -> Path:
    """The SAE's folder. Raises ArtifactNotFound, CorruptArtifact."""
    store = open_store(database)
    with store.read() as reader:
        folder = locate(reader, key).open().folder
    store.close()
    return folder


def names_folder(reader: Reader, key: str) -> bool:
    if any(key in (each.id, each.name, *each.aliases) for each in reader.artifacts()):
        return False
    return "/" in key or os.sep in key or key in (".", "..") or bool(key and (Path(key) / MANIFEST).is_file())
