"""Variants: edits and aborts on a model under one name, which a request may give as its ``model``.

Each time that a variant is saved it gets a version, which never changes. A version keeps its names as they were
written, and beside them what they meant when it was saved: whatever is called so later, the version stays what it was.
"""

import re
from typing import Literal

from pydantic import Field

from featurehub.conditions import FeatureAbort
from featurehub.features import Edit
from featurehub.groups import FeatureGroup, GroupMember
from featurehub.refreshes import Fate
from featurehub.settings import Frozen

__all__ = [
    "DEFINITION_CHARS",
    "MODEL_CHARS",
    "VARIANTS_MAX",
    "VARIANT_NAME",
    "VERSIONS_MAX",
    "FeatureFate",
    "PinnedFeature",
    "StoredVariant",
    "parse_variant",
    "parts_of",
]

VARIANT_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a variant may be called: it stands in addresses, headers and as ``model`` of requests."""
VARIANTS_MAX = 1000
"""Most variants of an owner."""
VERSIONS_MAX = 1000
"""Most versions of a variant."""
MODEL_CHARS = 500
DEFINITION_CHARS = 200_000
"""Most characters of a version as JSON."""

ADDRESS = re.compile(rf"(?P<name>{VARIANT_NAME})(?:@(?P<version>[1-9][0-9]{{0,8}}))?")


class PinnedFeature(Frozen):
    """What a name meant when a variant was saved.

    Attributes:
        id: Id of the feature.
        artifact: Id of its SAE.
        latent: Index in that SAE.
        label: The label that it had.
    """

    id: str
    artifact: str
    latent: int = Field(ge=0)
    label: str


class FeatureFate(Frozen):
    """What became of a variant's feature when its SAE was refreshed for a retrained model.

    Attributes:
        fate: What the refresh made of it.
        sae: Id of the refreshed SAE.
        feature: Id of the feature there that a request with the variant uses; None where there is none, so that it is
            refused.
        label: What is called so now: the label of that feature, or else of what comes closest; "" where nothing does.
        reason: The rule that decided, in words.
    """

    fate: Fate
    sae: str
    feature: str | None
    label: str
    reason: str


class StoredVariant(Frozen):
    """One version of a variant.

    >>> stored = client.variants.get("pirate-bank")
    >>> answer = client.chat.completions.create(model=stored, messages=chat)

    Attributes:
        object: Always "variant".
        name: What a request gives as ``model``.
        version: Its number, from 1 without gaps.
        owner: Who alone knows it; "" is everyone.
        model: The model that answers.
        features: Its edits by name, as a request's ``features``.
        abort_when: Its aborts, as in a request.
        pinned: What the names of features meant when it was saved.
        groups: What the names of groups meant then.
        fates: What became of its features whose SAE is not in use, but one that was refreshed from it: by name, or by
            label for members of groups.
        description: What it is for.
        created: When it was saved, ISO 8601.
    """

    object: Literal["variant"] = "variant"
    name: str
    version: int
    owner: str = ""
    model: str
    features: dict[str, Edit]
    abort_when: tuple[FeatureAbort, ...] = ()
    pinned: dict[str, PinnedFeature]
    groups: dict[str, FeatureGroup]
    fates: dict[str, FeatureFate] = Field(default_factory=dict)
    description: str = ""
    created: str = ""

    @property
    def address(self) -> str:
        """What means this version and no other: ``name@version``.

        >>> client.variants.get("pirate-bank").address
        'pirate-bank@1'
        """
        return f"{self.name}@{self.version}"


def parts_of(variant: StoredVariant) -> dict[str, PinnedFeature | GroupMember]:
    """Everything that a variant names: features by name, and members of groups by label."""
    members = {each.label: each for group in variant.groups.values() for each in group.members}
    return {**members, **variant.pinned}


def parse_variant(address: str) -> tuple[str, int | None] | None:
    """The name and version in ``name`` or ``name@version``; None where it can be neither."""
    if (found := ADDRESS.fullmatch(address)) is None:
        return None
    return found["name"], None if found["version"] is None else int(found["version"])
