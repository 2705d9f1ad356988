"""How a program names features and groups: by themselves, or by what they are called."""

from collections.abc import Iterable

from featurehub.errors import InvalidEdit
from featurehub.features import Feature
from featurehub.groups import FeatureGroup, GroupMember

__all__ = ["Named", "called", "key_of", "label_of", "many", "some", "weight_in"]

Named = Feature | FeatureGroup | GroupMember | str
"""What an edit may be of: a feature, a group, or the name of one."""


def many(features: Named | Iterable[Named]) -> list[Named]:
    """What a request can name, of one or of several: a group that no server keeps is named by its members."""
    match features:
        case FeatureGroup(id=""):
            return [*features.members]
        case Feature() | FeatureGroup() | GroupMember() | str():
            return [features]
        case _:
            return [part for each in features for part in many(each)]


def some(features: Named | Iterable[Named]) -> list[Named]:
    """The same, but nothing is left out in silence. Raises InvalidEdit for a list or a group that is empty."""
    single = isinstance(features, Feature | FeatureGroup | GroupMember | str)
    found = many(features) if single else [part for each in features for part in some(each)]
    if not found:
        raise InvalidEdit("there is no feature to set: a list or group is empty", param="features")
    return found


def key_of(feature: Named) -> str:
    """The key under which a request names the feature or group: its id, or the name as given."""
    return feature if isinstance(feature, str) else feature.id


def label_of(feature: Named) -> str | None:
    """What people call it; None where only a name was given."""
    if isinstance(feature, str):
        return None
    return feature.name if isinstance(feature, FeatureGroup) else feature.label


def weight_in(feature: Named, weight: float | None) -> float | None:
    """The weight of an edit of this, where what it is part of has a weight: a member of a group has a share of it."""
    # Whatever is no number is refused where edits are checked.
    if not isinstance(feature, GroupMember) or not isinstance(weight, int | float) or isinstance(weight, bool):
        return weight
    return weight * feature.weight


def called(feature: Named) -> list[str]:
    """All that it answers to, as far as is known here."""
    match feature:
        case Feature():
            return [feature.id, feature.label, feature.slug, *feature.aliases]
        case GroupMember():
            return [feature.id, feature.label]
        case FeatureGroup():
            return [feature.id, feature.name]
        case _:
            return [feature]
