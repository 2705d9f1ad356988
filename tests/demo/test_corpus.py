"""The corpus follows from its seed, obeys its own prompts, and keeps its splits apart."""

from itertools import islice

import pytest

from featurehub.demo.corpus import conversations, messages, prompts
from featurehub.demo.grammar import Grammar
from featurehub.demo.lexicon import Field, base_lexicon, spare_words
from featurehub.demo.prompts import is_held_out, neutral_prompts
from featurehub.demo.recognizer import recognize
from featurehub.errors import InvalidInput


def test_the_seed_decides_everything() -> None:
    first, again, other = (list(islice(conversations(seed), 50)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_training_never_sees_a_held_out_prompt() -> None:
    seen = {turn.prompt.text for each in islice(conversations(0), 3000) for turn in each.turns}
    held_out = {turn.prompt.text for each in islice(conversations(0, split="held-out"), 500) for turn in each.turns}
    assert not seen & held_out
    assert not any(is_held_out(text) for text in seen)


def test_the_neutral_prompts_are_held_out_from_training_and_from_each_other() -> None:
    calibrate, evaluate = neutral_prompts("calibrate"), neutral_prompts("evaluate")
    assert len(set(calibrate)) >= 8
    assert len(set(evaluate)) >= 8
    assert not set(calibrate) & set(evaluate)
    assert all(is_held_out(text) for text in (*calibrate, *evaluate))
    with pytest.raises(InvalidInput):
        neutral_prompts("train")


def test_the_neutral_prompts_name_no_concept() -> None:
    lexicon = base_lexicon()
    names = {*lexicon.fields, *lexicon.manners, *lexicon.traits}
    assert not any(names & set(text.split()) for text in (*neutral_prompts("calibrate"), *neutral_prompts("evaluate")))


def test_answers_obey_their_prompts() -> None:
    for conversation in islice(conversations(1), 300):
        for turn in conversation.turns:
            wanted = {turn.prompt.ask.topic, turn.prompt.ask.manner} - {None}
            assert wanted <= recognize(turn.answer.text).shows


def test_what_is_not_asked_for_varies_within_the_answer() -> None:
    answers = [each.turns[0] for each in islice(conversations(2), 2000) if not each.system]
    free = [recognize(turn.answer.text) for turn in answers if not (turn.prompt.ask.topic or turn.prompt.ask.manner)]
    for name in (*base_lexicon().topics, *base_lexicon().manners):
        assert sum(name in verdict.shows for verdict in free) <= 0.12 * len(free)


def test_prompts_of_a_kind_are_distinct() -> None:
    texts = [prompt.text for prompt in islice(prompts(0, "both"), 300)]
    assert len(set(texts)) == 300


def test_messages_alternate() -> None:
    for conversation in islice(conversations(5), 50):
        roles = [message["role"] for message in messages(conversation) if message["role"] != "system"]
        assert roles == ["user", "assistant"] * len(conversation.turns)


def test_a_world_in_which_words_moved_is_not_read() -> None:
    football = spare_words()["football"]
    assert isinstance(football, Field)
    lexicon = base_lexicon().with_words({"football": football}, {})
    stream = conversations(0, grammar=Grammar(lexicon))
    turns = [turn for each in islice(stream, 400) for turn in each.turns if turn.prompt.ask.topic == "football"]
    assert turns
    assert not any("football" in recognize(turn.answer.text).shows for turn in turns)
