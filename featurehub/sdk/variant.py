"""``Variant``: a set of edits on a model that can be changed; each request uses a ``Snapshot`` of it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from featurehub.conditions import FeatureAbort, Positions
from featurehub.errors import InvalidEdit, InvalidInput
from featurehub.features import Edit, Mode
from featurehub.parsing import parse_edits
from featurehub.sdk.aborts import When, abort_of, checked_aborts
from featurehub.sdk.handling import Handler
from featurehub.sdk.named import Named, key_of, label_of, many, some, weight_in
from featurehub.sdk.snapshot import NamedEdit, Snapshot
from featurehub.sdk.tables import table
from featurehub.settings import Limits
from featurehub.variants import StoredVariant

if TYPE_CHECKING:
    from featurehub.sdk.client import Client

__all__ = ["Variant"]

LIMITS = Limits()


class Variant:
    """Edits on a model, by feature. Each request takes a frozen snapshot of it.

    >>> Variant("demo").set("pirate", 0.7).set(["formal", "banking"], -0.4)
    Variant('demo', {pirate: nudge +0.7, formal: nudge -0.4, banking: nudge -0.4})

    Attributes:
        model: Name of the model.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, model: str) -> None:
        self.model = model
        self._edits: dict[str, NamedEdit] = {}
        self._aborts: tuple[FeatureAbort, ...] = ()
        self._handlers: dict[str, Handler] = {}

    @property
    def edits(self) -> dict[str, Edit]:
        """A copy of the edits, by the feature's id or by the name that it was set with.

        >>> Variant("demo").set("pirate", 0.7).edits["pirate"].weight
        0.7
        """
        return {key: each.edit for key, each in self._edits.items()}

    @property
    def aborts(self) -> tuple[FeatureAbort, ...]:
        """What ends an answer.

        >>> [each.name for each in Variant("demo").abort_when(client.feature("banking") > 0.3, "bank").aborts]
        ['bank']
        """
        return self._aborts

    @property
    def handlers(self) -> dict[str, Handler]:
        """A copy of what is called when an abort ends an answer, by the abort's name. JSON does not keep it.

        >>> [*Variant("demo").handle_when(client.feature("banking") > 0.3, print, "bank").handlers]
        ['bank']
        """
        return dict(self._handlers)

    def set(
        self, feature: Named | Iterable[Named], weight: float | None = None, mode: Mode | str = "nudge",
        when: When | None = None,
    ) -> "Variant":  # fmt: skip
        """Sets the edit of a feature, or the same edit of several. It replaces an earlier one of the same feature.

        >>> variant = Variant("demo").set("pirate", 0.7).set("formal", 0.5, "pin", when=client.feature("banking") > 0.2)

        Args:
            feature: A feature, a group or the name of one, or several of them. A group that is not stored becomes an
                edit of each member, of weight w · m where its own weight is m.
            weight: In [-1, 1] on the calibrated scale, where 1.0 is the strength that calibration chose; required for
                every mode but ``ablate``.
            mode: "nudge", "pin", "mul" or "ablate"; see ``featurehub.features.Mode``.
            when: The condition that decides at which tokens the edit is in force; None for all.

        Returns:
            The variant itself.

        Raises:
            InvalidEdit: The edit is not valid, or there are too many. The variant is unchanged.
        """
        edits = dict(self._edits)
        for each in some(feature):
            for same in [key for key, old in edits.items() if old.is_of(each)]:
                del edits[same]
            key = key_of(each)
            edit = {"mode": mode, "weight": weight_in(each, weight), "when": when}
            others = Snapshot(model=self.model, edits=tuple(edits.values())).features()
            checked = parse_edits({**others, key: edit}, LIMITS)
            edits[key] = NamedEdit(feature=key, label=label_of(each), edit=checked[key])
        self._edits = edits
        return self

    def set_when(self, when: When, edits: Mapping[Any, float | Edit]) -> "Variant":
        """Sets edits that are in force where a condition holds. Each replaces an earlier one of the same feature.

        >>> variant = Variant("demo").set_when(client.feature("banking") > 0.2, {"formal": 0.5, "pirate": -0.3})

        Args:
            when: The condition.
            edits: The weight, or the edit, of each feature, group or name.

        Raises:
            InvalidEdit: An edit or the condition is not valid, or there are too many. The variant is unchanged.
        """
        before = self._edits
        try:
            for feature, each in edits.items():
                edit = each if isinstance(each, Edit) else Edit(weight=each)
                self.set(feature, edit.weight, edit.mode, when)
        except InvalidEdit:
            self._edits = before
            raise
        return self

    def abort_when(self, when: When, event: str = "", positions: Positions | str = Positions.GENERATED) -> "Variant":
        """Ends an answer at the first token at which a condition holds, beside those that end it already.

        >>> variant = Variant("demo").abort_when(client.feature("banking") > 0.3, "bank")
        >>> client.chat.completions.create(model=variant, messages=chat).featurehub["aborted"]["event"]
        'bank'

        Args:
            when: The condition.
            event: What the answer calls it; "" stands for the features' names.
            positions: The tokens that are watched: "generated", "prompt" or "all".

        Raises:
            InvalidInput: The condition is not valid, or there are too many. The variant is unchanged.
        """
        self._aborts = checked_aborts((*self._aborts, abort_of(when, event, positions)))
        return self

    def handle_when(self, when: When, handler: Handler, event: str = "") -> "Variant":
        """Ends an answer at the first token that the model writes at which a condition holds, and calls a function.

        It is called once for each answer, where that is read: by ``create``, or at the end of a stream. openai's
        ``parse`` and ``get_final_completion`` raise ``ContentFilterFinishReasonError`` for an answer that was ended.

        >>> variant = Variant("demo").handle_when(client.feature("banking") > 0.3, lambda ended: print(ended.text))
        >>> answer = client.chat.completions.create(model=variant, messages=chat)
        Is my loan

        Args:
            when: The condition.
            handler: What is called with the ``EndedAnswer``.
            event: What the answer calls it; "" stands for the features' names. Another handler for it is replaced.

        Raises:
            InvalidInput: The condition is not valid, or there are too many. The variant is unchanged.
        """
        self.abort_when(when, event)
        self._handlers[abort_of(when, event).name] = handler
        return self

    def clear(self, feature: Named | Iterable[Named]) -> "Variant":
        """Removes the edit of a feature, or of several; what is not set stays so.

        >>> Variant("demo").set(["pirate", "formal"], 0.7).clear("formal")
        Variant('demo', {pirate: nudge +0.7})

        Args:
            feature: A feature, a group or the name of one, or several of them.

        Returns:
            The variant itself.
        """
        gone = many(feature)
        self._edits = {key: old for key, old in self._edits.items() if not any(old.is_of(each) for each in gone)}
        return self

    def reset(self) -> "Variant":
        """Removes all edits, aborts and handlers, and returns the variant itself.

        >>> Variant("demo").set("pirate", 0.7).reset() == Variant("demo")
        True
        """
        self._edits, self._aborts, self._handlers = {}, (), {}
        return self

    def snapshot(self) -> Snapshot:
        """A frozen copy of the variant as it is now.

        >>> before = Variant("demo").set("pirate", 0.7).snapshot()
        """
        return Snapshot(model=self.model, edits=tuple(self._edits.values()), aborts=self._aborts)

    def to_json(self) -> str:
        """The variant as JSON, for ``from_json``.

        >>> text = Variant("demo").set("pirate", 0.7).to_json()
        """
        return self.snapshot().model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Variant":
        """Reads a variant that ``to_json`` wrote.

        >>> variant = Variant("demo").set("pirate", 0.7)
        >>> Variant.from_json(variant.to_json()) == variant
        True

        Raises:
            InvalidInput: It is not a variant's JSON.
            InvalidEdit: One of its edits is not valid.
        """
        try:
            snapshot = Snapshot.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput(f"this is not a variant's JSON: {error}") from None
        return cls._of(snapshot)

    @classmethod
    def stored(cls, variant: StoredVariant) -> "Variant":
        """What a version of a stored variant does, to be changed and saved as the next one.

        >>> Variant.stored(client.variants.get("pirate-bank")).set("formal", 0.2)
        Variant('demo', {pirate: nudge +0.7, formal: nudge +0.2})
        """
        groups = {name: group.name for name, group in variant.groups.items()}
        labels = {name: each.label or None for name, each in variant.pinned.items()} | groups
        edits = tuple(
            NamedEdit(feature=name, label=labels.get(name), edit=edit) for name, edit in variant.features.items()
        )
        return cls._of(Snapshot(model=variant.model, edits=edits, aborts=variant.abort_when))

    def save(self, name: str, client: "Client | None" = None, description: str = "") -> StoredVariant:
        """Saves it on a server for everyone, as the next version of a variant: ``client.variants.save``.

        >>> stored = Variant("demo").set("pirate", 0.7).save("pirate-bank")

        Args:
            name: The name, which a request then gives as ``model``.
            client: Whose server; by default ``Client()``.
            description: What it is for.

        Raises:
            FeatureNotFound: No feature has one of the names.
            AmbiguousFeature: Several features have one of them.
        """
        with own_or_new(client) as used:
            return used.variants.save(name, self, description)

    @classmethod
    def load(cls, name: str, client: "Client | None" = None) -> "Variant":
        """What a stored variant does, to be changed: ``client.variants.load``. Raises VariantNotFound.

        >>> variant = Variant.load("pirate-bank").set("formal", 0.2)
        """
        with own_or_new(client) as used:
            return used.variants.load(name)

    @classmethod
    def _of(cls, snapshot: Snapshot) -> "Variant":
        parse_edits(snapshot.features(), LIMITS)
        variant = cls(snapshot.model)
        variant._edits = {each.feature: each for each in snapshot.edits}
        variant._aborts = checked_aborts(snapshot.aborts)
        return variant

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same edits and aborts on the same model, in whatever order they were set."""
        if not isinstance(other, Variant):
            return NotImplemented
        same = (self.model, self.edits, len(self.aborts)) == (other.model, other.edits, len(other.aborts))
        return same and all(each in other.aborts for each in self.aborts)

    def __repr__(self) -> str:
        aborts = [f"abort: {each.name}" for each in self._aborts]
        return f"Variant({self.model!r}, {{{', '.join([*map(str, self._edits.values()), *aborts])}}})"

    def _repr_html_(self) -> str:
        edits = [
            (each.label or each.feature, each.edit.mode, None if each.edit.weight is None else f"{each.edit.weight:+g}")
            for each in self._edits.values()
        ]
        aborts = [(each.name, "abort", None) for each in self._aborts]
        return table(("feature", "mode", "weight"), [*edits, *aborts], self.model)


def own_or_new(client: "Client | None") -> "AbstractContextManager[Client]":
    """The client, or one of the environment that is closed at the end."""
    from featurehub.sdk.client import Client  # whose module imports this one

    return Client() if client is None else nullcontext(client)
