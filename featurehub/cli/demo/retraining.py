"""The tour's last step: the model was retrained. Which features went stale, and what does a server do with them?"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from openai import ConflictError
from rich.text import Text

from featurehub.artifacts.artifact import open_artifact
from featurehub.artifacts.fingerprint import identify
from featurehub.cli.demo.asking import Question, ask
from featurehub.cli.demo.serving import NAME, PORT, Demo, serving
from featurehub.cli.demo.shown import Shown
from featurehub.cli.drift import show
from featurehub.cli.progress import ConsoleProgress, output
from featurehub.errors import ModelNotFound
from featurehub.features import Feature, State
from featurehub.sdk.client import Client
from featurehub.sdk.variant import Variant
from featurehub.store import open_store
from featurehub.verdicts import DriftReport

__all__ = ["Retrained", "refusal", "show_retraining"]


class Retrained(NamedTuple):
    """What became of the features on a retrained model.

    Attributes:
        report: The drift check's verdicts.
        asked: The stale feature that the retrained model was asked for; None where none went stale.
        said: What its server said to that.
    """

    report: DriftReport
    asked: Feature | None
    said: str


def show_retraining(demo: Demo, retrained: Callable[[], Path], shown: Shown) -> Retrained | None:
    """Checks an SAE on a retrained model, serves that, and asks it for a stale feature; says how to refresh the SAE.

    Args:
        demo: The model that the SAE was trained on, and the SAE.
        retrained: The folder of the retrained model; where it raises ModelNotFound, the step is left out.
        shown: What to show.

    Returns:
        What was shown; None where the step was left out.
    """
    output.print(Text.assemble(("\nThe model was retrained.", "bold"), " Does the SAE still hold?"))
    try:
        changed = demo._replace(model=retrained())
    except ModelNotFound as missing:
        output.print(f"  left out: {missing.message}", soft_wrap=True)
        return None
    report = report_of(changed)
    show(report, shown.verdicts)
    if (stale := clearest_stale(report, demo.database)) is None:
        output.print("no feature went stale")
        return Retrained(report, None, "")
    with serving(changed.arguments, "the retrained model", PORT + 1) as url, Client(base_url=url) as client:
        output.print(f"asking it for {stale.label!r}:")
        variant = Variant(NAME).set(stale.label, 1.0)
        said = refusal(client, Question(variant, shown.read.prompt, 0, shown.max_tokens))
        output.print(said, soft_wrap=True)
    output.print(
        "One command trains the SAE on from where it is, verifies each label there, and brings the names back:\n"
        f"  featurehub refresh {demo.sae} --model {changed.model} --text TEXTS.json",
        soft_wrap=True,
    )
    return Retrained(report, stale, said.plain.strip())


def report_of(demo: Demo) -> DriftReport:
    """The report of an SAE on a model: that of an earlier tour, or of a check that is run now."""
    manifest = open_artifact(demo.sae).manifest
    with closing(open_store(demo.database)) as store, store.read() as reader:
        known = reader.latest_report(manifest.id, identify(demo.model, manifest.hook).function)
    if known is not None:
        output.print(f"  checked on {known.created}; `featurehub drift check` checks it again")
        return known
    # Only here, since the engine takes seconds to import.
    from featurehub.runs.drift import check_drift

    return check_drift(demo.sae, demo.model, demo.database, progress=ConsoleProgress())


def clearest_stale(report: DriftReport, database: str) -> Feature | None:
    """The stale feature whose label says best where it fires: a reader understands that one. None if none is stale.

    Args:
        report: The verdicts.
        database: Path of the feature database, which has the labels' scores.
    """
    stale = {verdict.latent for verdict in report.features if verdict.state is State.STALE}
    with closing(open_store(database)) as store, store.read() as reader:
        features = reader.latents(report.artifact, stale)
    return max(features, key=lambda feature: (feature.label_score or 0.0, feature.label), default=None)


def refusal(client: Client, question: Question) -> Text:
    """What a server says to a request for a stale feature."""
    try:
        ask(client, question)
    except ConflictError as refused:
        message = refused.body.get("message") if isinstance(refused.body, dict) else refused.message
        return Text.assemble("  ", (f"HTTP {refused.status_code}", "green"), f" {message}")
    return Text("  it was answered, although the feature is stale", style="red")
