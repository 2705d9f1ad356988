"""`featurehub serve`: compares fingerprints, prints the result, and starts vLLM's server."""

import shlex
from contextlib import closing
from pathlib import Path

from rich.text import Text

from api.budget import parse_budget
from api.model import ServedModel
from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.cli.colors import colored
from featurehub.cli.progress import console
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.server import ServeOptions, prepare, serve
from featurehub.errors import ArtifactNotFound
from featurehub.features import OnStale, State
from featurehub.store import Reader, open_store

__all__ = ["serve_model"]


def serve_model(
    model: Path, sae: Path, database: str, on_stale: OnStale, overhead_budget: str, options: ServeOptions
) -> None:
    """Serves a model with the features of an SAE; blocks until the server is told to stop.

    Args:
        model: Folder of the model.
        sae: Folder of the artifact.
        database: Path of the feature database, in which the SAE must be registered.
        on_stale: What the server does if a request names a stale feature.
        overhead_budget: The share of each step that steering may take, such as "3%" or "0.03"; "" for no budget.
        options: How vLLM's server is started.

    Raises:
        ModelNotFound: The model's folder is not there.
        ArtifactNotFound: The folder holds no artifact, or the SAE is not registered.
        CorruptArtifact: The artifact's files are damaged.
        IncompatibleArtifact: The SAE reads a stream of another width than the model's.
        UnsupportedModel: No hook can be put into the model.
        InvalidInput: The model cannot be read, or an option does not suit.
    """
    budget = parse_budget(overhead_budget) if overhead_budget else None
    artifact = open_artifact(sae.resolve())
    verify(artifact)
    Dictionary.load(artifact.weights)
    identity = identify(model, artifact.manifest.hook)
    check_fits(artifact, identity)
    with closing(open_store(database)) as store, store.read() as reader:
        check_registered(reader, artifact, database)  # before the slow imports
        launch = prepare(model, options)
        served = ServedModel(
            store=database,
            saes=(artifact.manifest.id,),
            model=identity,
            on_stale=on_stale,
            names=launch.names,
            overhead_budget=budget,
            overrides=launch.overrides,
        )
        console.print(freshness(reader, artifact, served), soft_wrap=True)
    serve(launch, EngineConfig.holding(artifact, weights=identity.function), served.model_dump_json())


def check_registered(reader: Reader, artifact: Artifact, database: str) -> None:
    try:
        reader.artifact(artifact.manifest.id)
    except ArtifactNotFound:
        raise ArtifactNotFound(
            f"the SAE in {artifact.folder} is not registered in {database}; give --db as it was built with, or build",
            param="sae",
        ) from None


def freshness(reader: Reader, artifact: Artifact, served: ServedModel) -> Text:
    """One line that says whether the SAE is known to be fresh on the model that is served."""
    name = f"SAE {artifact.manifest.name}: "
    differing = artifact.manifest.model.differences(served.model)
    id = artifact.manifest.id
    report = reader.report_heads([id], served.fingerprint)[id] if differing else None
    if report is not None and report.state is not State.FRESH:
        return Text.assemble(name, colored(report.state), f" by report {report.id}: {report.reason}")
    unchecked = ("not checked", "yellow")
    if served.overrides:
        how = f" with {', '.join(served.overrides)}: it may be another function"
        return Text.assemble(name, unchecked, how, ". Its features are answered with a warning.")
    if report is not None:
        return Text.assemble(name, colored(State.FRESH), f" by report {report.id}: {report.reason}")
    if differing:
        return Text.assemble(
            name,
            unchecked,
            " on this model, which differs from the one that it was trained on in ",
            f"{', '.join(differing)} (or the SAE has no record of it). Its features are answered with a warning. Run "
            f"`{shlex.join(['featurehub', 'drift', 'check', str(artifact.folder), '--model'])} <folder>`.",
        )
    return Text.assemble(name, colored(State.FRESH), ", the model is the function that it was trained on")
