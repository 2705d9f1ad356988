"""Labels of an SAE from Neuronpedia, with that SAE or without it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from featurehub.errors import InvalidInput
from featurehub.records import RegisteredArtifact
from featurehub.runs.neuronpedia.reading import read
from featurehub.runs.neuronpedia.rows import FOLDERS, Export, LabelRow
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import Writer, open_store
from featurehub.store.statistics import id_of

__all__ = ["Imported", "Joined", "import_features", "join"]


class Imported(NamedTuple):
    """What an import did.

    Attributes:
        source: Name of the source.
        artifact: The SAE of ours that got the labels; None where they are registered without weights.
        labels: How many labels were taken.
        unknown: How many rows were left out, because the SAE has no feature at their latent.
        blank: How many labels were left out, because they say nothing.
    """

    source: str
    artifact: RegisteredArtifact | None
    labels: int
    unknown: int
    blank: int


def import_features(path: Path, database: str, sae: str | None = None, progress: Progress = SILENT) -> Imported:
    """Imports a file of explanations, or a folder in the batch layout.

    Args:
        path: The file (.json, .jsonl, either with .gz) or the folder.
        database: The feature database.
        sae: Name of an SAE of ours that the source is; None registers the source without weights.
        progress: Receives progress reports.

    Raises:
        InvalidInput: A file cannot be read, a row is not valid, or rows are of several sources; nothing is imported.
        ArtifactNotFound: There is no such SAE.
        StoreError: The database cannot be written.
    """
    export = read(path, progress)
    if not export.latents:
        raise InvalidInput(
            f"{path} holds no feature: give a file of explanations, or a folder with {', '.join(FOLDERS)}"
        )
    with progress.phase("writing the database"), closing(open_store(database)) as store, store.write() as writer:
        artifact = writer.reader.artifact(sae) if sae is not None else None
        owner = artifact.id if artifact is not None else put_source(writer, export)
        known = {feature.latent for feature in writer.reader.features(owner)}
        labels = {latent: found for latent, found in export.labels.items() if latent in known}
        put_versions(writer, owner, labels)
    taken = sum(map(len, labels.values()))
    return Imported(export.source, artifact, taken, sum(map(len, export.labels.values())) - taken, export.blank)


def put_source(writer: Writer, export: Export) -> str:
    """Registers a source without weights; returns its id."""
    manifest = export.manifest()
    writer.put_artifact(manifest, "", default=False)
    writer.put_features(manifest.id, [export.row(latent) for latent in export.latents])
    return manifest.id


def put_versions(writer: Writer, artifact: str, labels: Mapping[int, Sequence[LabelRow]]) -> None:
    """Adds each latent's labels as versions, oldest first."""
    for age in range(max(map(len, labels.values()), default=0)):
        versions = {at: found[age].version for at, found in labels.items() if age < len(found)}
        writer.put_labels({id_of(artifact, latent): version for latent, version in versions.items()})


class Joined(NamedTuple):
    """What ``join`` did.

    Attributes:
        labels: How many features got a label.
        unknown: How many labelled latents were left out, because the SAE has no feature for them.
    """

    labels: int
    unknown: int


def join(labels: str, sae: str, database: str) -> Joined:
    """Gives the labels of a source that was registered without weights to the SAE that it is, and removes the source.

    Args:
        labels: Name of the source.
        sae: Name of the SAE.
        database: The feature database.

    Raises:
        ArtifactNotFound: There is no such source, or no such SAE.
        InvalidInput: The source is an SAE with weights, or the SAE has none.
        StoreError: The database cannot be written.
    """
    with closing(open_store(database)) as store, store.write() as writer:
        source, target = writer.reader.artifact(labels), writer.reader.artifact(sae)
        if source.has_weights:
            raise InvalidInput(f"{labels!r} is an SAE with weights of its own; join labels that were imported alone")
        if not target.has_weights:
            raise InvalidInput(f"{sae!r} is without weights itself; import the SAE first", param="sae")
        _, labelled = writer.reader.count_features(source.id)
        found = writer.join_labels(source.id, target.id)
        writer.remove_artifact(source.id)
    return Joined(found, labelled - found)
