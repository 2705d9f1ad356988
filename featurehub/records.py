"""The values that go into the feature database and come out of it."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound
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
    "SearchFilter",
    "SearchPage",
    "TokenLogit",
    "Trial",
    "Unlabeled",
]


class RegisteredArtifact(Frozen):
    """A registered SAE. No two share a name, be it a ``name`` or one of the ``aliases``.

    Attributes:
        id: SHA-256 of its weights.
        name: Its own name.
        manifest: Its manifest, as it was registered.
        path: Its folder; "" for one of which only the labels are here.
        created: When it was made, ISO 8601.
        is_default: Whether it serves its model when no SAE is named.
        aliases: Further names.
    """

    id: str
    name: str
    manifest: Manifest
    path: str
    created: str
    is_default: bool
    aliases: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether more than its labels was registered: only then can it steer."""
        return self.path != ""

    def check_weights(self) -> None:
        """Raises ArtifactNotFound where only its labels are here."""
        if not self.has_weights:
            raise ArtifactNotFound(
                f"only the labels of {self.name} are here, without its weights: import the SAE (`featurehub saes "
                f"import`), and give it the labels (`featurehub features join {self.name} SAE`)",
                param="sae",
            )


class Scope(Frozen):
    """Where a name is looked up.

    Attributes:
        saes: Ids of artifacts, in the order in which a server holds them; None for all registered ones.
        owner: Whose own aliases go before everyone's names; "" for nobody's.
    """

    saes: tuple[str, ...] | None = None
    owner: str = ""


class ReportHead(Frozen):
    """A drift report without its verdicts, of which a report may have one for every feature.

    Attributes:
        id: The report's id.
        model: Name of the model that the artifact was checked on.
        created: Time of the check, ISO 8601 in UTC.
        state: State of the artifact as a whole.
        reason: The rule that decided it, in words.
    """

    id: str
    model: str
    created: str
    state: State
    reason: str


class Evaluation(Frozen):
    """What an artifact scored on one model and one text.

    Attributes:
        artifact: Id of the artifact.
        fingerprint: Hash over all of the model's weights.
        model: Name of the model.
        text: Name of the text.
        text_hash: SHA-256 of the text.
        metrics: Scores by name.
        created: Time of the evaluation, ISO 8601 in UTC.
    """

    artifact: str
    fingerprint: str
    model: str
    text: str
    text_hash: str
    metrics: dict[str, float]
    created: str


class Context(Frozen):
    """A stretch of text on which a latent fired.

    Attributes:
        tokens: The text of each token; joined, they are the stretch (leading spaces included).
        activations: The latent's activation at each token, >= 0.
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
        """The stretch of text."""
        return "".join(self.tokens)


class TokenLogit(Frozen):
    """A ``token``, and the ``logit`` that the latent's decoder row adds to it; a negative one suppresses it."""

    token: str
    logit: float


class FeatureRow(Frozen):
    """The statistics of one live latent.

    Attributes:
        latent: Index in the SAE.
        density: Share of tokens on which it fires, in [0, 1].
        max_activation: Its largest activation.
        quantiles: Quantiles of its positive activations: {"0.5": …}.
        contexts: Stretches of text on which it fired, strongest first.
        top_tokens: Tokens that its decoder row promotes most.
        bottom_tokens: Tokens that its decoder row suppresses most.
        neighbors: Latents with the most similar decoder rows, most similar first.
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
    """The outcome where a label was found.

    Attributes:
        label: A name, or ``name: further words``; the part before the colon is its *head*.
        score: The number that search ranks by, in [0, 1], on held-out contexts; None where the label was not scored.
        scores: All of the scorer's numbers, by name.
    """

    label: str
    score: float | None = Field(default=None, ge=0.0, le=1.0)
    scores: dict[str, float] = Field(default_factory=dict)

    @field_validator("label")
    @classmethod
    def _not_blank(cls, label: str) -> str:
        if not label.replace("\0", " ").strip():
            raise ValueError("a label has at least one visible character; use Unlabeled(reason) where there is none")
        return " ".join(label.replace("\0", " ").split())


class Unlabeled(Frozen):
    """The outcome where no label was found.

    Attributes:
        reason: Why there is none.
    """

    reason: str = Field(min_length=1)


Outcome = Labeled | Unlabeled


class Provenance(Frozen):
    """Where a label comes from.

    Attributes:
        author: The person or program that asked for it.
        method: How it was found.
        model: The language model that answered; "" where there was none.
        prompt: The evidence that the method was given.
        answer: The raw answer, before it was parsed.
    """

    author: str
    method: str
    model: str = ""
    prompt: str = ""
    answer: str = ""


class LabelVersion(Frozen):
    """One attempt at labelling a feature.

    Attributes:
        version: Counts from 1 for each feature.
        outcome: The label, or why there is none.
        provenance: Where it comes from.
        created: Time of the attempt, ISO 8601 in UTC.
    """

    version: int
    outcome: Outcome
    provenance: Provenance
    created: str


class Trial(Frozen):
    """What steering with one strength achieved.

    Attributes:
        strength: Raw nudge coefficient of the latent's steering vector.
        dose: ‖Δ‖/‖h‖ at that strength.
        success: Share of steered answers that showed the label, in [0, 1].
        coherence: Share of these answers that stayed coherent, in [0, 1].
    """

    strength: float
    dose: float
    success: float
    coherence: float


class Calibration(Frozen):
    """The raw coefficient that weight 1.0 stands for, and how it was found.

    Attributes:
        strength: Chosen raw coefficient of the steering vector; None for a row of zeros, which writes nothing.
        dose: Median ‖Δ‖/‖h‖ at that strength.
        steerability: Share of steered answers that showed the label, minus ``unsteered``, in [-1, 1]. Measured on
            answers that the strength was not chosen by; None where nothing was steered.
        unsteered: Share of unsteered answers that show the label.
        coherence: Share of coherent answers among those that steerability was measured on.
        answers: How many answers steerability was measured on; 0 where nothing was steered.
        curve: Every strength that was tried, measured on the answers that one was chosen by.
        output_score: How much the probability of the label's words rises when the feature is nudged
            (``labeling.output_score``); None where that was not computed.
        expected_steerability: The steerability that features with such an output score had, in [0, 1]; None where too
            few were steered to tell, and where it was measured.
        method: How it was found: "steered"; "dose" where it is only the usual dose, with which nobody tried to steer;
            "writes nothing" for a row of zeros.
    """

    strength: float | None
    dose: float
    steerability: float | None = Field(default=None, ge=-1.0, le=1.0)
    unsteered: float | None = None
    coherence: float | None = None
    answers: int = Field(default=0, ge=0)
    curve: tuple[Trial, ...] = ()
    output_score: float | None = None
    expected_steerability: float | None = Field(default=None, ge=0.0, le=1.0)
    method: str = ""


class FeatureDetails(Frozen):
    """Everything that a feature's page shows.

    Attributes:
        feature: The feature itself.
        quantiles: Quantiles of its positive activations: {"0.5": …}.
        contexts: Stretches of text on which it fired, strongest first.
        top_tokens: Tokens that its decoder row promotes most.
        bottom_tokens: Tokens that its decoder row suppresses most.
        neighbors: Latents with the most similar decoder rows, most similar first.
        calibration: What weight 1.0 stands for; None where it was never calibrated.
        labels: All versions of its label, oldest first.
    """

    feature: Feature
    quantiles: dict[str, float]
    contexts: tuple[Context, ...]
    top_tokens: tuple[TokenLogit, ...]
    bottom_tokens: tuple[TokenLogit, ...]
    neighbors: tuple[int, ...]
    calibration: Calibration | None
    labels: tuple[LabelVersion, ...]


class SearchFilter(Frozen):
    """Which features a search may show.

    Attributes:
        layers: Layers of the model in which their SAEs lie; none for all.
        min_density: Smallest share of tokens on which they fire.
        max_density: Largest such share.
        min_score: Smallest label score; leaves out labels that were not scored. None for all.
        steerable: Only those that were steered and then showed their label more often than before.
        states: How they stand on the loaded model; none for all.
    """

    layers: frozenset[int] = frozenset()
    min_density: float = Field(default=0.0, ge=0.0, le=1.0)
    max_density: float = Field(default=1.0, ge=0.0, le=1.0)
    min_score: float | None = Field(default=None, ge=0.0, le=1.0)
    steerable: bool = False
    states: frozenset[State] = frozenset()

    @property
    def bounds_features(self) -> bool:
        """Whether it leaves out features by what their rows hold."""
        plain = {"layers": self.layers, "states": self.states}
        return self != SearchFilter(**plain)


class SearchPage(Frozen):
    """One page of search results.

    Attributes:
        features: Best first.
        next: The ``after`` of the page that follows; None on the last page.
        by_meaning: Whether vectors were searched too, and not only words.
    """

    features: tuple[Feature, ...]
    next: str | None
    by_meaning: bool = False
