"""Training batches: conversations as token ids, with labels for what the model must learn to say.

1. A conversation becomes ``<s> <|user|> prompt <|assistant|> answer </s> ...``, as the chat template renders it.
2. Loss falls on the answers and on the ``</s>`` that ends each, not on what the user says.
3. In one conversation of ten, some of the user's words become ``<unk>``, so that the model tolerates unknown words.
4. Conversations are pooled and sorted by length, so that a batch of ``tokens`` positions is nearly free of padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from featurehub.demo.answers import Mix
from featurehub.demo.concepts import names as concept_names
from featurehub.demo.corpus import Conversation, conversations
from featurehub.demo.grammar import Grammar
from featurehub.demo.tokenizer import ASSISTANT, BOS, EOS, SPECIAL, SYSTEM, UNK, USER, build_tokenizer, token_id

__all__ = ["TokenBatch", "batches", "encode_conversation"]

IGNORED = -100
POOL = 256
BLURRED = 0.1
UNKNOWN = SPECIAL.index(UNK)

Row = tuple[list[int], list[int]]


@dataclass(frozen=True)
class TokenBatch:
    """A batch of conversations, one per row.

    Attributes:
        ids: Token ids, [rows, length]; short rows are padded on the right with ``</s>``.
        labels: The ids again where loss is computed, -100 elsewhere, [rows, length].
    """

    ids: Tensor
    labels: Tensor


def encode_conversation(conversation: Conversation, tokenizer: Tokenizer) -> Row:
    """The token ids of one conversation, and its labels: the ids again, or -100 where no loss is computed."""
    ids, labels = [token_id(tokenizer, BOS)], [IGNORED]

    def add(role: str, text: str, *, learn: bool) -> None:
        said = tokenizer.encode(text).ids + ([token_id(tokenizer, EOS)] if learn else [])
        ids.extend([token_id(tokenizer, role), *said])
        labels.extend([IGNORED, *(said if learn else [IGNORED] * len(said))])

    if conversation.system:
        add(SYSTEM, conversation.system, learn=False)
    for turn in conversation.turns:
        add(USER, turn.prompt.text, learn=False)
        add(ASSISTANT, turn.answer.text, learn=True)
    return ids, labels


def batches(seed: int, tokens: int, *, grammar: Grammar | None = None, mix: Mix | None = None) -> Iterator[TokenBatch]:
    """Makes training batches without end.

    Args:
        seed: The same seed gives the same batches.
        tokens: Most positions in a batch, padding included (more only for a single conversation that is longer).
        grammar: The world that answers; None for that of the bundled model.
        mix: How answers vary; None for the defaults.

    Yields:
        One batch after another.
    """
    tokenizer = build_tokenizer()
    stream = conversations(seed, grammar=grammar, mix=mix)
    order = Random(seed)
    names = frozenset(token_id(tokenizer, name) for name in concept_names())
    while True:
        rows = (_blurred(encode_conversation(each, tokenizer), names, order) for each in islice(stream, POOL))
        pool = sorted(rows, key=lambda row: len(row[0]))
        groups = list(_groups(pool, tokens))
        order.shuffle(groups)
        yield from (_padded(group, token_id(tokenizer, EOS)) for group in groups)


def _blurred(row: Row, names: frozenset[int], random: Random) -> Row:
    """Replaces some of the user's words by ``<unk>``, but never a concept's name: every request must stay readable."""
    ids, labels = row
    share = random.random() if random.random() < BLURRED else 0.0
    blurs = [label == IGNORED and i >= len(SPECIAL) and i not in names for i, label in zip(ids, labels, strict=True)]
    return [UNKNOWN if blur and random.random() < share else i for i, blur in zip(ids, blurs, strict=True)], labels


def _groups(rows: list[Row], tokens: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        if group and (len(group) + 1) * len(row[0]) > tokens:
            yield group
            group = []
        group.append(row)
    yield group


def _padded(rows: list[Row], pad: int) -> TokenBatch:
    length = max(len(ids) for ids, _ in rows)
    return TokenBatch(
        ids=torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in rows]),
        labels=torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in rows]),
    )
