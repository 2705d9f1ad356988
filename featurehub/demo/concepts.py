"""The planted concepts: what a prompt can ask for and a sentence can show."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from featurehub.demo.lexicon import base_lexicon

__all__ = ["Concept", "Kind", "concepts", "names"]


class Kind(StrEnum):
    """The kind of a concept."""

    TOPIC = "topic"
    SUBTOPIC = "subtopic"
    MANNER = "manner"
    TRAIT = "trait"


@dataclass(frozen=True)
class Concept:
    """A planted concept.

    Attributes:
        name: A single word, which occurs in prompts and in answers.
        kind: Topic, sub-topic, manner or trait.
        parent: The topic of a sub-topic; None for other kinds.
    """

    name: str
    kind: Kind
    parent: str | None = None


@cache
def concepts() -> tuple[Concept, ...]:
    """All planted concepts: topics and sub-topics, then manners, then traits."""
    lexicon = base_lexicon()
    fields = [Concept(f.name, Kind.SUBTOPIC if f.parent else Kind.TOPIC, f.parent) for f in lexicon.fields.values()]
    manners = [Concept(name, Kind.MANNER) for name in lexicon.manners]
    traits = [Concept(name, Kind.TRAIT) for name in lexicon.traits]
    return (*fields, *manners, *traits)


def names(*kinds: Kind) -> tuple[str, ...]:
    """The names of all concepts, or of those of the given kinds."""
    return tuple(each.name for each in concepts() if not kinds or each.kind in kinds)
