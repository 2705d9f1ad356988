"""The tokenizer keeps every word of the world, and decoded text is read as the text was."""

from itertools import islice
from pathlib import Path

import pytest
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

from featurehub.demo.batches import encode_conversation
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.recognizer import recognize
from featurehub.demo.tokenizer import UNK, build_tokenizer, save_tokenizer, vocabulary


def test_generated_text_survives_the_round_trip() -> None:
    tokenizer = build_tokenizer()
    for conversation in islice(conversations(11), 200):
        for turn in conversation.turns:
            encoded = tokenizer.encode(turn.answer.text)
            assert UNK not in encoded.tokens
            assert UNK not in tokenizer.encode(turn.prompt.text).tokens
            assert tokenizer.decode(encoded.ids) == turn.answer.text
            assert recognize(tokenizer.decode(encoded.ids)) == recognize(turn.answer.text)


def test_the_vocabulary_has_no_token_twice() -> None:
    assert len(set(vocabulary())) == len(vocabulary())


def test_transformers_loads_it_and_renders_chats_as_training_does(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for conversation in islice(conversations(12), 40):
        ids, labels = encode_conversation(conversation, build_tokenizer())
        rendered = loaded.apply_chat_template(messages(conversation), tokenize=True, return_dict=True)["input_ids"]
        assert rendered == ids
        assert [i for i in labels if i >= 0][-1] == loaded.eos_token_id
    prompt = [{"role": "user", "content": "hello"}]
    text = loaded.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|user|>hello<|assistant|>"


def test_an_unknown_role_is_refused(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    with pytest.raises(TemplateError, match="roles"):
        AutoTokenizer.from_pretrained(tmp_path).apply_chat_template([{"role": "wizard", "content": "x"}], tokenize=True)
