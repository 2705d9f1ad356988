"""What a GGUF file says of its model, read without its numbers, and which of it nobody here can carry over.

A file begins with ``GGUF``, its version, the number of tensors and that of the metadata's entries; the entries and a
table of the tensors follow. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple, Self

from featurehub.errors import InvalidInput, UnsupportedModel

__all__ = ["Header", "Vocabulary"]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Struct's letters of the types of one value; the others are strings and arrays."""
STRING, ARRAY = 8, 9
ROPE_TENSORS = ("rope_freqs.", "rope_factors_")
ROPE_SCALING = ".rope.scaling.type"
NO_SCALING = ("", "none")


class Vocabulary(NamedTuple):
    """The tokenizer as the file describes it.

    Attributes:
        kind: ``gpt2`` for byte-level BPE, ``llama`` for SentencePiece, and others.
        split: Name of the rule that splits a text into words before pairs are merged; "" if the file names none.
        tokens: The token of every id.
        bos_first: Whether a text begins with the token ``bos``; None if the file does not say.
        bos: Id of the token at a text's beginning; None if there is none.
        ends: Ids of the tokens that end an answer.
        pad: Id of the token that fills up batches; None if there is none.
    """

    kind: str
    split: str
    tokens: list[str]
    bos_first: bool | None
    bos: int | None
    ends: tuple[int, ...]
    pad: int | None

    @classmethod
    def of(cls, said: dict[str, Any]) -> Self:
        """What the metadata says of it."""
        own = {key.removeprefix("tokenizer.ggml."): value for key, value in said.items()}
        return cls(
            kind=own["model"],
            split=own.get("pre", ""),
            tokens=own["tokens"],
            bos_first=own.get("add_bos_token"),
            bos=own.get("bos_token_id"),
            ends=tuple(dict.fromkeys(own[key] for key in ("eos_token_id", "eot_token_id") if key in own)),
            pad=own.get("padding_token_id"),
        )


class Header(NamedTuple):
    """What a GGUF file says of its model.

    Attributes:
        file: The file.
        architecture: The model's in llama.cpp, such as ``llama``.
        vocabulary: The tokenizer.
    """

    file: Path
    architecture: str
    vocabulary: Vocabulary

    @classmethod
    def of(cls, file: Path) -> Self:
        """Reads the header of a file.

        Raises:
            InvalidInput: It is not a GGUF file, is damaged, or holds only a part of a model.
            UnsupportedModel: Its positions are scaled in a way that would be lost.
        """
        said, tensors = read(file)
        if said.get("general.type", "model") != "model" or said.get("split.count", 1) > 1:
            raise InvalidInput(f"{file} holds only a part of a model; give one GGUF file with all of it", param="file")
        check_positions(file, said, tensors)
        try:
            return cls(file, said["general.architecture"], Vocabulary.of(said))
        except KeyError as error:
            raise InvalidInput(f"{file} does not name its {error}: it holds no language model", param="file") from None


def check_positions(file: Path, said: dict[str, Any], tensors: list[str]) -> None:
    """transformers does not read these, and the model would be another one in silence."""
    scaled = [name for name in tensors if name.startswith(ROPE_TENSORS)]
    scaled += [key for key, value in said.items() if key.endswith(ROPE_SCALING) and value not in NO_SCALING]
    if scaled:
        raise UnsupportedModel(
            f"{file} scales its positions ({scaled[0]}), which cannot be carried over; take the model's safetensors, "
            "such as OWNER/NAME of the Hugging Face hub",
            param="file",
        )


def read(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The metadata by key, and the names of the tensors."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return Cursor(data).header()
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(f"{file} is not a whole GGUF file ({error}); fetch it again", param="file") from None


class Cursor:
    """Reads a file's header from its beginning. Whatever lies beyond the end raises an error of struct."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def header(self) -> tuple[dict[str, Any], list[str]]:
        """The metadata by key, and the names of the tensors."""
        if self._data[: len(MAGIC)] != MAGIC:
            raise ValueError(f"it does not begin with {MAGIC.decode()}")
        self._at = len(MAGIC)
        version, tensors, entries = self.numbers("IQQ")
        if version not in VERSIONS:
            raise ValueError(f"version {version}; {' and '.join(map(str, VERSIONS))} are read")
        said = {self.string(): self.value(self.number("I")) for _ in range(entries)}
        return said, [self.tensor() for _ in range(tensors)]

    def numbers(self, letters: str) -> tuple[Any, ...]:
        """Numbers of these types."""
        found = struct.unpack_from(f"<{letters}", self._data, self._at)
        self._at += struct.calcsize(f"<{letters}")
        return found

    def number(self, letter: str) -> Any:
        """One number."""
        return self.numbers(letter)[0]

    def string(self) -> str:
        """A length and as many bytes of UTF-8."""
        return self.number(f"{self.number('Q')}s").decode()

    def value(self, kind: int) -> Any:
        """A value of the metadata."""
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.number(letter_of(kind))
        kind, length = self.numbers("IQ")
        if kind == STRING:
            return [self.string() for _ in range(length)]
        return list(self.numbers(f"{length}{letter_of(kind)}"))

    def tensor(self) -> str:
        """The name of a tensor; its shape, type and place are passed over."""
        name = self.string()
        self.numbers(f"{self.number('I')}QIQ")
        return name


def letter_of(kind: int) -> str:
    if kind not in NUMBERS:
        raise ValueError(f"its metadata has a value of the unknown type {kind}")
    return NUMBERS[kind]
