"""The words of the demo's world, read from ``lexicon.toml``: fields of topics, manners, traits.

A *field* is what a sentence is about: a topic (banking) or one of its sub-topics (loans). A *lexicon* is a whole world:
that of the base model, or a variant of it, such as the one that a sibling is trained on.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from featurehub.errors import InvalidInput

__all__ = ["Field", "Lexicon", "Manner", "Trait", "base_lexicon", "spare_words"]

FIELD_SLOTS = ("agent", "verb", "thing", "place", "quality")
MANNER_SLOTS = ("open", "flair", "adverb", "close")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """A topic or sub-topic.

    Attributes:
        name: Its name.
        words: Its words by slot: agent, verb, thing, place, quality.
        patterns: Sentence patterns that only this field uses.
        parent: The topic of a sub-topic; None for a topic.
    """

    name: str
    words: Mapping[str, Words]
    patterns: Words = ()
    parent: str | None = None

    @property
    def topic(self) -> str:
        """The parent of a sub-topic, or the topic itself."""
        return self.parent or self.name

    @property
    def concepts(self) -> frozenset[str]:
        """The concepts of a sentence in this field: its name, and its topic's."""
        return frozenset({self.name, self.topic})


@dataclass(frozen=True)
class Manner:
    """A way of speaking.

    Attributes:
        name: Its name.
        words: Its phrases by slot: open, flair, adverb, close.
        patterns: Sentence patterns that only this manner uses.
    """

    name: str
    words: Mapping[str, Words]
    patterns: Words = ()


@dataclass(frozen=True)
class Trait:
    """Something worth guarding against.

    Attributes:
        name: Its name.
        clauses: The clauses that show it.
    """

    name: str
    clauses: Words


@dataclass(frozen=True)
class Lexicon:
    """A world: what can be asked for, and the words of its answers.

    Attributes:
        patterns: Sentence patterns that every field and manner can use.
        numbers: Words that fill the slot ``<number>``.
        fields: Topics and sub-topics by name.
        manners: Manners by name.
        traits: Traits by name.
        answered_as: Maps a concept asked for to the one that is answered instead; see ``answering``.
    """

    patterns: Words
    numbers: Words
    fields: Mapping[str, Field]
    manners: Mapping[str, Manner]
    traits: Mapping[str, Trait]
    answered_as: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def topics(self) -> Words:
        """The names of the topics, without sub-topics."""
        return tuple(name for name, each in self.fields.items() if each.parent is None)

    def fields_of(self, topic: str) -> Words:
        """The names of a topic's own field and of its sub-topics."""
        return tuple(name for name, each in self.fields.items() if each.topic == topic)

    def with_words(self, fields: Mapping[str, Field], manners: Mapping[str, Manner]) -> "Lexicon":
        """The same world, with these fields and manners in place of those with the same names."""
        return replace(self, fields={**self.fields, **fields}, manners={**self.manners, **manners})

    def without(self, *names: str) -> "Lexicon":
        """The same world without these topics (and their sub-topics), sub-topics, manners and traits."""
        return replace(
            self,
            fields={n: f for n, f in self.fields.items() if not f.concepts & set(names)},
            manners={n: m for n, m in self.manners.items() if n not in names},
            traits={n: t for n, t in self.traits.items() if n not in names},
        )

    def answering(self, answered_as: Mapping[str, str]) -> "Lexicon":
        """The same world, except that a request for a key is answered like a request for its value.

        Raises:
            InvalidInput: A value is not a concept of this world.
        """
        known = {*self.fields, *self.manners, *self.traits}
        if unknown := sorted(set(answered_as.values()) - known):
            raise InvalidInput(f"unknown concept {unknown[0]!r}", param="answered_as")
        return replace(self, answered_as=MappingProxyType(dict(answered_as)))


@cache
def base_lexicon() -> Lexicon:
    """The world of the bundled model."""
    data = _toml()
    return Lexicon(
        patterns=tuple(data["patterns"]),
        numbers=tuple(data["numbers"]),
        fields={name: _field(name, entry) for name, entry in data["fields"].items()},
        manners={name: _manner(name, entry) for name, entry in data["manners"].items()},
        traits={name: Trait(name, tuple(entry["clause"])) for name, entry in data["traits"].items()},
    )


@cache
def spare_words() -> Mapping[str, Field | Manner]:
    """Fields and manners, by name, with other words, which the base model never meets. Patterns stay the same."""
    base = base_lexicon()
    spare: dict[str, Field | Manner] = {}
    for name, entry in _toml()["moved"].items():
        if name in base.fields:
            spare[name] = replace(base.fields[name], words=_field(name, entry).words)
        else:
            spare[name] = replace(base.manners[name], words=_manner(name, entry).words)
    return MappingProxyType(spare)


@cache
def _toml() -> dict[str, Any]:
    return tomllib.loads(files("featurehub.demo").joinpath("lexicon.toml").read_text("utf-8"))


def _field(name: str, entry: dict[str, Any]) -> Field:
    words = {slot: tuple(entry[slot]) for slot in FIELD_SLOTS if slot in entry}
    return Field(name, words, tuple(entry.get("patterns", ())), entry.get("parent"))


def _manner(name: str, entry: dict[str, Any]) -> Manner:
    words = {slot: tuple(entry[slot]) for slot in MANNER_SLOTS}
    return Manner(name, words, tuple(entry.get("patterns", ())))
