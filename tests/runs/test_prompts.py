"""How texts begin, as prompts: by the tokenizer's own tokens, whatever the script, and never empty."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from featurehub.demo.bundle import bundled_model
from featurehub.errors import InvalidInput, ModelNotFound
from featurehub.runs.prompts import beginnings
from featurehub.token_ids import prompt_ids

USER = {"role": "user", "content": "tell me about banking ."}
SYSTEM = {"role": "system", "content": "be kind ."}
ANSWER = {"role": "assistant", "content": "the loan is good ."}


@pytest.fixture
def bytewise(tmp_path: Path) -> Path:
    """A model whose tokens are bytes: three of them for each Han character, and none before a text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    shutil.copy(bundled_model() / "config.json", tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    return tmp_path


def ids(model: Path, prompts: list[Any]) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    return [prompt_ids(tokenizer, prompt) for prompt in prompts]


def test_texts_are_cut_by_tokens_and_not_by_spaces(bytewise: Path) -> None:
    prompts = beginnings(bytewise, ["文" * 3000, "银行贷款", "the loan is good .", "the"])
    assert prompts == ["文文", "银行", "the lo", "the"]
    assert max(map(len, ids(bytewise, prompts))) == 6
    # A character is never cut in two, though its bytes are tokens.
    assert beginnings(bytewise, ["a银行贷款"]) == ["a银行"]


def test_a_text_that_the_tokenizer_knows_as_one_word_is_short_too() -> None:
    [prompt] = beginnings(bundled_model(), ["文" * 3000])
    assert 0 < len(ids(bundled_model(), [prompt])[0]) < 10


@pytest.mark.parametrize("chat", [[USER], [USER, ANSWER], [USER, ANSWER, USER, ANSWER]])
def test_a_chat_goes_as_far_as_its_first_question(chat: list[dict[str, str]]) -> None:
    assert beginnings(bundled_model(), [chat]) == [[USER]]
    assert beginnings(bundled_model(), [[SYSTEM, *chat]]) == [[SYSTEM, USER]]


def test_what_is_no_prompt_is_passed_over() -> None:
    """As in WikiText, whose first row is empty; a system prompt alone asks nothing."""
    wizard = {"role": "wizard", "content": "abracadabra"}
    image = {"role": "user", "content": [{"type": "image"}]}
    useless: list[Any] = [
        "",
        " \n",
        [SYSTEM],
        [SYSTEM, ANSWER],
        [wizard, USER],
        [image],
        [{**USER, "content": ""}],
        "\ud83d",
    ]
    assert beginnings(bundled_model(), [*useless, "the loan is good and the bank is bad ."]) == [
        "the loan is good and the"
    ]
    with pytest.raises(InvalidInput, match="none of 8 texts begins with a prompt: the model's chat template does not"):
        beginnings(bundled_model(), useless)
    with pytest.raises(InvalidInput, match="none of 2 texts begins with a prompt: they are empty, or chats without"):
        beginnings(bundled_model(), ["", [SYSTEM]])


def test_long_messages_leave_room_for_an_answer() -> None:
    """A document in a question, or a page of system prompt, is longer than what a small model reads."""
    long = "the loan is good and " * 400
    [prompt] = beginnings(bundled_model(), [[{**SYSTEM, "content": long}, {**USER, "content": long}, ANSWER]])
    assert [message["role"] for message in prompt] == ["system", "user"]
    assert 2 * 64 <= len(ids(bundled_model(), [prompt])[0]) <= 2 * 64 + 8


def test_prompts_are_taken_from_the_whole_text() -> None:
    entries = ["" if i % 2 else f"the number {i} is good ." for i in range(1000)]
    prompts = beginnings(bundled_model(), entries)
    assert 12 <= len(prompts) <= 23
    assert {prompts[0], prompts[-1]} <= {entry[: len(prompts[0]) + 4].removesuffix(" .") for entry in entries} | set(
        entries
    )
    assert all(ids(bundled_model(), list(prompts)))


def test_chats_for_a_model_without_a_template_are_refused_before_anything_is_started(bytewise: Path) -> None:
    with pytest.raises(InvalidInput, match="this model has no chat template; give texts"):
        beginnings(bytewise, [[USER, ANSWER]] * 20)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no model in"):
        beginnings(tmp_path / "nowhere", ["the"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="the tokenizer in"):
        beginnings(tmp_path, ["the"])
