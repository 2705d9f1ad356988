"""What is registered: SAEs, what they scored, what was found of their drift, and where a name is looked up."""

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound
from featurehub.features import State
from featurehub.settings import Frozen

__all__ = ["Evaluation", "PastReport", "RegisteredArtifact", "ReportHead", "Scope"]


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


class PastReport(ReportHead):
    """A drift report with its verdicts counted.

    Attributes:
        fingerprint: Hash of the function that the model computes (``ModelIdentity.function``).
        metrics: Measurements of the artifact as a whole, on the old and the new model, by name.
        weights: Identity of the weights as they lay on the device; "" where nothing was run.
        verdicts: How many features are in which state; none where the report speaks for the artifact alone.
    """

    fingerprint: str
    metrics: dict[str, float]
    weights: str = ""
    verdicts: dict[State, int]


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
