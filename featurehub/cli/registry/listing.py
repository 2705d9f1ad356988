"""`featurehub saes list`: one row for every registered SAE."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.cli.colors import colored
from featurehub.features import State
from featurehub.store import Reader, RegisteredArtifact

__all__ = ["table_of"]

COLUMNS = ("", "name", "id", "base model", "hook point", "architecture", "width", "EV", "L0", "features", "state")


def table_of(reader: Reader, model: Path | None) -> Table:
    """A table of registered SAEs.

    Args:
        reader: The feature database.
        model: Folder of a model. With it, only SAEs made for its architecture, width and depth are listed, with their
            state on this model; without it, all SAEs, with the state that their latest drift report found.

    Raises:
        ModelNotFound: The model's folder is not there.
        InvalidInput: The model cannot be read.
    """
    identity = None if model is None else identify(model, HookPoint(layer=0))
    table = Table(*COLUMNS)
    for artifact in reader.artifacts():
        if identity is None or fits(artifact, identity):
            table.add_row(*cells(reader, artifact), state_of(reader, artifact, identity))
    return table


def fits(artifact: RegisteredArtifact, identity: ModelIdentity) -> bool:
    known = artifact.manifest.model
    shape = (identity.architecture, identity.d_model, identity.layers)
    return (known.architecture, known.d_model, known.layers) == shape


def cells(reader: Reader, artifact: RegisteredArtifact) -> list[str]:
    """The cells of an SAE's row, except the state."""
    manifest, (features, _) = artifact.manifest, reader.count_features(artifact.id)
    return [
        "*" if artifact.is_default else "",
        ", ".join((artifact.name, *artifact.aliases)),
        artifact.id[:12],
        " ".join((manifest.model.name, manifest.model.revision[:8])).strip(),
        str(manifest.hook),
        manifest.architecture,
        str(manifest.d_sae),
        number(manifest.metrics.get("explained_variance"), 3),
        number(manifest.metrics.get("l0"), 1),
        str(features),
    ]


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def state_of(reader: Reader, artifact: RegisteredArtifact, identity: ModelIdentity | None) -> Text:
    """Fresh on the function that the SAE was trained on; otherwise what its latest report says."""
    if not artifact.has_weights:
        return Text("labels only", "dim")
    if identity is not None and artifact.manifest.model.same_function(identity):
        return colored(State.FRESH)
    report = reader.report_heads([artifact.id], None if identity is None else identity.function)[artifact.id]
    if report is None:
        return colored(State.UNCHECKED)
    return colored(report.state) + ("" if identity is not None else f" on {report.model}")
