"""`featurehub features map`: where an SAE's features lie among each other, for their pages."""

from contextlib import closing

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.errors import FeaturehubError
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import open_store
from labeling.feature_map import map_latents

__all__ = ["map_features", "map_if_possible"]


def map_features(artifact: Artifact, database: str, progress: Progress = SILENT) -> int:
    """Computes the map of an artifact's features and stores it in place of a former one.

    Args:
        artifact: The SAE.
        database: The feature database in which it is registered.
        progress: Receives progress reports.

    Returns:
        How many features it has.

    Raises:
        ArtifactNotFound: The SAE is not registered.
        InvalidInput: It has too many features for a map.
        StoreError: The database cannot be written.
    """
    id = artifact.manifest.id
    with closing(open_store(database)) as store:
        with store.read() as reader:
            latents = [each.latent for each in reader.features(id)]
        with progress.phase("mapping its features"):
            found = map_latents(Dictionary.load(artifact.weights).W_dec.float().numpy(), latents)
        with store.write() as writer:
            writer.put_map(id, found)
    return len(found.latents)


def map_if_possible(artifact: Artifact, database: str, progress: Progress) -> None:
    """Maps an artifact's features at the end of a run whose own work is done; a warning says why not."""
    try:
        map_features(artifact, database, progress)
    except FeaturehubError as error:
        progress.warn(f"pages show no map of the features until `featurehub features map` is run: {error}")
