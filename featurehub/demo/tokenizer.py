"""The bundled model's tokenizer: one token per word or punctuation mark, as plain Hugging Face files.

``AutoTokenizer`` and vLLM load it without any code of ours. Text is lower-cased; a word that is not in the demo's world
becomes ``<unk>``. Decoding puts the spaces back, so that the recogniser reads the text as it was.
"""

import json
from functools import cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from featurehub.demo.grammar import base_grammar, words_of
from featurehub.demo.lexicon import base_lexicon, spare_words
from featurehub.demo.prompts import prompt_words

__all__ = ["BOS", "EOS", "SPECIAL", "UNK", "build_tokenizer", "save_tokenizer", "token_id", "vocabulary"]

BOS, EOS, UNK = "<s>", "</s>", "<unk>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (UNK, BOS, EOS, SYSTEM, USER, ASSISTANT)
"""All special tokens, in the order of their ids, from 0."""
MARKS = (".", ",", "!", "?", ":")
WORD_LIMIT = 512

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('the demo model knows the roles system, user and assistant') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@cache
def vocabulary() -> tuple[str, ...]:
    """All tokens in the order of their ids: special tokens, marks, then words in alphabetical order."""
    words = {word for word in _corpus_words() | prompt_words() if word not in MARKS}
    return (*SPECIAL, *MARKS, *sorted(words))


def build_tokenizer() -> Tokenizer:
    """Builds the tokenizer from the demo's word lists alone; it is the same every time."""
    vocab = {token: index for index, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[^\w\s]"), "isolated")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(" :", ":")])
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must be in the vocabulary.

    Raises:
        KeyError: It is not.
    """
    index = tokenizer.token_to_id(token)
    if index is None:
        raise KeyError(token)
    return index


def save_tokenizer(folder: Path) -> None:
    """Writes ``tokenizer.json`` and ``tokenizer_config.json`` into an existing folder."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNK,
        "pad_token": EOS,
        "clean_up_tokenization_spaces": False,
        "model_max_length": WORD_LIMIT,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _corpus_words() -> set[str]:
    lexicon, grammar = base_lexicon(), base_grammar()
    words = {*lexicon.fields, *lexicon.manners, *lexicon.traits}
    words |= {word for pattern in grammar.patterns for word in pattern.items if not word.startswith("<")}
    words |= {word for options in grammar.options.values() for option in options for word in option.words}
    for entry in spare_words().values():
        words |= {word for texts in entry.words.values() for text in texts for word in words_of(text)}
    return words
