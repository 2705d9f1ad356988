"""What became of an SAE's features when the SAE was trained on for a retrained model."""

from collections import Counter
from enum import StrEnum

from pydantic import Field

from featurehub.settings import Frozen

__all__ = ["Fate", "RefreshCost", "RefreshReport", "RefreshedFeature"]


class Fate(StrEnum):
    """What a refresh made of a feature.

    Attributes:
        KEPT: Its label holds on the retrained model: the same name, at the same latent.
        RELABELLED: Its label does not hold, and its latent has another label now.
        RETIRED: Its label does not hold, and its latent has none.
    """

    KEPT = "kept"
    RELABELLED = "relabelled"
    RETIRED = "retired"


class RefreshedFeature(Frozen):
    """What a refresh made of one feature.

    Attributes:
        latent: Index in both SAEs.
        label: The label before.
        fate: What became of it.
        reason: The rule that decided, in words.
        new_label: The latent's label now; "" where it has none.
        successor: The latent that comes closest now to what the label says; None where the feature was kept, and where
            no latent does.
        moved: Whether that latent means what the label says, so that the label's names mean it now.
        successor_label: The label of that latent; "" where there is none, or it has none.
        f1_before: F1 between "the label is there" and "the latent fires", on answers of the model before, in [0, 1].
            The level is chosen on the other half of the answers.
        f1_now: The same of the refreshed SAE, on the retrained model's answers.
        f1_successor: The same of the successor.
        answers: Answers of the retrained model that F1 rests on: with the label or with the latent, whichever is more.
        level: Activation from which on the latent says best that the label is there.
        strength_before, strength: Raw coefficient of a nudge with weight 1.0; None where there is none.
        steerability_before, steerability: Share of steered answers that show the label, less that of unsteered ones;
            None where it was not measured.
    """

    latent: int = Field(ge=0)
    label: str
    fate: Fate
    reason: str
    new_label: str = ""
    successor: int | None = None
    moved: bool = False
    successor_label: str = ""
    f1_before: float = 0.0
    f1_now: float = 0.0
    f1_successor: float | None = None
    answers: int = 0
    level: float = 0.0
    strength_before: float | None = None
    strength: float | None = None
    steerability_before: float | None = None
    steerability: float | None = None

    @property
    def now(self) -> str:
        """What the name of a feature means now that was not kept, in words."""
        if self.moved:
            return f"means {self.successor_label or self.successor!r} (F1 {self.f1_successor or 0.0:.2f})"
        close = f"; close: {self.successor_label!r}" if self.successor_label else ""
        return f"is retired{close}"


class RefreshCost(Frozen):
    """What a refresh cost, beside training from scratch.

    Attributes:
        tokens: Tokens of the text that were read to train on.
        trained: Vectors that were trained on: tokens, or means of spans.
        answered: Tokens that were generated and read to verify features.
        seconds: The whole run, calibration included.
        training_seconds: Reading and training alone, by the speeds that were measured.
        scratch_trained: Vectors that the SAE was trained on at first.
        scratch_seconds: How long reading and training so much would take on this machine, by the same speeds.
    """

    tokens: int
    trained: int
    answered: int
    seconds: float
    training_seconds: float
    scratch_trained: int
    scratch_seconds: float


class RefreshReport(Frozen):
    """What a refresh did, or why nothing was done.

    Attributes:
        parent: Id of the SAE before.
        artifact: Id of the refreshed SAE; "" where training from scratch is better, and nothing was trained.
        model: Name of the retrained model.
        fingerprint: Hash of the function that it computes (``ModelIdentity.function``).
        created: When it was made, ISO 8601 in UTC.
        reason: Why training from scratch is better; "" where it is not.
        explained_variance_before: Of the parent on the model that it was trained on, on its canaries.
        explained_variance_stale: Of the parent on the retrained model, on the same tokens.
        explained_variance: Of the refreshed SAE on the retrained model, on the same tokens; None where nothing was
            trained.
        cost: What it cost; None where nothing was trained.
        features: One for each labelled feature of the parent, by latent.
    """

    parent: str
    artifact: str = ""
    model: str
    fingerprint: str
    created: str
    reason: str = ""
    explained_variance_before: float
    explained_variance_stale: float
    explained_variance: float | None = None
    cost: RefreshCost | None = None
    features: tuple[RefreshedFeature, ...] = ()

    @property
    def counts(self) -> Counter[Fate]:
        """How many features met each fate."""
        return Counter(each.fate for each in self.features)
