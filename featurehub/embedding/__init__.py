"""Texts as vectors: texts of like meaning point in like directions, whatever their words.

    embedder = open_embedder("minilm")                  # neither key nor network
    vectors = embedder.embed(["a label", "a query"])    # one row per text, of length 1

``Embedder`` is the seam, and ``open_embedder`` says which ones there are. Only the modules that run a model import
torch, and only when one is opened.

May import errors, settings and store; never vllm or a spoke. Start with ``embedder``.
"""

from featurehub.embedding.embedder import Embedder, FakeEmbedder
from featurehub.embedding.opening import chosen_embedder, open_embedder

__all__ = ["Embedder", "FakeEmbedder", "chosen_embedder", "open_embedder"]
