"""What contenders share: the shape of the model, what a batch asks for, and what they do."""

from pathlib import Path
from typing import NamedTuple, Protocol

CROWD = 256
VOCABULARY = 8192
PROMPT, TOKENS, CONTEXT = 32, 16, 256
"""Of a request: tokens of its prompt, tokens that it generates unless a batch asks for others, and the most of both."""


class Asked(NamedTuple):
    """Of every request of a batch. distinct: whether each has edits of its own;  top_k: latents read per token;
    tokens: to generate;  greedy: whether each is the most probable, so that the same request has the same answer"""

    batch: int
    edits: int = 0
    distinct: bool = False
    top_k: int = 0
    tokens: int = TOKENS
    greedy: bool = False


class Load(Protocol):
    """Makes a contender in its process."""

    def __call__(self, shape: "Shape", folder: Path, compiled: bool) -> "Contender": ...


class Shape(NamedTuple):
    """layers, hidden_size, heads, kv_heads, intermediate_size: a Llama;  layer: with the hook;  d_sae: its latents"""

    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    intermediate_size: int
    layer: int
    d_sae: int
    dtype: str

    def __str__(self) -> str:
        return (
            f"{self.layers} layers of {self.hidden_size}, {self.d_sae} latents after layer {self.layer}, {self.dtype}"
        )

    def save(self, folder: Path, weights: bool = False, vocabulary: int = VOCABULARY) -> None:
        """The model's config, and its weights unless each contender shall draw its own; and an SAE."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        from featurehub.dictionary import Dictionary

        config = LlamaConfig(
            hidden_size=self.hidden_size, num_hidden_layers=self.layers, num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads, intermediate_size=self.intermediate_size, vocab_size=vocabulary,
            max_position_embeddings=2048, architectures=["LlamaForCausalLM"], dtype=self.dtype,
        )  # fmt: skip
        (LlamaForCausalLM(config).to(getattr(torch, self.dtype)) if weights else config).save_pretrained(
            folder / "model"
        )
        rows = torch.nn.functional.normalize(torch.randn(self.d_sae, self.hidden_size), dim=-1)
        zeros = torch.zeros(self.d_sae)
        Dictionary(rows, rows, zeros, torch.zeros(self.hidden_size), zeros).save(folder / "sae.safetensors")


SHAPES = {
    "demo": Shape(6, 192, 6, 6, 512, 3, 768, "float32"),
    "wide": Shape(30, 576, 9, 3, 1536, 15, 8 * 576, "bfloat16"),
    "1b": Shape(16, 2048, 32, 8, 8192, 8, 32768, "bfloat16"),
    "8b": Shape(32, 4096, 32, 8, 14336, 16, 65536, "bfloat16"),
}


class Contender(Protocol):
    def __call__(self, asked: Asked) -> int | list[list[int]]:
        """Answers a whole batch: the tokens that it generated for each request, or how many it read."""
        ...
