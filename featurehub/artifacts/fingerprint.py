"""The fingerprint of a checkpoint: which function do these weights compute, up to the hook point and as a whole?

1. Every tensor that an engine loads from the folder is hashed (``tensors``).
2. ``reads`` combines the tensors that the stream at the hook point depends on: those of layers 0 … hook layer and
   those before the first layer (embeddings, and whatever makes tokens of images and sounds). Later layers, the final
   norm, unless the hook point is behind it, and the unembedding leave it unchanged.
3. ``whole`` combines all tensors.
4. Configuration, tokenizer and chat template have hashes of their own (``checkpoint``).
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featurehub.artifacts.checkpoint import (
    chat_template_hash,
    config_hash,
    dtype_in,
    read_config,
    text_part,
    tokenization_hash,
)
from featurehub.artifacts.files import sha256
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.artifacts.origin import origin_of
from featurehub.artifacts.parts import reads_hook
from featurehub.artifacts.tensors import TensorHash, tensor_hashes
from featurehub.errors import InvalidInput

__all__ = ["combine", "identify", "layers_in", "width_at"]

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_NEURONS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")


def identify(folder: Path, hook: HookPoint) -> ModelIdentity:
    """The identity of a Hugging Face checkpoint, as seen from a hook point.

    Args:
        folder: The checkpoint.
        hook: The hook point, up to which ``reads`` covers the weights.

    Raises:
        ModelNotFound: There is no such checkpoint.
        InvalidInput: It cannot be read, or has no such layer.
    """
    config = read_config(folder)
    dtype = dtype_in(config)
    hashes = tensor_hashes(folder, dtype)
    layers = layers_in(config)
    if hook.layer >= layers:
        raise InvalidInput(f"hook layer {hook.layer}: {folder} has layers 0 to {layers - 1}", param="layer")
    origin = origin_of(folder)
    return ModelIdentity(
        name=origin.name,
        architecture=(config.get("architectures") or ["unknown"])[0],
        d_model=width_in(config),
        layers=layers,
        dtype=dtype,
        reads=combine(entry for entry in hashes if reads_hook(entry.name, hook)),
        whole=combine(hashes),
        tokenizer=combine(TensorHash(p.name, sha256(p)) for n in _TOKENIZER_FILES if (p := folder / n).is_file()),
        tokenization=tokenization_hash(folder),
        chat_template=chat_template_hash(folder),
        config=config_hash(folder),
        revision=origin.revision,
    )


def layers_in(config: Mapping[str, Any]) -> int:
    """Number of layers that write text, as a checkpoint's configuration says; 0 if it does not."""
    _, text = text_part(config)
    return int(text.get("num_hidden_layers") or text.get("n_layer") or 0)


def width_in(config: Mapping[str, Any]) -> int:
    """d_model, as a checkpoint's configuration says; 0 if it does not."""
    _, text = text_part(config)
    return int(text.get("hidden_size") or text.get("n_embd") or 0)


def width_at(folder: Path, hook: HookPoint) -> int:
    """Numbers of a token at a hook point, as a checkpoint's configuration says: d_model, but at z the number of heads
    times their size, at mlp_act that of neurons, and at router that of experts. An engine, which has the weights,
    refuses an SAE of another width.

    Raises:
        ModelNotFound: There is no such checkpoint.
        InvalidInput: It cannot be read.
    """
    config = read_config(folder)
    width, (_, text) = width_in(config), text_part(config)
    own = at_layer(text, hook.layer)
    match hook.site:
        case Site.Z:
            heads = int(own.get("num_attention_heads") or own.get("n_head") or 1)
            return heads * int(own.get("v_head_dim") or own.get("head_dim") or width // heads)
        case Site.ROUTER:
            return int(next((own[name] for name in _EXPERTS if own.get(name)), 0))
        case Site.MLP_ACT:
            neurons = int(next((own[name] for name in _NEURONS if own.get(name)), 4 * width))
            return 2 * neurons if is_double_wide(text, hook.layer) else neurons
        case _:
            return width


def at_layer(text: Mapping[str, Any], layer: int) -> Mapping[str, Any]:
    """A text configuration with what it says of one layer in the place of what it says of all: ``per_layer_config``,
    lists, and in Gemma 4 another head size in the layers that see all tokens."""
    lists = {name: each[layer] for name, each in text.items() if isinstance(each, list) and layer < len(each)}
    own = {name.removesuffix("_per_layer"): each for name, each in lists.items()}
    if own.get("layer_types") == "full_attention" and text.get("global_head_dim"):
        own["head_dim"] = text["global_head_dim"]
    return {**text, **own, **(text.get("per_layer_config") or {}).get(str(layer), {})}


def is_double_wide(text: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer has twice the neurons: in some of Gemma 4's models, those that share the KV cache of others."""
    shared = int(text.get("num_kv_shared_layers") or 0)
    return bool(text.get("use_double_wide_mlp")) and 0 < int(text["num_hidden_layers"]) - shared <= layer


def combine(hashes: Iterable[TensorHash]) -> str:
    """One hash over the names and hashes of tensors, in their order."""
    result = hashlib.sha256()
    for entry in hashes:
        result.update(f"{entry.name}:{entry.digest}\n".encode())
    return result.hexdigest()
