"""Values that every part of featurehub shares: features, and edits as people write them.

An *edit* names a feature and a weight on the calibrated scale; it is resolved to a *latent edit*
(``featurehub.edits``), which names an index in one SAE and the raw number that the forward pass uses.
"""

import re
import unicodedata
from enum import StrEnum

from pydantic import Field

from featurehub.conditions import FeatureWhen, Positions
from featurehub.groups import Combinable, GroupMember
from featurehub.settings import Frozen

__all__ = [
    "AppliedEdit",
    "Edit",
    "Feature",
    "Found",
    "Mode",
    "OnStale",
    "State",
    "SteerOptions",
    "slugify",
]


class Mode(StrEnum):
    """What an edit does to its latent's activation a (see ``featurehub.steering``).

    In a request, an edit of weight w has this effect:

    Attributes:
        NUDGE: Adds w · strength times the latent's decoder row to the stream.
        PIN: Sets the activation to w · max_activation.
        MUL: Multiplies the activation by 1 + w.
        ABLATE: Sets the activation to 0. It takes no weight.
    """

    NUDGE = "nudge"
    PIN = "pin"
    MUL = "mul"
    ABLATE = "ablate"


class State(StrEnum):
    """How far an artifact or a feature has drifted from the loaded model.

    Attributes:
        FRESH: The check found no drift, or the model is the same function.
        SUSPECT: The evidence is too thin to say, or the feature has changed while its label still holds.
        STALE: The feature or the artifact no longer holds on this model.
        UNCHECKED: No check has judged it on this model.
    """

    FRESH = "fresh"
    SUSPECT = "suspect"
    STALE = "stale"
    UNCHECKED = "unchecked"


class OnStale(StrEnum):
    """What a server does with a request that names a stale feature.

    Attributes:
        REFUSE: Answers with the error StaleFeature.
        WARN: Uses the feature and adds a warning to the answer.
    """

    REFUSE = "refuse"
    WARN = "warn"


class Found(Frozen):
    """One way in which a search found a feature.

    Attributes:
        source: "exact" (a name is the query), "name" (a name has or resembles words of it), "word" (words of no label
            that go with it), "text" (contexts and tokens that hold every word), or whose vector is near: "label",
            "tokens" or "contexts".
        place: Its place among what this source found, from 1.
        words: The name or word; None where it was found otherwise.
        similarity: Cosine of its vector with the query's, in [-1, 1]; None where it was found by words.
    """

    source: str
    place: int
    words: str | None = None
    similarity: float | None = None


class Feature(Frozen, Combinable):
    """A latent with a label, statistics and an id, as search returns it and as a request names it.

    >>> pirate = client.feature("pirate")
    >>> pirate.label, pirate.state.value
    ('pirate', 'fresh')

    Attributes:
        id: Derived from the artifact and the latent, so that it is the same in every database.
        label: The current label; "" where the feature has none.
        label_version: Number of the label's version, from 1; 0 where there is no label.
        slug: The label's head in a form for URLs, unique within the artifact.
        artifact: Id of the SAE.
        latent: Index in that SAE.
        density: Share of tokens on which the feature fires, in [0, 1].
        max_activation: Its largest activation on the corpus that its statistics come from.
        label_score: How well the label predicts the feature on held-out contexts, in [0, 1]; None where it was not
            scored.
        strength: Raw nudge coefficient that weight 1.0 stands for; that of the model's usual dose where it was never
            calibrated; None where it has no label or cannot write.
        steerability: Share of steered answers that showed the label, minus the share of unsteered ones, in [-1, 1];
            None where it was never tested.
        expected_steerability: What its output score lets one expect where it was never tested, in [0, 1]; None where
            that is not known.
        state: How the feature stands on the loaded model.
        relevance: How well it matches a search, in [0, 1]; None outside a search.
        aliases: Further names that find it.
        moved: Those of them that another latent had before the SAE was refreshed for a retrained model, and that mean
            this one now. A request that uses one is answered with a warning.
        found: How a search found it, where the search was asked to explain.
    """

    id: str
    label: str
    label_version: int
    slug: str
    artifact: str
    latent: int = Field(ge=0)
    density: float
    max_activation: float
    label_score: float | None = None
    strength: float | None = None
    steerability: float | None = None
    expected_steerability: float | None = None
    state: State = State.UNCHECKED
    relevance: float | None = None
    aliases: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()

    @property
    def never_steered(self) -> bool:
        """Whether its strength is only that of the model's usual dose, with which nobody tried to steer.

        >>> client.feature("pirate").never_steered
        False
        """
        return self.strength is not None and self.steerability is None

    @property
    def writes(self) -> bool:
        """False where calibration found that its decoder row is zero: no edit of it changes anything.

        >>> client.feature("pirate").writes
        True
        """
        return self.strength is not None or self.steerability is None

    def parts(self) -> tuple[GroupMember, ...]:
        """Itself, with weight 1.

        >>> client.feature("pirate").parts()[0].weight
        1.0
        """
        return (GroupMember(id=self.id, artifact=self.artifact, latent=self.latent, label=self.label, weight=1.0),)

    def __eq__(self, other: object) -> bool:
        """Two views of one feature are the same feature, whatever a search reported about them."""
        return isinstance(other, Feature) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class Edit(Frozen):
    """One feature's weight as a client writes it: ``0.7`` or ``{"mode": "pin", "weight": 0.5}``.

    >>> variant = Variant("demo").set_when(client.feature("banking") > 0.2, {"formal": Edit(mode="pin", weight=0.5)})

    Attributes:
        mode: What the edit does to the feature's activation.
        weight: In [-1, 1] on the calibrated scale: 1.0 is the strength that calibration chose for the feature. Required
            for every mode but ``ablate``; ``Mode`` says what it means in each.
        when: The condition that decides at which tokens the edit is in force; None for all of the request's positions.
    """

    mode: Mode = Mode.NUDGE
    weight: float | None = None
    when: FeatureWhen | None = None


class SteerOptions(Frozen):
    """The ``steer`` object of a request.

    Attributes:
        positions: The tokens that are steered.
        on_stale: What to do with a stale feature; None leaves it to the server.
    """

    positions: Positions = Positions.ALL
    on_stale: OnStale | None = None


class AppliedEdit(Frozen):
    """What one edit of a request did, as the response reports it.

    Attributes:
        id: The feature's id.
        label: The feature's label.
        label_version: Number of the label's version.
        sae: Id of the feature's SAE.
        latent: Index in that SAE.
        mode: As requested.
        weight: As requested, in [-1, 1]; 0 for ``ablate``. Through a group, the group's weight times the member's.
        coefficient: The raw number that the forward pass used: for ``nudge`` the coefficient of the decoder row, for
            ``pin`` the target activation, for ``mul`` the factor, for ``ablate`` 0.
        dose: Mean of ‖Δ‖/‖h‖ over the steered tokens of the SAE's hook point, where Δ is the change made by all edits
            of the request together there.
        clipped: Whether the dose guard scaled down the change of any token there.
        tokens: Number of tokens at which this edit was in force.
        state: The feature's state on the loaded model.
        group: Name of the group through which the request asked for it; None where it named the feature itself.
    """

    id: str
    label: str
    label_version: int
    sae: str
    latent: int
    mode: Mode
    weight: float
    coefficient: float
    dose: float
    clipped: bool
    tokens: int = 0
    state: State
    group: str | None = None


def slugify(text: str, limit: int = 80) -> str:
    """Turns text into a name for URLs and keys.

    Args:
        text: Any text.
        limit: Largest length of the result, in characters.

    Returns:
        Lower-case ASCII words joined by hyphens; "" where nothing of the text can be written so.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:limit].rstrip("-")
