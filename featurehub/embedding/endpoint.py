"""An embedder behind an OpenAI-compatible ``/v1/embeddings``."""

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from openai import OpenAI, OpenAIError

from featurehub.embedding.embedder import unit
from featurehub.errors import EmbedderUnavailable, InvalidConfig

__all__ = ["KEY", "EndpointEmbedder"]

KEY = "FEATUREHUB_EMBEDDER_KEY"
"""The environment variable with the endpoint's key. ``$OPENAI_API_KEY`` is never sent to it."""
NO_KEY = "none"
BATCH = 128
TIMEOUT = 60.0
DIMENSIONS = 4096
"""Longest vector that is accepted."""


class EndpointEmbedder:
    """A model behind ``/v1/embeddings``.

    Attributes:
        identity: ``<url>#<model>``.
        dimensions: As the endpoint's first answer has it.

    Args:
        address: ``<url>#<model>``, the URL up to ``/v1``.
        client: Asks the endpoint; None makes one.

    Raises:
        InvalidConfig: The address has no model, or a user or password in it.
        EmbedderUnavailable: The endpoint does not answer, or not as one of embeddings.
    """

    def __init__(self, address: str, client: OpenAI | None = None) -> None:
        url, _, self._model = address.partition("#")
        parts = urlsplit(url)
        if not self._model or not parts.hostname:
            raise InvalidConfig(f"{address!r} names no model; write http://host:port/v1#model", param="embedder")
        if parts.username or parts.password:
            raise InvalidConfig(f"the address of an embedder is stored: give its key in ${KEY}", param="embedder")
        self.identity = address
        self._client = client or OpenAI(base_url=url, api_key=os.environ.get(KEY) or NO_KEY, timeout=TIMEOUT)
        self.dimensions = self._ask(["dimensions"]).shape[1]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder.embed``."""
        asked = [self._ask(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        vectors = np.concatenate([np.empty((0, self.dimensions), np.float32), *asked])
        return unit(vectors)

    def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # An endpoint may refuse an empty text, which has no direction anyway.
        inputs = [text if text.strip() else "-" for text in texts]
        try:
            answer = self._client.embeddings.create(model=self._model, input=inputs, encoding_format="float")
            rows = sorted(answer.data, key=lambda each: each.index)
            vectors = np.array([each.embedding for each in rows], np.float32)
        except (OpenAIError, ValueError, TypeError, AttributeError) as error:
            raise EmbedderUnavailable(f"{self.identity} gives no embeddings: {error}") from error
        self._check(vectors, len(texts))
        return vectors

    def _check(self, vectors: NDArray[np.float32], texts: int) -> None:
        expected = getattr(self, "dimensions", None)
        if vectors.ndim != 2 or len(vectors) != texts or not 1 <= vectors.shape[1] <= DIMENSIONS:
            raise EmbedderUnavailable(
                f"{self.identity} answered {texts} texts with an array of {vectors.shape}, not one vector of "
                f"1..{DIMENSIONS} numbers for each"
            )
        if not np.isfinite(vectors).all() or expected not in (None, vectors.shape[1]):
            raise EmbedderUnavailable(f"{self.identity} answered with vectors that are not finite or change length")
