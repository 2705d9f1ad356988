"""A checkpoint's final norm and unembedding, read from its safetensors without loading the model."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open

__all__ = ["Unembedding", "read_unembedding"]

_NORM = ("model.norm.weight", "transformer.ln_f.weight", "gpt_neox.final_layer_norm.weight")
_HEAD = ("lm_head.weight", "embed_out.weight", "model.embed_tokens.weight", "transformer.wte.weight")


class Unembedding(NamedTuple):
    """norm: [d_model];  weight: [vocab, d_model]; float32."""

    norm: np.ndarray
    weight: np.ndarray


def read_unembedding(folder: Path) -> Unembedding | None:
    """None where the checkpoint names its tensors in a way that is not known; labels then do without projection."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            found |= {n: file.get_tensor(n).to(torch.float32).numpy() for n in (*_NORM, *_HEAD) if n in names}
    norm = next((found[name] for name in _NORM if name in found), None)
    weight = next((found[name] for name in _HEAD if name in found), None)
    return Unembedding(norm, weight) if norm is not None and weight is not None else None
