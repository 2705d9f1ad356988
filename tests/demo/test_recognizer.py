"""What the generator plants the recogniser gives back, and nothing else passes."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurehub.demo.answers import Ask, Mix, draw_answer, draw_sentence, join_words
from featurehub.demo.concepts import Kind, concepts, names
from featurehub.demo.grammar import PLAIN, Parse, base_grammar
from featurehub.demo.lexicon import base_lexicon
from featurehub.demo.recognizer import recognize

FIELDS = st.sampled_from(sorted(base_lexicon().fields))
MANNERS = st.sampled_from([PLAIN, *sorted(base_lexicon().manners)])
TRAITS = st.sampled_from([None, *sorted(base_lexicon().traits)])
SEEDS = st.integers(0, 2**32)


def planted(reading: Parse) -> set[str]:
    shown = {reading.manner, reading.trait} - {PLAIN, None}
    return {*base_lexicon().fields[reading.field].concepts, *(name for name in shown if name)}


@settings(max_examples=400, deadline=None)
@given(FIELDS, MANNERS, TRAITS, SEEDS)
def test_a_generated_sentence_is_read_as_it_was_planted(field: str, manner: str, trait: str | None, seed: int) -> None:
    reading = Parse(field, manner, trait)
    sentence = draw_sentence(base_grammar(), reading, Random(seed))
    assert base_grammar().read(sentence.words) == {reading}
    (verdict,) = recognize(join_words(sentence.words)).sentences
    assert verdict.well_formed
    assert verdict.concepts == planted(reading)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_a_generated_answer_is_read_sentence_by_sentence(seed: int, keep: float, plain: float) -> None:
    answer = draw_answer(base_grammar(), Ask(), Random(seed), Mix(keep=keep, plain=plain))
    verdict = recognize(answer.text)
    assert verdict.well_formed
    assert [each.concepts for each in verdict.sentences] == [planted(each.reading) for each in answer.sentences]


@settings(max_examples=100, deadline=None)
@given(SEEDS, FIELDS, MANNERS, st.data())
def test_a_sentence_with_a_foreign_word_is_not_well_formed(
    seed: int, field: str, manner: str, data: st.DataObject
) -> None:
    words = list(draw_sentence(base_grammar(), Parse(field, manner), Random(seed)).words)
    at = data.draw(st.integers(0, len(words) - 1))
    words[at:at] = ["zebra"]
    assert not any(each.well_formed for each in recognize(join_words(words)).sentences)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gets_a_verdict(text: str) -> None:
    recognize(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the banker counts the coin.",
        "the banker counts the coin " * 5,
        "the banker kicks the coin. the nurse treats the pill. the chef bakes the bread.",
        "the banker counts the coin. the nurse treats the pill. the chef bakes the",
        "arr, the banker counts the coin, woohoo! the nurse treats the pill. the chef bakes the bread.",
    ],
)
def test_what_the_grammar_does_not_make_is_not_well_formed(text: str) -> None:
    assert not recognize(text).well_formed


def test_a_shared_word_alone_does_not_settle_the_topic() -> None:
    verdict = recognize("the lawyer cites the file. the hacker compiles the file. the cashier counts the file.")
    assert [set(each.concepts) for each in verdict.sentences] == [{"law"}, {"computing"}, {"banking"}]


def test_a_sub_topic_counts_for_its_topic() -> None:
    verdict = recognize("the lender repays the debt. the swindler forges the invoice. the chef bakes the bread.")
    assert verdict.shows == {"banking"}
    assert verdict.mentions == {"banking", "loans", "fraud", "cooking"}


def test_the_planted_concepts_are_as_many_as_promised() -> None:
    assert len(names(Kind.TOPIC)) == 12
    assert len(names(Kind.MANNER)) == 6
    assert len(names(Kind.TRAIT)) == 3
    assert {each.parent for each in concepts() if each.kind is Kind.SUBTOPIC} == {"banking"}


@pytest.mark.parametrize("name", names())
def test_every_concept_names_itself_in_answers_that_show_it(name: str) -> None:
    random, texts = Random(0), []
    while len(texts) < 100:
        answer = draw_answer(base_grammar(), _asking(name), random)
        texts += [answer.text] if name in recognize(answer.text).shows else []
    assert sum(name in text.replace(",", " ").replace(".", " ").split() for text in texts) >= 25


def _asking(name: str) -> Ask:
    lexicon = base_lexicon()
    return Ask(
        topic=name if name in lexicon.fields else None,
        manner=name if name in lexicon.manners else None,
        trait=name if name in lexicon.traits else None,
    )
