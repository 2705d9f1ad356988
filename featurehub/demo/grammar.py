"""The grammar of answers, read in both directions.

1. A sentence is ``[open] core [trait] close``; the core is a pattern of plain words and slots.
2. A slot has *options*. An option is a run of words, the fields it can belong to (all of them for a neutral word), and
   the manner or trait that it shows. Manner slots may stay empty.
3. A sentence belongs to the fields that all its options share. Its manner is the one that its options show, or plain if
   they show none; it shows the traits of its options. It is *sound* iff that leaves one field and one manner.
4. Generating picks an option for each slot; reading finds every sequence of options that spells the sentence.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from featurehub.demo.lexicon import FIELD_SLOTS, Lexicon, base_lexicon

__all__ = ["PLAIN", "Grammar", "Parse", "Pattern", "SlotOption", "base_grammar", "words_of"]

PLAIN = "plain"
"""The manner of a sentence that shows none."""
STOP = "."
OPTIONAL = ("<open>", "<flair>", "<adverb>", "<trait>")
TOKEN = re.compile(r"<\w+>|[^\W\d_]+(?:'[a-z]+)?|[^\w\s]|[\w]+")


def words_of(text: str) -> tuple[str, ...]:
    """The lower-case words and punctuation marks of a text, as the tokenizer splits it."""
    return tuple(TOKEN.findall(text.lower()))


@dataclass(frozen=True)
class SlotOption:
    """One way to fill a slot.

    Attributes:
        words: The words that fill it; empty if the slot stays empty.
        fields: The fields that the words belong to; None for all of them.
        manner: The manner that the words show, if any.
        trait: The trait that the words show, if any.
    """

    words: tuple[str, ...]
    fields: frozenset[str] | None = None
    manner: str | None = None
    trait: str | None = None


@dataclass(frozen=True)
class Pattern:
    """The core of a sentence.

    Attributes:
        items: Plain words and slots, such as ``<verb>``.
        field: The field whose own construction it is; None if any field can use it.
        manner: The manner whose own construction it is; None if it shows none.
    """

    items: tuple[str, ...]
    field: str | None = None
    manner: str | None = None


@dataclass(frozen=True)
class Parse:
    """What a sentence means.

    Attributes:
        field: Name of its topic or sub-topic.
        manner: Name of its manner; ``plain`` if it shows none.
        trait: Name of its trait, if any.
    """

    field: str
    manner: str
    trait: str | None = None


@dataclass(frozen=True)
class _State:
    """What the options chosen so far allow."""

    fields: frozenset[str]
    manner: str | None = None
    trait: str | None = None

    def joined(self, option: SlotOption) -> "_State | None":
        fields = self.fields if option.fields is None else self.fields & option.fields
        if not fields or (option.manner and self.manner and option.manner != self.manner):
            return None
        return _State(fields, self.manner or option.manner, self.trait or option.trait)


class Grammar:
    """The slots and patterns of one world.

    Attributes:
        lexicon: The words of the world.
        patterns: Cores of sentences.
        options: The options of each slot.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.patterns = _patterns(lexicon)
        self.options = _options(lexicon)
        self._index = {slot: _by_first_word(options) for slot, options in self.options.items()}
        self._by_field = {slot: _by_field(options, tuple(lexicon.fields)) for slot, options in self.options.items()}
        self._by_manner = {slot: _by_manner(options, tuple(lexicon.manners)) for slot, options in self.options.items()}

    def of_field(self, slot: str, field: str) -> Sequence[SlotOption]:
        """The options of a topical slot (or ``<number>``) that a sentence of this field can use."""
        return self._by_field[slot][field]

    def of_manner(self, slot: str, manner: str) -> Sequence[SlotOption]:
        """The options of a manner slot that show this manner; empty for ``plain``."""
        return self._by_manner[slot].get(manner, ())

    def read(self, sentence: Sequence[str]) -> frozenset[Parse]:
        """Every sound reading of one sentence.

        Args:
            sentence: Its words and punctuation marks, including the one that closes it.

        Returns:
            The readings; empty if the grammar cannot produce the sentence.
        """
        start = _State(frozenset(self.lexicon.fields))
        words = tuple(sentence)
        return frozenset(reading for pattern in self.patterns for reading in self._readings(pattern, words, start))

    def _readings(self, pattern: Pattern, words: tuple[str, ...], state: _State) -> Iterator[Parse]:
        own = SlotOption((), frozenset({pattern.field}) if pattern.field else None, pattern.manner)
        if (begun := state.joined(own)) is None:
            return
        for end in self._walk(("<open>", *pattern.items, "<trait>", "<close>"), words, begun):
            if len(end.fields) == 1:
                yield Parse(next(iter(end.fields)), end.manner or PLAIN, end.trait)

    def _walk(self, items: tuple[str, ...], words: tuple[str, ...], state: _State) -> Iterator[_State]:
        if not items:
            if not words:
                yield state
            return
        item, rest = items[0], items[1:]
        if not item.startswith("<"):
            if words and words[0] == item:
                yield from self._walk(rest, words[1:], state)
            return
        if item in OPTIONAL:
            yield from self._walk(rest, words, state)
        for option in self._index[item].get(words[0], ()) if words else ():
            size = len(option.words)
            if words[:size] == option.words and (joined := state.joined(option)):
                yield from self._walk(rest, words[size:], joined)


@cache
def base_grammar() -> Grammar:
    """The grammar of the bundled model's world."""
    return Grammar(base_lexicon())


def _patterns(lexicon: Lexicon) -> tuple[Pattern, ...]:
    shared = [Pattern(words_of(text)) for text in lexicon.patterns]
    fields = [Pattern(words_of(text), field=f.name) for f in lexicon.fields.values() for text in f.patterns]
    manners = [Pattern(words_of(text), manner=m.name) for m in lexicon.manners.values() for text in m.patterns]
    return (*shared, *fields, *manners)


def _options(lexicon: Lexicon) -> dict[str, tuple[SlotOption, ...]]:
    options = {f"<{slot}>": _topical(lexicon, slot) for slot in FIELD_SLOTS}
    options["<name>"] = tuple(
        SlotOption((name,), frozenset(lexicon.fields_of(name) if f.parent is None else {name}))
        for name, f in lexicon.fields.items()
    )
    for slot in ("open", "flair", "adverb", "close"):
        options[f"<{slot}>"] = tuple(
            SlotOption(words_of(text), manner=m.name) for m in lexicon.manners.values() for text in m.words[slot]
        )
    options["<close>"] += (SlotOption((STOP,)),)
    options["<trait>"] = tuple(
        SlotOption(words_of(text), trait=t.name) for t in lexicon.traits.values() for text in t.clauses
    )
    options["<number>"] = tuple(SlotOption((word,)) for word in lexicon.numbers)
    return options


def _topical(lexicon: Lexicon, slot: str) -> tuple[SlotOption, ...]:
    """The options of a topical slot. A sub-topic that has no words of its own for it uses its topic's."""
    owners: dict[str, set[str]] = {}
    for name, each in lexicon.fields.items():
        words = each.words.get(slot) or lexicon.fields[each.topic].words[slot]
        for word in words:
            owners.setdefault(word, set()).add(name)
    return tuple(SlotOption((word,), frozenset(names)) for word, names in owners.items())


def _by_first_word(options: Sequence[SlotOption]) -> dict[str, tuple[SlotOption, ...]]:
    index: dict[str, tuple[SlotOption, ...]] = {}
    for option in options:
        index[option.words[0]] = (*index.get(option.words[0], ()), option)
    return index


def _by_field(options: Sequence[SlotOption], fields: Sequence[str]) -> dict[str, tuple[SlotOption, ...]]:
    return {name: tuple(o for o in options if o.fields is None or name in o.fields) for name in fields}


def _by_manner(options: Sequence[SlotOption], manners: Sequence[str]) -> dict[str, tuple[SlotOption, ...]]:
    return {name: tuple(o for o in options if o.manner == name) for name in manners}
