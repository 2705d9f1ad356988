"""``Embedder``: texts in, unit vectors out; and its fake."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featurehub.names import words_of

__all__ = ["Embedder", "FakeEmbedder", "unit"]

TINY = 1e-12


class Embedder(Protocol):
    """Turns texts into vectors.

    Attributes:
        identity: What vectors can be compared by: those of another identity mean something else. Opens the same
            embedder again (``open_embedder``).
        dimensions: Length of each vector.
    """

    @property
    def identity(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts.

        Returns:
            ``[texts, dimensions]``, each row of length 1 (of length 0 where a text has no direction).

        Raises:
            EmbedderUnavailable: The model cannot be asked now.
        """
        ...


class FakeEmbedder:
    """An embedder for tests: texts are alike where they share words, or words that are given as synonyms.

    Args:
        synonyms: Words by the word that they stand for.
        identity: Its identity.
        dimensions: Length of its vectors.
    """

    def __init__(self, synonyms: dict[str, str] | None = None, identity: str = "fake", dimensions: int = 64) -> None:
        self.identity = identity
        self.dimensions = dimensions
        self._synonyms = synonyms or {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The mean of the words' vectors, which are random, and the same everywhere."""
        rows = [sum(map(self._word, words_of(text)), np.zeros(self.dimensions)) for text in texts]
        return unit(np.array(rows, np.float32).reshape(len(texts), self.dimensions))

    def _word(self, word: str) -> NDArray[np.float64]:
        meant = self._synonyms.get(word, word)
        seed = int.from_bytes(hashlib.sha256(meant.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors ``[texts, dimensions]`` at length 1; those of length 0 stay so."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY).astype(np.float32)
