"""Which tokens of a chat its template adds: names of roles, a default system prompt.

They stand in every chat, whatever it is about, so they say nothing of what a feature fires on.

1. A chat of three messages is rendered, and what stands around their contents is cut at the special tokens. Each run of
   ordinary tokens that is left there, such as ``user`` and a line break, is the template's.
2. In a document, a run belongs to the template if it follows a special token; of several, the longest counts.
"""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from featurehub.token_ids import RENDERING

__all__ = ["TemplateTokens"]

CONTENTS = ("First.", "Second.", "Third.")
ROLES = ("user", "assistant", "user")


class TemplateTokens(NamedTuple):
    """What a model's chat template adds to the contents of a chat.

    Attributes:
        runs: Token ids of each run, longest first.
        special: Ids of special tokens.
    """

    runs: tuple[tuple[int, ...], ...]
    special: Collection[int]

    @classmethod
    def of(cls, tokenizer: Any, special: Collection[int]) -> "TemplateTokens":
        """Finds the runs of a tokenizer's template; there are none without a template, or if it refuses the chat.

        Args:
            tokenizer: A tokenizer of transformers.
            special: Ids of its special tokens.
        """
        found = {run for text in around(tokenizer) for run in runs_of(tokenizer, text, special)}
        return cls(tuple(sorted(found, key=lambda run: (-len(run), run))), special)

    def mask(self, token_ids: Sequence[int]) -> np.ndarray:
        """Returns which tokens of a document are the template's, [tokens] bool; special tokens are not among them."""
        mask = np.zeros(len(token_ids), dtype=bool)
        for at, token in enumerate(token_ids):
            if token in self.special:
                following = tuple(token_ids[at + 1 : at + 1 + self.longest])
                run = next((run for run in self.runs if following[: len(run)] == run), ())
                mask[at + 1 : at + 1 + len(run)] = True
        return mask

    @property
    def longest(self) -> int:
        """Length of the longest run; 0 if there is none."""
        return len(self.runs[0]) if self.runs else 0


def around(tokenizer: Any) -> list[str]:
    """What the template writes before, between and after the contents of the chat of step 1."""
    if not tokenizer.chat_template:
        return []
    chat = [{"role": role, "content": content} for role, content in zip(ROLES, CONTENTS, strict=True)]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except RENDERING:
        return []
    parts = []
    for content in CONTENTS:
        before, _, text = text.partition(content)
        parts.append(before)
    return [*parts, text]


def runs_of(tokenizer: Any, text: str, special: Collection[int]) -> list[tuple[int, ...]]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [tuple(run) for is_special, run in groupby(ids, lambda token: token in special) if not is_special]
