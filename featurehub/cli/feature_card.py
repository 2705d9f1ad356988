"""`featurehub features show`: everything that is known of one feature."""

from contextlib import closing
from typing import Annotated

import typer
from rich.text import Text

from featurehub.cli.colors import colored, shaded
from featurehub.cli.options import Database, database_path
from featurehub.cli.registry.card import Lines, section
from featurehub.records import Calibration, Context, FeatureDetails, Labeled, LabelVersion, Scope, TokenLogit
from featurehub.store import Reader, open_store
from featurehub.verdicts import DriftReport

__all__ = ["show_feature"]

CONTEXTS, AROUND = 8, 12
"""Contexts that are shown, and tokens of each before and after its strongest one."""
BAR = 20
"""Characters of the longest bar."""
UNKNOWN = "–"


def show_feature(
    name: Annotated[str, typer.Argument(help="Its label, a name, its id, or sae:SAE/LATENT.")],
    sae: Annotated[str, typer.Option(help="The SAE to look in, where several have the name.")] = "",
    db: Database = "",
) -> None:
    """Everything that is known of a feature: its labels, contexts, what it writes, how it steers, how it drifted."""
    with closing(open_store(db or database_path())) as store, store.read() as reader:
        scope = reader.scope(sae) if sae else Scope()
        show(reader, reader.details(reader.resolve(name, scope).id))


def show(reader: Reader, details: FeatureDetails) -> None:
    """Prints a feature's card."""
    feature = details.feature
    section(feature.label or f"latent {feature.latent}, without a label", identity_of(reader, details))
    section("activity", activity_of(details))
    section("contexts", (context_line(each, feature.max_activation) for each in details.contexts[:CONTEXTS]))
    section("writes", writes_of(details))
    section("steers", steers_of(details.calibration))
    section("similar features", similar_to(reader, details))
    section("labels", (version_line(each) for each in reversed(details.labels)))
    section("drift", drift_of(reader.reports(feature.artifact), feature.latent))


def identity_of(reader: Reader, details: FeatureDetails) -> Lines:
    feature = details.feature
    artifact = reader.artifact(feature.artifact)
    only = "" if artifact.has_weights else " (only its labels are here, so nothing can be steered by it)"
    yield "id", feature.id
    yield "SAE", f"{artifact.name} at {artifact.manifest.hook}, latent {feature.latent}{only}"
    if feature.aliases:
        yield "further names", ", ".join(feature.aliases)
    yield "label score", number(feature.label_score)


def activity_of(details: FeatureDetails) -> Lines:
    feature = details.feature
    if feature.max_activation:
        yield "fires on", f"{feature.density:.2%} of tokens"
        for quantile, value in details.quantiles.items():
            yield f"quantile {quantile}", f"{value:.4g} {bar(value / feature.max_activation)}"
        yield "largest", f"{feature.max_activation:.4g} {bar(1.0)}"


def context_line(context: Context, largest: float) -> tuple[str, Text]:
    """The part of a context around its strongest token, each token shaded by how active the feature is there."""
    peak = max(range(len(context.tokens)), key=context.activations.__getitem__, default=0)
    around = slice(max(0, peak - AROUND), peak + AROUND + 1)
    scale = largest or max(context.activations, default=0.0) or 1.0
    tokens = zip(context.tokens[around], context.activations[around], strict=True)
    shown = (shaded(token.replace("\n", "⏎"), activation / scale) for token, activation in tokens)
    return f"{max(context.activations, default=0.0):.3g}", Text.assemble(*shown)


def writes_of(details: FeatureDetails) -> Lines:
    if details.top_tokens:
        yield "raises", tokens_of(details.top_tokens)
    if details.bottom_tokens:
        yield "lowers", tokens_of(details.bottom_tokens)


def tokens_of(tokens: tuple[TokenLogit, ...]) -> str:
    return ", ".join(f"{each.token!r} {each.logit:+.2f}" for each in tokens)


def steers_of(calibration: Calibration | None) -> Lines:
    """What weight 1.0 stands for, and what every strength that was tried achieved."""
    if calibration is None:
        return
    yield "weight 1.0", f"strength {number(calibration.strength)}, dose {calibration.dose:.2f} ({calibration.method})"
    if calibration.steerability is not None:
        measured = f"{calibration.steerability:.2f} over unsteered {number(calibration.unsteered)}"
        yield "steerability", f"{measured}, coherent {number(calibration.coherence)}, {calibration.answers} answers"
    if calibration.expected_steerability is not None:
        yield "expected", f"{calibration.expected_steerability:.2f}, by its output score; it was never steered"
    if calibration.output_score is not None:
        yield "output score", f"{calibration.output_score:+.4f}"
    for each in calibration.curve:
        yield f"dose {each.dose:.2f}", f"shown {each.success:.2f} {bar(each.success)} coherent {each.coherence:.2f}"


def similar_to(reader: Reader, details: FeatureDetails) -> Lines:
    """The features whose decoder rows are most similar, in that order."""
    known = {each.latent: each for each in reader.latents(details.feature.artifact, details.neighbors)}
    for latent in details.neighbors:
        if latent in known:
            yield str(latent), known[latent].label or "(no label)"


def version_line(version: LabelVersion) -> tuple[str, str]:
    outcome, provenance = version.outcome, version.provenance
    named = f"{outcome.label} ({number(outcome.score)})" if isinstance(outcome, Labeled) else f"none: {outcome.reason}"
    source = " ".join(part for part in (provenance.method, provenance.model) if part)
    return f"{version.version}", f"{named}, by {provenance.author} with {source}, {version.created[:16]}"


def drift_of(reports: list[DriftReport], latent: int) -> Lines:
    """What each drift report found of the feature, the latest first."""
    for report in reports:
        for verdict in report.features:
            if verdict.latent == latent:
                states = Text.assemble("reads ", colored(verdict.reads), ", steers ", colored(verdict.steers))
                yield report.created[:16], states + f" on {report.model}: {verdict.reason}"


def bar(share: float) -> str:
    """A bar whose length is ``share``, in [0, 1], of the longest."""
    return "▇" * max(0, round(min(1.0, share) * BAR))


def number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
