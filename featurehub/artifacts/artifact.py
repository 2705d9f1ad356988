"""An artifact folder: ``manifest.json``, ``sae.safetensors`` and further files whose hashes the manifest keeps."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from featurehub.artifacts.files import sha256
from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound, CorruptArtifact

__all__ = ["MANIFEST", "REPORT", "WEIGHTS", "Artifact", "check_file", "open_artifact", "seal", "verify"]

MANIFEST = "manifest.json"
WEIGHTS = "sae.safetensors"
REPORT = "training.html"
"""The page about an SAE's training, for people."""


class Artifact(NamedTuple):
    """An SAE on disk.

    Attributes:
        folder: Where it lies.
        manifest: The contents of ``manifest.json``.
    """

    folder: Path
    manifest: Manifest

    @property
    def weights(self) -> Path:
        """Path of the tensors."""
        return self.folder / WEIGHTS

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file but the manifest, by name."""
        return {**self.manifest.files, WEIGHTS: self.manifest.id}


def open_artifact(folder: Path) -> Artifact:
    """Reads the manifest; the tensors stay on disk.

    Raises:
        ArtifactNotFound: The folder has no manifest.
        CorruptArtifact: The manifest is not valid.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactNotFound(
            f"no SAE artifact in {folder}: {MANIFEST} is missing. {_where_one_is(folder)}", param="sae"
        )
    try:
        return Artifact(folder, Manifest.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        raise CorruptArtifact(
            f"{path} is not a manifest of format 1: {error.errors()[0]['msg']}", param="sae"
        ) from None


def _where_one_is(folder: Path) -> str:
    """What to do instead: `featurehub train` makes a folder with an artifact for each of its recipes."""
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    return f"It holds folders of some: name {inside[0]}." if inside else "`featurehub build` makes one."


def verify(artifact: Artifact) -> None:
    """Compares the hash of every file with the manifest's.

    Raises:
        CorruptArtifact: A file is missing or differs; the message names it.
    """
    for name in artifact.files:
        check_file(artifact, name)


def check_file(artifact: Artifact, name: str) -> None:
    """Compares the hash of one file with the manifest's.

    Raises:
        CorruptArtifact: The file is missing or differs.
    """
    path = artifact.folder / name
    if not path.is_file():
        raise CorruptArtifact(f"{path} is missing; build or fetch the artifact again", param="sae")
    if sha256(path) != artifact.files[name]:
        raise CorruptArtifact(
            f"{path} does not match its hash in {MANIFEST}: the file was cut short or changed", param="sae"
        )


def seal(folder: Path, fields: Mapping[str, object]) -> Artifact:
    """Writes the manifest of a finished folder.

    Args:
        folder: Holds the weights and any further files.
        fields: The manifest's fields but ``id`` and ``files``, which are computed from the files.
    """
    files = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.name not in (WEIGHTS, MANIFEST)}
    manifest = Manifest.model_validate({**fields, "id": sha256(folder / WEIGHTS), "files": files})
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    # safetensors makes files that only their owner may read, and a server may run as another user.
    usual = (folder / MANIFEST).stat().st_mode
    for file in folder.iterdir():
        file.chmod(usual)
    return Artifact(folder, manifest)
