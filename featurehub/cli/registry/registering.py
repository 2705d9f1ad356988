"""`featurehub saes register`: registers an SAE whose build could not write the database."""

from contextlib import closing
from pathlib import Path

from featurehub.artifacts.artifact import open_artifact, verify
from featurehub.cli.progress import output
from featurehub.errors import ArtifactNotFound
from featurehub.store import KEPT, FeatureSet, open_store, save_feature_set

__all__ = ["register"]


def register(folder: Path, database: str) -> None:
    """Registers an SAE with the features that its build kept in its folder.

    Args:
        folder: Folder of the artifact.
        database: Path of the feature database.

    Raises:
        ArtifactNotFound: The folder holds no artifact, or no kept features.
        CorruptArtifact: The artifact's files are damaged.
        StoreError: The database cannot be written.
    """
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
