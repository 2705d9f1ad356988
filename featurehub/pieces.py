"""The text that each token of a sequence adds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tokenizers.decoders import DecodeStream

__all__ = ["pieces", "vocabulary"]

# What a decoder writes for bytes that do not form a character yet.
UNFINISHED = "\ufffd"


def pieces(tokenizer: Any, token_ids: Sequence[int], special: bool = False) -> list[str]:
    """The text that each token adds; joined, the pieces are the whole text.

    A token that only begins a character adds nothing; the one that completes it adds the character.

    Args:
        tokenizer: A tokenizer of ``transformers`` or vLLM.
        token_ids: The tokens.
        special: Whether special tokens appear under their names; by default they add "".
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return list(grown(lambda ids: tokenizer.decode(ids, skip_special_tokens=not special), token_ids))
    stream = DecodeStream(skip_special_tokens=not special)
    return [stream.step(backend, token) or "" for token in token_ids]


def vocabulary(tokenizer: Any) -> list[str]:
    """The text of every token, by id, as it stands behind other text: " cook" for ``Ġcook`` and ``▁cook``.

    A token that is only a part of a character keeps its name, and so does a special one.

    Args:
        tokenizer: A tokenizer of ``transformers`` or vLLM.
    """
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    before = tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    return [pieces(tokenizer, [*before, token])[-1] or name for token, name in enumerate(names)]


def grown(decode: Callable[[list[int]], str], token_ids: Sequence[int]) -> Iterator[str]:
    """For tokenizers without a Rust backend: by how much the text of the last few tokens grows with each."""
    begin, done = 0, 0
    for end in range(1, len(token_ids) + 1):
        before, now = decode(list(token_ids[begin:done])), decode(list(token_ids[begin:end]))
        if now.endswith(UNFINISHED):
            yield ""
            continue
        yield now[len(before) :]
        # The window begins with a token that has text: a decoder may drop the space before its first.
        begin, done = (begin if now == before else done), end
