"""``/v1/features``: search, listing, and one feature by its name."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api.deployment import CurrentDeployment, Deployment
from api.states import judge_of, with_states
from featurehub.features import Feature, State
from featurehub.groups import FeatureGroup
from featurehub.settings import Frozen
from featurehub.store import (
    Calibration,
    Cluster,
    CoActive,
    Context,
    Histogram,
    Labeled,
    LabelVersion,
    PastVerdict,
    Provenance,
    Reader,
    SearchFilter,
    TokenLogit,
    Unlabeled,
)

__all__ = ["FeatureCard", "FeaturePage", "Sae", "card", "router"]

NONE: list[Any] = []
router = APIRouter(prefix="/v1/features", tags=["features"])
Words = Annotated[str, Query(max_length=200, description="empty lists all features")]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
Layers = Annotated[list[int], Query(max_length=64, description="only SAEs in these layers")]
Share = Annotated[float, Query(ge=0.0, le=1.0, description="share of tokens on which a feature fires")]
Score = Annotated[float | None, Query(ge=0.0, le=1.0, description="smallest label score")]
States = Annotated[list[State], Query(max_length=len(State), description="how features stand on the loaded model")]
Steerable = Annotated[bool, Query(description="only features that were steered and then showed their label")]
Explain = Annotated[bool, Query(description="whether each feature says how it was found")]
Sae = Annotated[str | None, Query(max_length=200, description="id or name of an SAE; by default all that are loaded")]


class FeaturePage(Frozen):
    """One page of features in the shape of OpenAI's lists, best first.

    Attributes:
        object: Always "list".
        data: The features, each with its state on the loaded model.
        next: The ``after`` of the following page; None on the last page.
        has_more: Whether another page follows.
        by_meaning: Whether the search went by meaning too, and not by words alone: it does where the SAEs were embedded
            (`featurehub features embed`).
        groups: On the first page of a search, the groups whose name or description has its words, best first.
    """

    object: Literal["list"] = "list"
    data: tuple[Feature, ...]
    next: str | None
    has_more: bool
    by_meaning: bool = False
    groups: tuple[FeatureGroup, ...] = ()


class ShownLabel(Frozen):
    """A label.

    Attributes:
        label: Its text.
        score: How well it predicts the feature on held-out contexts, in [0, 1]; None where it was not scored.
        scores: All of the scorer's numbers, by name.
    """

    label: str
    score: float | None
    scores: dict[str, float]


class ShownVersion(Frozen):
    """One attempt at labelling a feature.

    Attributes:
        version: Counts from 1 for each feature.
        outcome: The label, or why there is none.
        provenance: Where it comes from.
        created: Time of the attempt, ISO 8601 in UTC.
    """

    version: int
    outcome: ShownLabel | Unlabeled
    provenance: Provenance
    created: str


class FeatureCard(Feature):
    """Everything that is known about one feature.

    Attributes:
        object: Always "feature".
        quantiles: Activation by quantile ("0.5", "0.9", "0.99"), over the tokens on which the latent is active.
        contexts: The stretches of text with its highest activations, highest first.
        top_tokens: The tokens whose logits its decoder row raises most, strongest first.
        bottom_tokens: The tokens whose logits its decoder row lowers most, strongest first.
        neighbors: The latents of the same SAE with the most similar decoder rows (cosine), closest first.
        calibration: How its strength was found; None where it was never calibrated.
        labels: The versions of its label, oldest first; at most the newest 100.
        histogram: How often it is how active; None where that is not known.
        coactive: The latents of the same SAE that are active on the same tokens (Jaccard's index), most so first.
        cluster: The latents that it belongs together with, under a name of their own; None where there is none.
        others: Labels of the latents in ``neighbors``, ``coactive`` and ``cluster``, by latent; "" for one without.
        drift: What drift reports found of it, newest first; at most 20.
    """

    object: Literal["feature"] = "feature"
    quantiles: dict[str, float]
    contexts: tuple[Context, ...]
    top_tokens: tuple[TokenLogit, ...]
    bottom_tokens: tuple[TokenLogit, ...]
    neighbors: tuple[int, ...]
    calibration: Calibration | None
    labels: tuple[ShownVersion, ...]
    histogram: Histogram | None
    coactive: tuple[CoActive, ...]
    cluster: Cluster | None
    others: dict[int, str]
    drift: tuple[PastVerdict, ...]


@router.get("")
def search(
    deployment: CurrentDeployment,
    q: Words = "",
    limit: Limit = 20,
    after: After = None,
    artifact: Sae = None,
    layer: Layers = NONE,
    min_density: Share = 0.0,
    max_density: Share = 1.0,
    min_score: Score = None,
    steerable: Steerable = False,
    state: States = NONE,
    explain: Explain = False,
) -> FeaturePage:
    """Searches features by words and by meaning, best first. An empty query lists all of them."""
    only = SearchFilter(
        layers=frozenset(layer), min_density=min_density, max_density=max_density, min_score=min_score,
        steerable=steerable, states=frozenset(state),
    )  # fmt: skip
    with deployment.store.read() as reader:
        scope = reader.scope(artifact) if artifact else deployment.scope
        vector = deployment.embedder.vector(q, reader, scope)
        judge = judge_of(reader, deployment.served)
        page = reader.search(q, scope, limit, after, only, vector=vector, judge=judge, explain=explain)
        data = with_states(reader, page.features, deployment.served)
        groups = reader.groups.find(q, scope)[:limit] if after is None else ()
    more = page.next is not None
    return FeaturePage(data=data, next=page.next, has_more=more, by_meaning=page.by_meaning, groups=groups)


# Names may have slashes, so this route takes every path that is left. Routes below a feature, such as
# "/{name:path}/word", must be added before it; ``api.routes`` detects one that is not.
@router.get("/{name:path}")
def feature(deployment: CurrentDeployment, name: str, artifact: Sae = None) -> FeatureCard:
    """One feature by its label, head, alias, slug, id, or ``sae:<artifact>/<latent>``."""
    with deployment.store.read() as reader:
        found = reader.resolve(name, reader.scope(artifact) if artifact else deployment.scope)
        return card(found, reader, deployment)


def card(found: Feature, reader: Reader, deployment: Deployment) -> FeatureCard:
    """Everything that is known about a feature."""
    details = reader.details(found.id)
    [current] = with_states(reader, [found], deployment.served)
    rest = {key: getattr(details, key) for key in type(details).model_fields if key not in ("feature", "labels")}
    return FeatureCard(**current.model_dump(), **rest, labels=tuple(map(shown_version, details.labels)))


def shown_version(version: LabelVersion) -> ShownVersion:
    """A version as the answer has it: its label is one text."""
    outcome = version.outcome
    if isinstance(outcome, Labeled):
        row: ShownLabel | Unlabeled = ShownLabel(label=outcome.label.text, score=outcome.score, scores=outcome.scores)
    else:
        row = outcome
    return ShownVersion(version=version.version, outcome=row, provenance=version.provenance, created=version.created)
