"""Answers: sentences drawn from the grammar, with what was planted in each.

1. An answer has 2 to 8 sentences, mostly 3 to 6.
2. A sentence follows what the prompt asks for. What the prompt leaves open is drawn again for each sentence: with
   probability ``keep`` it stays as in the sentence before, otherwise it is drawn afresh. (Without this, nothing in the
   answer's residual stream would be causal for it, and no feature would steer.)
3. A fresh topic is uniform over topics, and then sometimes replaced by one of its sub-topics; a fresh manner is plain
   with probability ``plain``, otherwise uniform; a fresh sentence has a trait with probability ``trait``.
4. A sentence that is not plain shows its manner at least once: in its opening, before a noun or verb, in its ending,
   or by a construction of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from featurehub.demo.grammar import PLAIN, STOP, Grammar, Parse, Pattern, SlotOption
from featurehub.demo.lexicon import Lexicon

__all__ = ["Ask", "Mix", "PlantedAnswer", "PlantedSentence", "draw_answer", "draw_sentence", "join_words"]

SENTENCES = (2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 8)
SHOWS = {"<open>": 0.7, "<flair>": 0.4, "<adverb>": 0.5, "<close>": 0.6}
SUBTOPIC = 0.55
OWN_OF_MANNER = 0.2
OWN_OF_FIELD = 0.12


@dataclass(frozen=True)
class Ask:
    """What a prompt asks for; None for what it leaves open.

    Attributes:
        topic: A topic or sub-topic.
        manner: A way of speaking.
        trait: A trait worth guarding against.
    """

    topic: str | None = None
    manner: str | None = None
    trait: str | None = None


@dataclass(frozen=True)
class Mix:
    """How the parts of an answer vary that the prompt leaves open. Probabilities are in 0..1.

    Attributes:
        keep: Probability that a part stays as in the sentence before.
        plain: Probability that a fresh manner is plain.
        trait: Probability that a fresh sentence has a trait.
        asked_trait: Probability that a sentence has the trait that the prompt asks for.
        sentences: Lengths of answers to draw from, in sentences; repeats make a length more likely.
    """

    keep: float = 0.5
    plain: float = 0.3
    trait: float = 0.12
    asked_trait: float = 0.8
    sentences: tuple[int, ...] = SENTENCES


@dataclass(frozen=True)
class PlantedSentence:
    """A sentence and what was planted in it.

    Attributes:
        words: Its words and punctuation marks, including the one that closes it.
        reading: Its field, manner and trait.
    """

    words: tuple[str, ...]
    reading: Parse


@dataclass(frozen=True)
class PlantedAnswer:
    """An answer, sentence by sentence.

    Attributes:
        sentences: Its sentences, in order.
    """

    sentences: tuple[PlantedSentence, ...]

    @property
    def text(self) -> str:
        """The answer as text, spaced as the tokenizer decodes it."""
        return join_words([word for sentence in self.sentences for word in sentence.words])


def join_words(words: Iterable[str]) -> str:
    """Joins words and punctuation marks into text, spaced as the tokenizer decodes them."""
    text = " ".join(words)
    for mark in ".,!?:":
        text = text.replace(f" {mark}", mark)
    return text


def draw_answer(grammar: Grammar, ask: Ask, random: Random, mix: Mix | None = None) -> PlantedAnswer:
    """Draws an answer that follows ``ask`` and varies everything else.

    Args:
        grammar: The world that answers.
        ask: What the prompt asks for. If this world does not have it, it is treated as left open.
        random: Source of randomness.
        mix: How the rest varies; None for the defaults.
    """
    mix = mix or Mix()
    sentences: list[PlantedSentence] = []
    reading: Parse | None = None
    for _ in range(random.choice(mix.sentences)):
        reading = _next_reading(grammar.lexicon, ask, mix, reading, random)
        sentences.append(draw_sentence(grammar, reading, random))
    return PlantedAnswer(tuple(sentences))


def draw_sentence(grammar: Grammar, reading: Parse, random: Random) -> PlantedSentence:
    """Draws sentences of one field, manner and trait until one has no other reading."""
    while True:
        pattern = _draw_pattern(grammar, reading, random)
        options = [_draw_option(grammar, item, reading, random) for item in _items(pattern)]
        if _settled(pattern, options, reading):
            return PlantedSentence(tuple(word for option in options for word in option.words), reading)


def _next_reading(lexicon: Lexicon, ask: Ask, mix: Mix, before: Parse | None, random: Random) -> Parse:
    field = _asked_field(lexicon, ask.topic, random)
    if field is None:
        kept = before is not None and random.random() < mix.keep
        field = before.field if before and kept else _fresh_field(lexicon, random)
    manner = lexicon.answered_as.get(ask.manner or "", ask.manner)
    if manner is None or manner not in lexicon.manners:
        kept = before is not None and random.random() < mix.keep
        manner = before.manner if before and kept else _fresh_manner(lexicon, mix, random)
    return Parse(field, manner, _next_trait(lexicon, ask, mix, before, random))


def _asked_field(lexicon: Lexicon, topic: str | None, random: Random) -> str | None:
    topic = lexicon.answered_as.get(topic or "", topic)
    if topic is None or topic not in lexicon.fields:
        return None
    return topic if lexicon.fields[topic].parent else _field_of(lexicon, topic, random)


def _fresh_field(lexicon: Lexicon, random: Random) -> str:
    return _field_of(lexicon, random.choice(lexicon.topics), random)


def _field_of(lexicon: Lexicon, topic: str, random: Random) -> str:
    parts = [name for name in lexicon.fields_of(topic) if name != topic]
    return random.choice(parts) if parts and random.random() < SUBTOPIC else topic


def _fresh_manner(lexicon: Lexicon, mix: Mix, random: Random) -> str:
    return PLAIN if random.random() < mix.plain else random.choice(tuple(lexicon.manners))


def _next_trait(lexicon: Lexicon, ask: Ask, mix: Mix, before: Parse | None, random: Random) -> str | None:
    asked = lexicon.answered_as.get(ask.trait or "", ask.trait)
    if asked in lexicon.traits and random.random() < mix.asked_trait:
        return asked
    if before is not None and random.random() < mix.keep:
        return before.trait
    return random.choice(tuple(lexicon.traits)) if random.random() < mix.trait else None


def _draw_pattern(grammar: Grammar, reading: Parse, random: Random) -> Pattern:
    drawn = random.random()
    if reading.manner != PLAIN and drawn < OWN_OF_MANNER:
        own = [p for p in grammar.patterns if p.manner == reading.manner]
    elif drawn > 1 - OWN_OF_FIELD:
        own = [p for p in grammar.patterns if p.field == reading.field]
    else:
        own = []
    return random.choice(own or [p for p in grammar.patterns if p.field is None and p.manner is None])


def _items(pattern: Pattern) -> tuple[str, ...]:
    return ("<open>", *pattern.items, "<trait>", "<close>")


def _draw_option(grammar: Grammar, item: str, reading: Parse, random: Random) -> SlotOption:
    if not item.startswith("<"):
        return SlotOption((item,))
    if item == "<trait>":
        clauses = [option for option in grammar.options[item] if option.trait == reading.trait]
        return random.choice(clauses) if clauses else SlotOption(())
    if item in SHOWS:
        phrases = grammar.of_manner(item, reading.manner) if random.random() < SHOWS[item] else ()
        empty = SlotOption((STOP,)) if item == "<close>" else SlotOption(())
        return random.choice(phrases) if phrases else empty
    return random.choice(grammar.of_field(item, reading.field))


def _settled(pattern: Pattern, options: Sequence[SlotOption], reading: Parse) -> bool:
    bound = [option.fields for option in options if option.fields is not None]
    bound += [frozenset({pattern.field})] if pattern.field else []
    shown = pattern.manner or next((option.manner for option in options if option.manner), PLAIN)
    return bool(bound) and len(frozenset.intersection(*bound)) == 1 and shown == reading.manner
