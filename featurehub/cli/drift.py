"""`featurehub drift check`: runs the check, stores its report, shows what it rests on."""

from pathlib import Path

from rich.table import Table

from featurehub.artifacts.artifact import Artifact, open_artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.cli.colors import colored
from featurehub.cli.progress import console, output, phase
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.features import State
from featurehub.runs.judges import judge_for
from featurehub.store import Store, open_store
from featurehub.verdicts import DriftReport, FeatureVerdict
from saes.drift.check import CheckConfig, check, same_function

__all__ = ["check_drift", "show"]


def check_drift(sae: Path, model: Path, database: str, config: CheckConfig | None = None) -> DriftReport:
    """The stored report. Raises what ``identify``, ``open_artifact`` and the engine raise."""
    artifact = open_artifact(sae.resolve())
    verify(artifact)
    identity = identify(model, artifact.manifest.hook)
    check_fits(artifact, identity)
    store = open_store(database)
    labels = labelled(store, artifact)
    report = run(artifact, identity, model, labels, config or CheckConfig())
    with store.write() as writer:
        writer.put_report(report)
    store.close()
    return report


def labelled(store: Store, artifact: Artifact) -> dict[int, str]:
    """The features that people can name, by latent."""
    with store.read() as reader:
        return {f.latent: f.label for f in reader.features(artifact.manifest.id) if f.label}


def run(
    artifact: Artifact, identity: ModelIdentity, model: Path, labels: dict[int, str], config: CheckConfig
) -> DriftReport:
    judge = judge_for(artifact.manifest.model)
    if same_function(artifact, identity):
        return check(artifact, identity, None, labels, judge, config)
    with phase("starting the engine"):
        engine = Engine(model, EngineConfig.capturing(artifact.manifest.hook), EngineOptions())
    with engine:
        return check(artifact, identity, engine, labels, judge, config, lambda name: console.print(f"  {name}"))


def show(report: DriftReport, limit: int = 20) -> None:
    output.print(f"{colored(report.state)}  {report.reason}  [dim]report {report.id}[/dim]")
    for name, value in report.metrics.items():
        output.print(f"  {name} {value:.4g}")
    flagged = [verdict for verdict in report.features if verdict.state is not State.FRESH]
    if flagged:
        output.print(table_of(sorted(flagged, key=lambda v: (v.state is not State.STALE, v.label))[:limit]))
    if len(flagged) > limit:
        output.print(f"  … and {len(flagged) - limit} more; --json FILE has them all")


def table_of(verdicts: list[FeatureVerdict]) -> Table:
    table = Table("feature", "state", "why", title="features that no longer hold")
    for verdict in verdicts:
        table.add_row(verdict.label, colored(verdict.state), verdict.reason)
    return table
