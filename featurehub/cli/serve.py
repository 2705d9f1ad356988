"""`featurehub serve`: compares fingerprints, prints what is known of each SAE, and starts vLLM's server."""

import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from api.budget import parse_budget
from api.model import InputDriftOptions, ServedModel
from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.cli.colors import colored
from featurehub.cli.progress import console
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.server import ServeOptions, prepare, serve
from featurehub.errors import ArtifactNotFound, IncompatibleArtifact, InvalidInput
from featurehub.features import OnStale, State
from featurehub.settings import home
from featurehub.store import Reader, open_store

__all__ = ["Policy", "input_drift_options", "serve_model"]


class Policy(NamedTuple):
    """What a server does with features that are not fresh.

    Attributes:
        on_stale: With stale ones.
        on_suspect: With suspect ones.
        on_unchecked: With those that were not checked on what runs.
    """

    on_stale: OnStale = OnStale.REFUSE
    on_suspect: OnStale = OnStale.WARN
    on_unchecked: OnStale = OnStale.WARN


def serve_model(
    model: Path,
    saes: Sequence[Path],
    database: str,
    policy: Policy,
    overhead_budget: str,
    options: ServeOptions,
    input_drift: InputDriftOptions | None = None,
) -> None:
    """Serves a model with the features of SAEs; blocks until the server is told to stop.

    Args:
        model: Folder of the model.
        saes: Folders of the artifacts, at least one; the server holds them in this order.
        database: Path of the feature database, in which the SAEs must be registered.
        policy: What the server does if a request names a feature that is not fresh.
        overhead_budget: The share of each step that steering may take, such as "3%" or "0.03"; "" for no budget.
        options: How vLLM's server is started.
        input_drift: How the traffic is watched for input drift; None if it is not.

    Raises:
        ModelNotFound: The model's folder is not there.
        ArtifactNotFound: A folder holds no artifact, or an SAE is not registered.
        CorruptArtifact: An artifact's files are damaged.
        IncompatibleArtifact: An SAE reads a stream of another width than the model's, or a layer that it does not have,
            or is of another model than the first.
        UnsupportedModel: No hook can be put into the model.
        InvalidInput: The model cannot be read, an SAE is given twice, or an option does not suit.
    """
    budget = parse_budget(overhead_budget) if overhead_budget else None
    artifacts = [open_artifact(each.resolve()) for each in saes]
    check_distinct(artifacts)
    for artifact in artifacts:
        verify(artifact)
        Dictionary.load(artifact.weights)
    identity = identify(model, min((each.manifest.hook for each in artifacts), key=lambda hook: hook.order))
    check_together(artifacts, identity)
    with closing(open_store(database)) as store, store.read() as reader:
        for artifact in artifacts:
            check_registered(reader, artifact, database)  # before the slow imports
        launch = prepare(model, options)
        served = ServedModel(
            store=database,
            saes=tuple(each.manifest.id for each in artifacts),
            model=identity,
            **policy._asdict(),
            points=tuple({str(each.manifest.hook): each.manifest.hook for each in artifacts}.values()),
            names=launch.names,
            overhead_budget=budget,
            input_drift=input_drift,
            overrides=launch.overrides,
        )
        for artifact in artifacts:
            console.print(freshness(reader, artifact, served), soft_wrap=True)
    serve(launch, EngineConfig.holding(*artifacts, weights=identity.function), served.model_dump_json())


def input_drift_options(budget: str, folder: Path | None, requests: int, database: str) -> InputDriftOptions | None:
    """How a server watches its traffic.

    Args:
        budget: The share of time that it may take, such as "1%"; "0" for not at all.
        folder: Where its state is kept; None for a folder beside the database or, where that is no file, in the one
            where featurehub keeps its own.
        requests: How many requests tell what is normal.
        database: Path or URL of the feature database.

    Raises:
        InvalidInput: The budget is no share.
    """
    if budget.strip().rstrip("%").strip("0.") == "" and budget.strip() not in ("", "%"):
        return None
    beside = home() / "input-drift" if "://" in database else Path(database).resolve().with_suffix(".input-drift")
    share = parse_budget(budget, "input_drift_budget", "an input drift budget")
    return InputDriftOptions(share=share, folder=str((folder or beside).resolve()), requests=requests)


def check_distinct(artifacts: Sequence[Artifact]) -> None:
    """Raises InvalidInput where an SAE is given twice, be it by different names or as a copy in another folder."""
    taken: dict[str, Artifact] = {}
    for artifact in artifacts:
        first = taken.setdefault(artifact.manifest.id, artifact)
        if first is not artifact:
            where = f", as {first.folder} and {artifact.folder}" if first.folder != artifact.folder else ""
            raise InvalidInput(f"the SAE {artifact.manifest.name} is given twice{where}; give it once", param="sae")


def check_together(artifacts: Sequence[Artifact], identity: ModelIdentity) -> None:
    """Checks that all SAEs can be run on the model, and were trained on models of one shape.

    A retrained model has the shape of its parent: which SAEs still hold on it is another question (``freshness``).

    Raises:
        UnsupportedModel: No hook can be put into the architecture.
        IncompatibleArtifact: An SAE does not fit the model, or is of another model than the first.
    """
    first = artifacts[0].manifest
    for artifact in artifacts:
        check_fits(artifact, identity)
        own = artifact.manifest
        if shape_of(own.model) != shape_of(first.model):
            raise IncompatibleArtifact(
                f"the SAE {own.name} was trained on {said(own.model)}, {first.name} on {said(first.model)}: one server "
                "has the SAEs of one model. Start a server for each.",
                param="sae",
            )


def shape_of(model: ModelIdentity) -> tuple[str, int, int]:
    return model.architecture, model.layers, model.d_model


def said(model: ModelIdentity) -> str:
    return f"{model.name} ({model.architecture}, {model.layers} layers of width {model.d_model})"


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
    name = f"SAE {artifact.manifest.name} at {artifact.manifest.hook}: "
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
