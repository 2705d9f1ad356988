"""What a chat template adds is found in documents, whatever their messages say."""

import copy
from typing import Any

import numpy as np
import pytest

from featurehub.template import TemplateTokens
from featurehub.token_ids import special_ids
from saes.documents import tokenize

TURN = "{{ bos_token }}{{ message['role'] }} is {{ message['content'] }}"
SYSTEM = "{% if messages[0]['role'] != 'system' %}{{ bos_token }}good day to you{% endif %}"
CHAT = [
    {"role": "user", "content": "tell me about banking"},
    {"role": "assistant", "content": "the user is good day to you"},
]


@pytest.fixture
def wordy(tokenizer: Any) -> Any:
    own = copy.deepcopy(tokenizer)
    own.chat_template = f"{SYSTEM}{{% for message in messages %}}{TURN}{{% endfor %}}"
    return own


def hidden(tokenizer: Any, chat: list[dict[str, str]]) -> list[str]:
    """The text of the tokens that are the template's."""
    special = special_ids(tokenizer)
    [document] = tokenize(tokenizer, [chat], 100).documents
    mask = TemplateTokens.of(tokenizer, special).mask(document.token_ids)
    return tokenizer.convert_ids_to_tokens([token for token, own in zip(document.token_ids, mask, strict=True) if own])


def test_roles_and_the_default_system_prompt_are_the_template_s(wordy: Any) -> None:
    words = wordy.convert_ids_to_tokens(wordy("user is assistant is", add_special_tokens=False)["input_ids"])
    assert hidden(wordy, CHAT) == ["good", "day", "to", "you", *words]


def test_a_system_message_of_the_chat_is_not(wordy: Any) -> None:
    chat = [{"role": "system", "content": "say it like a pirate"}, *CHAT]
    assert "pirate" not in hidden(wordy, chat)


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no') }}"])
def test_without_a_template_that_takes_a_chat_nothing_is(tokenizer: Any, template: str | None) -> None:
    own = copy.deepcopy(tokenizer)
    own.chat_template = template
    found = TemplateTokens.of(own, special_ids(own))
    assert found.runs == ()
    assert not np.any(found.mask(own("the loan is good")["input_ids"]))
