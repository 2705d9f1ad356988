"""Which embedders there are, and how one is chosen."""

import os

from featurehub.embedding.embedder import Embedder
from featurehub.errors import InvalidConfig

__all__ = ["DEFAULT", "EMBEDDER", "NONE", "chosen_embedder", "open_embedder"]

EMBEDDER = "FEATUREHUB_EMBEDDER"
"""The environment variable that chooses the embedder of a server and of the commands."""
DEFAULT = "minilm"
NONE = "none"
SENTENCES = "sentence-transformers:"


def open_embedder(name: str) -> Embedder:
    """Opens an embedder.

    Args:
        name: ``minilm``; ``sentence-transformers:`` and the name of one of its models; ``http://host:port/v1#model``
            for an OpenAI-compatible endpoint; or an embedder's identity.

    Raises:
        InvalidConfig: There is no such embedder, or what it needs is not installed.
        EmbedderUnavailable: The endpoint does not answer.
    """
    if name == DEFAULT or name.startswith(f"{DEFAULT}:"):
        return _minilm(name)
    if name.startswith(SENTENCES) and (model := name.removeprefix(SENTENCES)):
        from featurehub.embedding.sentences import SentenceEmbedder

        return SentenceEmbedder(model)
    if name.startswith(("http://", "https://")):
        from featurehub.embedding.endpoint import EndpointEmbedder

        return EndpointEmbedder(name)
    raise InvalidConfig(
        f"there is no embedder {name!r}; give {DEFAULT}, {SENTENCES}<model>, or http://host:port/v1#model",
        param="embedder",
    )


def chosen_embedder() -> Embedder | None:
    """The embedder that ``$FEATUREHUB_EMBEDDER`` chooses, by default ``minilm``.

    Returns:
        The embedder; None for ``none``, and where nothing is chosen and the default's package is not installed.

    Raises:
        InvalidConfig: The chosen one cannot be opened.
        EmbedderUnavailable: The endpoint does not answer.
    """
    name = os.environ.get(EMBEDDER, "")
    if name == NONE:
        return None
    if name:
        return open_embedder(name)
    try:
        return open_embedder(DEFAULT)
    except InvalidConfig:
        return None


def _minilm(name: str) -> Embedder:
    try:
        from featurehub.embedding.minilm import MiniLM
    except ImportError as error:
        raise InvalidConfig(f"the embedder {DEFAULT} needs {error.name}: install featurehub[train]") from error
    embedder = MiniLM()
    if name not in (DEFAULT, embedder.identity):
        raise InvalidConfig(f"the embedder {name!r} is not installed; {embedder.identity!r} is", param="embedder")
    return embedder
