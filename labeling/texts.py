"""Texts that are given as pieces, on disk: as Python strings, pieces take ten times the memory of their text."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np

from featurehub.scratch import ScratchArray

__all__ = ["PackedTexts"]


class PackedText(Sequence[str]):
    """The pieces of one text.

    Args:
        text: The UTF-8 of all texts.
        ends: Where each piece begins in it, and where the last one ends.
        begin: The first piece of this text.
        end: The piece after its last.
    """

    __slots__ = ("_begin", "_end", "_ends", "_text")

    def __init__(self, text: np.ndarray, ends: np.ndarray, begin: int, end: int) -> None:
        self._text, self._ends, self._begin, self._end = text, ends, begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def __iter__(self) -> Iterator[str]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        at = range(self._begin, self._end)[index]
        if isinstance(at, int):
            return self._read(range(at, at + 1))[0]
        return self._read(at) if at.step == 1 else [self[each - self._begin] for each in at]

    def _read(self, pieces: range) -> list[str]:
        if not pieces:
            return []
        ends = self._ends[pieces.start : pieces.stop + 1].tolist()
        text = self._text[ends[0] : ends[-1]].tobytes()
        return [text[start - ends[0] : stop - ends[0]].decode() for start, stop in pairwise(ends)]


class PackedTexts(Sequence[Sequence[str]]):
    """Texts on disk. They take the bytes of their UTF-8, and 8 more for each piece.

    Args:
        texts: The pieces of each text; they are taken one by one.
    """

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        written, ends = ScratchArray(np.uint8), ScratchArray(np.int64)
        ends.add(np.zeros(1, np.int64))
        self._offsets = array("q", [0])
        for pieces in texts:
            encoded = [piece.encode() for piece in pieces]
            ends.add(written.size + np.cumsum([len(each) for each in encoded], dtype=np.int64))
            written.add(np.frombuffer(b"".join(encoded), np.uint8))
            self._offsets.append(self._offsets[-1] + len(encoded))
        self._text, self._ends = written.mapped(), ends.mapped()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Sequence[str]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[str]]: ...
    def __getitem__(self, index: int | slice) -> Sequence[str] | Sequence[Sequence[str]]:
        at = range(len(self))[index]
        return [self._at(each) for each in at] if isinstance(at, range) else self._at(at)

    def _at(self, text: int) -> PackedText:
        return PackedText(self._text, self._ends, self._offsets[text], self._offsets[text + 1])
