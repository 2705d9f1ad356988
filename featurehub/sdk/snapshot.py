"""What a variant is at one moment: ``Snapshot``, which a request uses and JSON keeps."""

from featurehub.conditions import FeatureAbort
from featurehub.features import Edit, slugify
from featurehub.sdk.named import Named, called
from featurehub.settings import Frozen

__all__ = ["NamedEdit", "Snapshot"]


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

    def is_of(self, feature: Named) -> bool:
        """Whether it is of this feature or group, as far as can be told without the server."""
        return any(self.answers_to(name) for name in called(feature))

    def __str__(self) -> str:
        weight = "" if self.edit.weight is None else f" {self.edit.weight:+g}"
        watched = "" if self.edit.when is None else f" when {', '.join(each.feature for each in self.edit.when)}"
        return f"{self.label or self.feature}: {self.edit.mode}{weight}{watched}"


class Snapshot(Frozen):
    """A variant at one moment.

    >>> before = Variant("demo").set("pirate", 0.7).snapshot()
    >>> answer = client.chat.completions.create(model=before, messages=chat)

    Attributes:
        model: Name of the model.
        edits: The edits, in the order in which they were set.
        aborts: What ends an answer.
    """

    model: str
    edits: tuple[NamedEdit, ...] = ()
    aborts: tuple[FeatureAbort, ...] = ()

    def features(self) -> dict[str, dict[str, object]]:
        """The ``features`` object of a request.

        >>> Variant("demo").set("pirate", 0.7).snapshot().features()
        {'pirate': {'mode': 'nudge', 'weight': 0.7}}
        """
        return {each.feature: each.edit.model_dump(mode="json", exclude_none=True) for each in self.edits}

    def abort_when(self) -> list[dict[str, object]]:
        """The ``abort_when`` list of a request.

        >>> variant = Variant("demo").abort_when(client.feature("banking") > 0.3, "bank")
        >>> [each["event"] for each in variant.snapshot().abort_when()]
        ['bank']
        """
        return [each.model_dump(mode="json") for each in self.aborts]
