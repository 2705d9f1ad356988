"""What goes into the feature database and what comes out of it."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from featurehub.artifacts.manifest import Manifest
from featurehub.features import Feature, State
from featurehub.settings import Frozen

__all__ = [
    "Calibration",
    "Context",
    "Evaluation",
    "FeatureDetails",
    "FeatureRow",
    "LabelVersion",
    "Labeled",
    "Outcome",
    "Provenance",
    "RegisteredArtifact",
    "ReportHead",
    "Scope",
    "SearchPage",
    "TokenLogit",
    "Trial",
    "Unlabeled",
]


class RegisteredArtifact(Frozen):
    """A registered SAE. No two share one of their names (``name`` and ``aliases``); ``path`` is its folder."""

    id: str
    name: str
    manifest: Manifest
    path: str
    created: str
    is_default: bool
    aliases: tuple[str, ...] = ()


class Scope(Frozen):
    """Where a name is looked for.

    saes: ids of artifacts, in the order in which a server holds them; None for all that are registered
    """

    saes: tuple[str, ...] | None = None


class ReportHead(Frozen):
    """A drift report without its verdicts, which a report has for every feature. created: ISO 8601, in UTC"""

    id: str
    model: str
    created: str
    state: State
    reason: str


class Evaluation(Frozen):
    """What an artifact scored on one model and one text.

    artifact:    its id
    fingerprint: of all of the model's weights
    text:        what the text is called;  text_hash: its sha256
    metrics:     by name
    created:     ISO 8601, in UTC
    """

    artifact: str
    fingerprint: str
    model: str
    text: str
    text_hash: str
    metrics: dict[str, float]
    created: str


class Context(Frozen):
    """A stretch of text on which a latent was seen.

    tokens:      decoded, so that their concatenation is the text (leading spaces included)
    activations: the latent's, one per token, >= 0
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]

    @model_validator(mode="after")
    def _one_activation_per_token(self) -> Self:
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens but {len(self.activations)} activations")
        return self

    @property
    def text(self) -> str:
        return "".join(self.tokens)


class TokenLogit(Frozen):
    """A token of the vocabulary and how much the latent's decoder row writes to it."""

    token: str
    logit: float


class FeatureRow(Frozen):
    """The statistics of one live latent.

    density:    share of tokens on which it fires, in [0, 1]
    quantiles:  of its positive activations: {"0.5": …}
    contexts:   strongest first
    neighbors:  latents with the closest decoder rows, closest first
    """

    latent: int = Field(ge=0)
    density: float = Field(ge=0.0, le=1.0)
    max_activation: float = Field(ge=0.0)
    quantiles: dict[str, float] = Field(default_factory=dict)
    contexts: tuple[Context, ...] = ()
    top_tokens: tuple[TokenLogit, ...] = ()
    bottom_tokens: tuple[TokenLogit, ...] = ()
    neighbors: tuple[int, ...] = ()


class Labeled(Frozen):
    """A label was found.

    label:  a name, or ``name: further words``; the part before the colon is its *head*
    score:  the one number that search ranks by, in [0, 1], on held-out contexts; None where it was not scored
    scores: all numbers of the scorer, by name
    """

    label: str
    score: float | None = Field(default=None, ge=0.0, le=1.0)
    scores: dict[str, float] = Field(default_factory=dict)

    @field_validator("label")
    @classmethod
    def _not_blank(cls, label: str) -> str:
        if not label.strip():
            raise ValueError("a label has at least one visible character; use Unlabeled(reason) where there is none")
        return " ".join(label.split())


class Unlabeled(Frozen):
    """No label was found, and why."""

    reason: str = Field(min_length=1)


Outcome = Labeled | Unlabeled


class Provenance(Frozen):
    """Where a label comes from.

    author: who or what asked for it
    model:  the language model that answered; "" where there was none
    prompt: the evidence that the method was given
    answer: its raw answer, before it was parsed
    """

    author: str
    method: str
    model: str = ""
    prompt: str = ""
    answer: str = ""


class LabelVersion(Frozen):
    """One attempt at labelling a feature; versions count from 1."""

    version: int
    outcome: Outcome
    provenance: Provenance
    created: str


class Trial(Frozen):
    """What one strength did: share of steered answers that showed the label, and how coherent they stayed."""

    strength: float
    dose: float
    success: float
    coherence: float


class Calibration(Frozen):
    """The raw coefficient that weight 1.0 stands for, and how it was found.

    strength:      chosen raw coefficient of W_dec[latent]; None for a row of zeros, which writes nothing
    dose:          median ‖Δ‖/‖h‖ at that strength
    steerability:  success beyond the unsteered share, in [-1, 1], in answers that chose nothing; None where nothing was
                   steered
    unsteered:     share of unsteered answers that show the label
    coherence:     of the answers that steerability was measured on
    curve:         every strength that was tried, in the answers that one was chosen by
    """

    strength: float | None
    dose: float
    steerability: float | None = Field(default=None, ge=-1.0, le=1.0)
    unsteered: float | None = None
    coherence: float | None = None
    curve: tuple[Trial, ...] = ()
    method: str = ""


class FeatureDetails(Frozen):
    """Everything that a feature's page shows. ``labels`` holds all versions, oldest first."""

    feature: Feature
    quantiles: dict[str, float]
    contexts: tuple[Context, ...]
    top_tokens: tuple[TokenLogit, ...]
    bottom_tokens: tuple[TokenLogit, ...]
    neighbors: tuple[int, ...]
    calibration: Calibration | None
    labels: tuple[LabelVersion, ...]


class SearchPage(Frozen):
    """Features, best first; ``next`` is the ``after`` of the page that follows, None on the last."""

    features: tuple[Feature, ...]
    next: str | None
