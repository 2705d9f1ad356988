"""`featurehub serve`: compares fingerprints, says what it found, and starts vLLM's server."""

from contextlib import closing
from pathlib import Path

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.cli.progress import console
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.server import ServeOptions, serve
from featurehub.errors import ArtifactNotFound
from featurehub.features import OnStale, State
from featurehub.store import Reader, open_store
from saes.drift.check import same_function

__all__ = ["serve_model"]


def serve_model(model: Path, sae: Path, database: str, on_stale: OnStale, options: ServeOptions) -> None:
    """Blocks until the server is told to stop.

    Raises ModelNotFound, ArtifactNotFound, CorruptArtifact, IncompatibleArtifact, UnsupportedModel before it starts.
    """
    artifact = open_artifact(sae.resolve())
    verify(artifact)
    Dictionary.load(artifact.weights)
    identity = identify(model, artifact.manifest.hook)
    check_fits(artifact, identity)
    with closing(open_store(database)) as store, store.read() as reader:
        check_registered(reader, artifact, database)
        console.print(freshness(reader, artifact, identity))
    serve(model, engine_config(artifact, identity, database, on_stale), options)


def check_registered(reader: Reader, artifact: Artifact, database: str) -> None:
    try:
        reader.artifact(artifact.manifest.id)
    except ArtifactNotFound:
        raise ArtifactNotFound(
            f"the SAE in {artifact.folder} is not registered in {database}; give --db as it was built with, or build",
            param="sae",
        ) from None


def freshness(reader: Reader, artifact: Artifact, identity: ModelIdentity) -> str:
    """What is known of the SAE on this model, in one line."""
    if same_function(artifact, identity):
        return f"SAE {artifact.manifest.name}: [green]fresh[/green], the model has the weights that it was trained on"
    report = reader.latest_report(artifact.manifest.id, identity.whole)
    if report is None:
        return (
            f"SAE {artifact.manifest.name}: [yellow]not checked[/yellow] on this model, whose weights differ. Its "
            f"features are answered with a warning. Run `featurehub drift check {artifact.folder} --model <folder>`."
        )
    color = "red" if report.state is State.STALE else "yellow"
    return f"SAE {artifact.manifest.name}: [{color}]{report.state}[/{color}] by report {report.id}: {report.reason}"


def engine_config(artifact: Artifact, identity: ModelIdentity, database: str, on_stale: OnStale) -> EngineConfig:
    return EngineConfig.holding(
        artifact,
        weights=identity.whole,
        served={
            "store": database,
            "saes": [artifact.manifest.id],
            "fingerprint": identity.whole,
            "reads": identity.reads,
            "on_stale": on_stale,
        },
    )
