"""`featurehub features show`: everything that is known of one feature."""

from contextlib import closing
from math import ceil, log1p
from typing import Annotated

import typer
from rich.text import Text

from featurehub.cli.colors import colored, shaded
from featurehub.cli.options import Database, database_path
from featurehub.cli.registry.card import Lines, section
from featurehub.records import (
    Calibration,
    Context,
    FeatureDetails,
    Histogram,
    Labeled,
    LabelVersion,
    PastVerdict,
    Scope,
    TokenLogit,
)
from featurehub.store import Reader, open_store

__all__ = ["show_feature"]

CONTEXTS, AROUND = 8, 12
"""Contexts that are shown, and tokens of each before and after its strongest one."""
BAR = 20
"""Characters of the longest bar."""
MEMBERS = 12
"""Features of a cluster that are shown."""
HEIGHTS = " ▁▂▃▄▅▆▇█"
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
    section("similar features", similar_to(details))
    section("fire on the same tokens", coactive_with(details))
    section(f"cluster {cluster_name(details)}".rstrip(), members_of(details))
    section("labels", (version_line(each) for each in reversed(details.labels)))
    section("drift", (verdict_line(each) for each in details.drift))


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
    if details.histogram is not None:
        yield "histogram", f"{columns(details.histogram)} (from {details.histogram.low:.4g}; heights are logarithms)"


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


def similar_to(details: FeatureDetails) -> Lines:
    """The features whose decoder rows are most similar, in that order."""
    for latent in details.neighbors:
        if latent in details.others:
            yield str(latent), named(latent, details)


def coactive_with(details: FeatureDetails) -> Lines:
    """The features that fire on the same tokens, with the share of tokens on which both do."""
    for each in details.coactive:
        if each.latent in details.others:
            yield str(each.latent), f"{each.jaccard:.2f} {named(each.latent, details)}"


def cluster_name(details: FeatureDetails) -> str:
    return "" if details.cluster is None else details.cluster.name


def members_of(details: FeatureDetails) -> Lines:
    """The other features of its cluster."""
    latents = () if details.cluster is None else details.cluster.latents
    others = [each for each in latents if each in details.others and each != details.feature.latent]
    for latent in others[:MEMBERS]:
        yield str(latent), named(latent, details)
    if len(others) > MEMBERS:
        yield "…", f"{len(others) - MEMBERS} more"


def named(latent: int, details: FeatureDetails) -> str:
    return details.others[latent] or "(no label)"


def version_line(version: LabelVersion) -> tuple[str, str]:
    outcome, provenance = version.outcome, version.provenance
    if isinstance(outcome, Labeled):
        named = f"{outcome.label.text} ({number(outcome.score)})"
    else:
        named = f"none: {outcome.reason}"
    source = " ".join(part for part in (provenance.method, provenance.model) if part)
    return f"{version.version}", f"{named}, by {provenance.author} with {source}, {version.created[:16]}"


def verdict_line(verdict: PastVerdict) -> tuple[str, Text]:
    if verdict.reads is None or verdict.steers is None:
        states = Text.assemble("all features ", colored(verdict.state))
    else:
        states = Text.assemble("reads ", colored(verdict.reads), ", steers ", colored(verdict.steers))
    return verdict.created[:16], states + f" on {verdict.model}: {verdict.reason}"


def columns(histogram: Histogram) -> str:
    """A column for each part, as high as the logarithm of its count; the smallest for a single token."""
    most = log1p(max(histogram.counts))
    heights = (ceil(log1p(count) / most * (len(HEIGHTS) - 1)) if count else 0 for count in histogram.counts)
    return "".join(HEIGHTS[each] for each in heights)


def bar(share: float) -> str:
    """A bar whose length is ``share``, in [0, 1], of the longest."""
    return "▇" * max(0, round(min(1.0, share) * BAR))


def number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
