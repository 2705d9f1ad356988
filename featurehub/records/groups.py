"""Groups as the database finds them: with their features."""

from typing import NamedTuple

from featurehub.features import Feature
from featurehub.groups import FeatureGroup

__all__ = ["ResolvedGroup"]


class ResolvedGroup(NamedTuple):
    """A group that a name means, and its features in the order of its members."""

    group: FeatureGroup
    features: tuple[Feature, ...]
