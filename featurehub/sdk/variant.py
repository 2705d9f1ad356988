"""A set of edits on a model: ``Variant`` can be changed, ``Snapshot`` is what one request uses."""

import html
from collections.abc import Iterable

from pydantic import ValidationError

from featurehub.errors import FeatureNotFound, InvalidInput
from featurehub.features import Edit, Feature, Mode, slugify
from featurehub.groups import FeatureGroup
from featurehub.parsing import parse_edits
from featurehub.settings import Frozen, Limits

__all__ = ["Named", "NamedEdit", "Snapshot", "Variant", "key_of", "many"]

LIMITS = Limits()
Named = Feature | FeatureGroup | str
"""What an edit may be of: a feature, a group, or the name of one."""


class NamedEdit(Frozen):
    """An edit and the feature or group that it applies to.

    Attributes:
        feature: What the server is asked for: an id, or a name as the user wrote it.
        label: The feature's label or the group's name, where it is known.
        edit: What to do with the feature.
    """

    feature: str
    label: str | None = None
    edit: Edit

    def answers_to(self, name: str) -> bool:
        """Whether a name means this edit's feature, whatever its case."""
        folded = name.casefold()
        if folded == self.feature.casefold():
            return True
        return self.label is not None and folded in (self.label.casefold(), slugify(self.label))

    def __str__(self) -> str:
        weight = "" if self.edit.weight is None else f" {self.edit.weight:+g}"
        return f"{self.label or self.feature}: {self.edit.mode}{weight}"


class Snapshot(Frozen):
    """A variant at one moment.

    Attributes:
        model: Name of the model.
        edits: The edits, in the order in which they were set.
    """

    model: str
    edits: tuple[NamedEdit, ...] = ()

    def features(self) -> dict[str, dict[str, object]]:
        """The ``features`` object of a request."""
        return {each.feature: each.edit.model_dump(mode="json", exclude_none=True) for each in self.edits}


class Variant:
    """Edits on a model, by feature. Each request takes a frozen snapshot of it.

        Variant("model").set("pirate speech", 0.7).set(["formal", "terse"], -0.4)

    Attributes:
        model: Name of the model.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, model: str) -> None:
        self.model = model
        self._edits: dict[str, NamedEdit] = {}

    @property
    def edits(self) -> dict[str, Edit]:
        """A copy of the edits, by the feature's id or by the name that it was set with."""
        return {key: each.edit for key, each in self._edits.items()}

    def set(
        self, feature: Named | Iterable[Named], weight: float | None = None, mode: Mode | str = "nudge"
    ) -> "Variant":
        """Sets the edit of a feature, or the same edit of several. It replaces an earlier one of the same feature.

        Args:
            feature: A feature, a group or the name of one, or several of them.
            weight: In [-1, 1] on the calibrated scale, where 1.0 is the strength that calibration chose; required for
                every mode but ``ablate``.
            mode: "nudge", "pin", "mul" or "ablate"; see ``featurehub.features.Mode``.

        Returns:
            The variant itself.

        Raises:
            InvalidEdit: The edit is not valid, or there are too many. The variant is unchanged.
        """
        edits = dict(self._edits)
        for each in many(feature):
            for same in [key for key, old in edits.items() if is_same(old, each)]:
                del edits[same]
            key = key_of(each)
            checked = parse_edits({**wire(edits.values()), key: {"mode": mode, "weight": weight}}, LIMITS)
            edits[key] = NamedEdit(feature=key, label=label_of(each), edit=checked[key])
        self._edits = edits
        return self

    def clear(self, feature: Named | Iterable[Named]) -> "Variant":
        """Removes the edit of a feature, or of several.

        Args:
            feature: A feature, a group or the name of one, or several of them.

        Returns:
            The variant itself.

        Raises:
            FeatureNotFound: One of them has no edit here. The variant is unchanged.
        """
        edits = dict(self._edits)
        for each in many(feature):
            same = [key for key, old in edits.items() if is_same(old, each)]
            if not same:
                raise FeatureNotFound(f"{key_of(each)!r} is not set here", suggestions=[*map(str, edits.values())])
            for key in same:
                del edits[key]
        self._edits = edits
        return self

    def reset(self) -> "Variant":
        """Removes all edits and returns the variant itself."""
        self._edits = {}
        return self

    def snapshot(self) -> Snapshot:
        """A frozen copy of the variant as it is now."""
        return Snapshot(model=self.model, edits=tuple(self._edits.values()))

    def to_json(self) -> str:
        """The variant as JSON, for ``from_json``."""
        return self.snapshot().model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Variant":
        """Reads a variant that ``to_json`` wrote.

        Raises:
            InvalidInput: It is not a variant's JSON.
            InvalidEdit: One of its edits is not valid.
        """
        try:
            snapshot = Snapshot.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(f"this is not a variant's JSON: {error}") from None
        parse_edits(snapshot.features(), LIMITS)
        variant = cls(snapshot.model)
        variant._edits = {each.feature: each for each in snapshot.edits}
        return variant

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same edits on the same model, in whatever order they were set."""
        if not isinstance(other, Variant):
            return NotImplemented
        return (self.model, self.edits) == (other.model, other.edits)

    def __repr__(self) -> str:
        return f"Variant({self.model!r}, {{{', '.join(map(str, self._edits.values()))}}})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(each.label or each.feature)}</td><td>{each.edit.mode}</td>"
            f"<td>{'' if each.edit.weight is None else f'{each.edit.weight:+g}'}</td></tr>"
            for each in self._edits.values()
        )
        head = "<tr><th>feature</th><th>mode</th><th>weight</th></tr>"
        return f"<table><caption>{html.escape(self.model)}</caption>{head}{rows}</table>"


def key_of(feature: Named) -> str:
    """The key under which a request names the feature or group: its id, or the name as given."""
    return feature if isinstance(feature, str) else feature.id


def label_of(feature: Named) -> str | None:
    """What people call it; None where only a name was given."""
    if isinstance(feature, FeatureGroup):
        return feature.name
    return feature.label if isinstance(feature, Feature) else None


def many(feature: Named | Iterable[Named]) -> list[Named]:
    """The features and groups as a list, of one or of several."""
    return [feature] if isinstance(feature, Feature | FeatureGroup | str) else list(feature)


def is_same(edit: NamedEdit, feature: Named) -> bool:
    """Whether an edit is of this feature or group, as far as can be told without the server."""
    return any(edit.answers_to(name) for name in names_of(feature))


def names_of(feature: Named) -> list[str]:
    """All that it answers to, as far as is known here."""
    match feature:
        case Feature():
            return [feature.id, feature.label, feature.slug, *feature.aliases]
        case FeatureGroup():
            return [feature.id, feature.name]
        case _:
            return [feature]


def wire(edits: Iterable[NamedEdit]) -> dict[str, dict[str, object]]:
    return Snapshot(model="", edits=tuple(edits)).features()
