"""`featurehub saes register`: what a build could not write into the database when it was done."""

from contextlib import closing
from pathlib import Path

from featurehub.artifacts.artifact import open_artifact, verify
from featurehub.cli.progress import output
from featurehub.errors import ArtifactNotFound
from featurehub.store import KEPT, FeatureSet, open_store, save_feature_set

__all__ = ["register"]


def register(folder: Path, database: str) -> None:
    """Raises ArtifactNotFound where the folder holds no features, CorruptArtifact, StoreError."""
    artifact = open_artifact(folder.resolve())
    verify(artifact)
    kept = artifact.folder / KEPT
    if not kept.is_file():
        raise ArtifactNotFound(
            f"{kept} is not there: the SAE was registered when it was built, or `featurehub label` gives it features",
            param="sae",
        )
    features = read(kept, artifact.manifest.id)._replace(folder=artifact.folder)
    save_feature_set(features, database)
    kept.unlink()
    output.print(f"{features.manifest.name} is registered with {len(features.rows)} features", markup=False)


def read(kept: Path, artifact: str) -> FeatureSet:
    with closing(open_store(kept)) as store, store.read() as reader:
        return reader.feature_set(artifact)
