"""The planted concepts: what a prompt can ask for and a sentence can show."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from featurehub.demo.lexicon import base_lexicon

__all__ = ["Concept", "Kind", "concepts", "names"]


class Kind(StrEnum):
    """What sort of thing a concept is."""

    TOPIC = "topic"
    SUBTOPIC = "subtopic"
    MANNER = "manner"
    TRAIT = "trait"


@dataclass(frozen=True)
class Concept:
    """A planted concept. ``name`` is one word of prompts and of answers; ``parent`` is a sub-topic's topic."""

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
    """The names of the concepts of these kinds; of all where none is named."""
    return tuple(each.name for each in concepts() if not kinds or each.kind in kinds)
