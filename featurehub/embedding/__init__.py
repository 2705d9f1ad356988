"""Texts as vectors: texts of like meaning point in like directions, whatever their words.

    embedder = open_embedder("minilm")                  # neither key nor network
    vectors = embedder.embed(["a label", "a query"])    # one row per text, of length 1

``Embedder`` is the seam, ``open_embedder`` says which ones there are, and ``QueryEmbedder`` is what a server or a
command embeds its queries with. Only the modules that run a model import torch, and only when one is opened.

May import errors, settings and store; never vllm or a spoke. Start with ``embedder``.
"""

from featurehub.embedding.embedder import Embedder, FakeEmbedder
from featurehub.embedding.opening import DEFAULT, EMBEDDER, chosen_embedder, open_embedder
from featurehub.embedding.query import QueryEmbedder

__all__ = ["DEFAULT", "EMBEDDER", "Embedder", "FakeEmbedder", "QueryEmbedder", "chosen_embedder", "open_embedder"]
