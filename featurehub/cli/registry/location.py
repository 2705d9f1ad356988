"""Finds the SAE that a command names.

1. The full name, alias or id of an artifact in the database means that artifact.
2. Otherwise anything with a slash in it, ``.``, ``..``, and the name of a folder here that holds an SAE, is a folder.
3. Otherwise it must be the beginning of one artifact's name, alias or id.
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
    """An SAE that a command named.

    Attributes:
        folder: Where its artifact lies, or should lie.
        manifest: Its manifest.
        record: What the database knows of it; None if it is not registered.
    """

    folder: Path
    manifest: Manifest
    record: Registered | None

    def holds(self) -> bool:
        """Whether the folder still exists and holds this SAE."""
        try:
            return self.open().manifest.id == self.manifest.id
        except (ArtifactNotFound, CorruptArtifact):
            return False

    def open(self) -> Artifact:
        """Opens the artifact.

        Raises:
            ArtifactNotFound: The folder holds no artifact, or another one.
            CorruptArtifact: The manifest is damaged.
        """
        if self.record is not None:
            self.record.check_weights()
        artifact = open_artifact(self.folder)
        if artifact.manifest.id != self.manifest.id:
            wanted, found = (f"{each.name} ({each.id[:12]})" for each in (self.manifest, artifact.manifest))
            raise ArtifactNotFound(f"{self.folder} holds {found} now, not the SAE {wanted}", param="sae")
        return artifact


def locate(reader: Reader, key: str) -> SaeLocation:
    """Finds the SAE that a command names.

    Args:
        reader: The feature database.
        key: Name, alias, beginning of the id, or folder of the SAE.

    Raises:
        ArtifactNotFound: There is no such SAE.
        CorruptArtifact: The folder's manifest is damaged.
    """
    if not names_folder(reader, key):
        record = reader.artifact(key)
        return SaeLocation(Path(record.path), record.manifest, record)
    artifact = open_artifact(Path(key).resolve())
    known = [each for each in reader.artifacts() if each.id == artifact.manifest.id]
    return SaeLocation(artifact.folder, artifact.manifest, known[0] if known else None)


def registered(reader: Reader, key: str) -> Registered:
    """Like ``locate``, but the SAE must be registered; returns the database's record of it.

    Raises:
        ArtifactNotFound: There is no such SAE, or it is not in the database.
        CorruptArtifact: The folder's manifest is damaged.
    """
    found = locate(reader, key)
    if found.record is None:
        raise ArtifactNotFound(f"the SAE in {found.folder} is not in this database; give --db", param="sae")
    return found.record


def folder_of(key: str, database: str) -> Path:
    """The folder of the SAE that a command names.

    Args:
        key: Name, alias, beginning of the id, or folder of the SAE.
        database: Path of the feature database.

    Raises:
        ArtifactNotFound: There is no such SAE, or its folder holds another one or none.
        CorruptArtifact: The folder's manifest is damaged.
    """
    store = open_store(database)
    with store.read() as reader:
        folder = locate(reader, key).open().folder
    store.close()
    return folder


def names_folder(reader: Reader, key: str) -> bool:
    if any(key in (each.id, each.name, *each.aliases) for each in reader.artifacts()):
        return False
    return "/" in key or os.sep in key or key in (".", "..") or bool(key and (Path(key) / MANIFEST).is_file())
