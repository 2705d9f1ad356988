"""An embedder of the package `sentence-transformers`, by the model's name or folder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurehub.embedding.embedder import unit
from featurehub.errors import InvalidConfig

__all__ = ["SentenceEmbedder"]


class SentenceEmbedder:
    """A model of sentence-transformers.

    Attributes:
        identity: ``sentence-transformers:<name>``.
        dimensions: As the model says.

    Args:
        name: Name or folder of the model. Its weights must be safetensors; no code of its repository is run.

    Raises:
        InvalidConfig: The package is not installed, or it cannot load the model.
    """

    def __init__(self, name: str) -> None:
        self.identity = f"sentence-transformers:{name}"
        self._model = _load(name)
        self.dimensions = int(self._model.get_sentence_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder.embed``."""
        return unit(np.asarray(self._model.encode(list(texts), show_progress_bar=False), np.float32))


def _load(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InvalidConfig(
            "embedders by name need sentence-transformers: `pip install sentence-transformers`, or choose `minilm`",
            param="embedder",
        ) from error
    try:
        return SentenceTransformer(name, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, ImportError) as error:
        raise InvalidConfig(f"sentence-transformers cannot load {name!r}: {error}", param="embedder") from error
