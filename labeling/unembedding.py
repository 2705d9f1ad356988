"""How a model reads its stream out: its final norm and its unembedding, from a checkpoint that is never loaded.

    logits(x) = W_U · norm(x)

1. The checkpoint's configuration names the architecture; its row in ``featurehub.families`` names the tensors and says
   what the norm does. A checkpoint of the base model alone has the same names without their first part.
2. Without a configuration the tensors' names decide. Llama and Gemma share theirs; a norm of nothing but zeros is then
   Gemma's, which stores its factor minus 1: as a factor itself it would silence the model.
3. Where embeddings have another width than the stream (some OPT models), the projection between them is part of W_U.

A cap on the logits (Gemma 2) is left out, since it does not change their order.

What an SAE writes inside a layer comes into the stream through an output projection: W_O · d from z, W_down · d from
mlp_act. Where an RMSNorm stands behind it (Gemma, OLMo 2), each number is multiplied by the norm's own factor, and all
of them by one that depends on the token. What is written at attn_in, mlp_in or router comes into the stream on no one
way: what attention, neurons and experts make of it depends on all else that they are given.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from featurehub.artifacts.checkpoint import text_part
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.artifacts.tensors import weight_files
from featurehub.errors import UnsupportedModel
from featurehub.families import FAMILIES, TEXT_TYPES, Family, Norm, family_of
from labeling.logit_lens import ReadOut

__all__ = ["FinalNorm", "Unembedding", "read_unembedding", "written_into"]

EPSILONS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps")


class FinalNorm(NamedTuple):
    """A model's final norm: LayerNorm where ``centers`` is set, else RMSNorm. Call it with rows [rows, d_model].

    Attributes:
        gain: [d_model] or 1; the normed row is multiplied by it.
        bias: [d_model] or 0; added at the end.
        centers: Whether the row's own mean is subtracted first.
        eps: Added to the mean square.
    """

    gain: np.ndarray | float = 1.0
    bias: np.ndarray | float = 0.0
    centers: bool = False
    eps: float = 1e-6

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if self.centers:
            rows = rows - rows.mean(axis=-1, keepdims=True)
        return self.gain * rows / np.sqrt(np.mean(rows**2, axis=-1, keepdims=True) + self.eps) + self.bias


class Unembedding(NamedTuple):
    """How a model turns a row of its stream into logits: ``weight @ norm(row)``.

    Attributes:
        norm: The model's final norm.
        weight: [vocab, d_model] float32.
    """

    norm: ReadOut
    weight: np.ndarray


def read_unembedding(folder: Path) -> Unembedding:
    """Reads the final norm and the unembedding of a checkpoint.

    Args:
        folder: The checkpoint's folder.

    Raises:
        UnsupportedModel: The architecture is unknown, or a tensor that it needs is missing.
    """
    checkpoint, whole = Checkpoint(folder), read_config(folder)
    _, config = text_part(whole)
    family = family_of(architecture_in(whole, config)) if whole else told_by_names(checkpoint)
    return Unembedding(norm_of(checkpoint, family, config), head_of(checkpoint, family, config))


def architecture_in(whole: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    """The architecture that writes text: that of a multimodal model's language model, if its type is a known one."""
    named = (text.get("architectures") or whole.get("architectures") or ["unknown"])[0]
    return named if text is whole else TEXT_TYPES.get(text.get("model_type", ""), named)


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's configuration; empty where there is none."""
    path = folder / "config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def written_into(folder: Path, hook: HookPoint, rows: np.ndarray) -> np.ndarray:
    """What rows that are written at a hook point add to the stream, up to a positive factor.

    Args:
        folder: The checkpoint's folder.
        hook: The hook point.
        rows: [rows, width] what is written there.

    Returns:
        [rows, d_model].

    Raises:
        UnsupportedModel: There is no one way into the stream, or a tensor on it is missing or quantized.
    """
    if hook.site in (Site.ATTN_IN, Site.MLP_IN, Site.ROUTER):
        raise UnsupportedModel(f"what is written at {hook.site} does not come into the stream on one way", param="site")
    if hook.site not in (Site.Z, Site.MLP_ACT):
        return rows
    whole = read_config(folder)
    _, config = text_part(whole)
    if whole.get("quantization_config") or config.get("quantization_config"):
        raise UnsupportedModel(f"{folder} is quantized, so what {hook} adds to the stream is not read", param="model")
    checkpoint, family = Checkpoint(folder), family_of(architecture_in(whole, config))
    layer = f"{family.layers}.{hook.layer}"
    weight = checkpoint.read(f"{layer}.{getattr(family, hook.site)}.weight")
    added = rows @ (weight if family.in_out else weight.T)
    behind = norm_behind(family, hook.site)
    if behind:
        added = added * (checkpoint.read(f"{layer}.{behind}.weight") + (family.norm is Norm.RMS_OFFSET))
    return added


def norm_behind(family: Family, site: Site) -> str:
    """The norm that what an output projection makes passes on its way into the stream; "" where there is none."""
    out, own = (family.attn_out, family.attn_in) if site is Site.Z else (family.mlp_out, family.mlp_in)
    return out if out not in (own, family.mlp_act) else ""


class Checkpoint:
    """The tensors of the files that an engine loads, by name, read one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        for path in weight_files(folder):
            with safe_open(path, framework="pt") as file:
                self.files |= dict.fromkeys(file.keys(), path)

    def find(self, name: str) -> str | None:
        """The tensor's own name, or that which it has in a checkpoint of the base model alone, or of a model around."""
        short = name.partition(".")[2]
        around = ("language_model", "model.language_model", "text_model", "model.text_model")
        inside = (f"{each}.{part}" for each in around for part in (name, short))
        return next((each for each in (name, short, *inside) if each in self.files), None)

    def has(self, name: str) -> bool:
        """Whether the checkpoint has this tensor."""
        return self.find(name) is not None

    def read(self, name: str) -> np.ndarray:
        """In float32. Raises UnsupportedModel where it is missing."""
        found = self.find(name)
        if found is None:
            raise UnsupportedModel(f"{self.folder} has no tensor {name}, with which its model reads out", param="model")
        with safe_open(self.files[found], framework="pt") as file:
            return file.get_tensor(found).to(torch.float32).numpy()


def told_by_names(checkpoint: Checkpoint) -> Family:
    """Step 2. Raises UnsupportedModel."""
    possible = [family for family in dict.fromkeys(FAMILIES.values()) if reads_out(checkpoint, family)]
    if not possible:
        raise UnsupportedModel(
            f"{checkpoint.folder} has no config.json and no final norm and unembedding of a known name", param="model"
        )
    silent = not checkpoint.read(weight_of(possible[0])).any()
    return next((family for family in possible if silent == (family.norm is Norm.RMS_OFFSET)), possible[0])


def reads_out(checkpoint: Checkpoint, family: Family) -> bool:
    """Whether the checkpoint has the family's final norm and unembedding."""
    return checkpoint.has(weight_of(family)) and (checkpoint.has(family.head) or checkpoint.has(family.embedding))


def weight_of(family: Family) -> str:
    return f"{family.final_norm}.weight"


def norm_of(checkpoint: Checkpoint, family: Family, config: Mapping[str, Any]) -> ReadOut:
    """Raises UnsupportedModel."""
    # OPT's first models end on a layer's norm, and Galactica's norms have no weights.
    if not config.get("do_layer_norm_before", True) or config.get("_remove_final_layer_norm"):
        return lambda rows: rows
    eps = float(next((config[key] for key in EPSILONS if key in config), 1e-5 if family.norm is Norm.LAYER else 1e-6))
    if not config.get("layer_norm_elementwise_affine", True):
        return FinalNorm(centers=True, eps=eps)
    weight = checkpoint.read(weight_of(family))
    match family.norm:
        case Norm.RMS:
            return FinalNorm(weight, eps=eps)
        case Norm.RMS_OFFSET:
            return FinalNorm(1.0 + weight, eps=eps)
        case Norm.LAYER:
            bias = f"{family.final_norm}.bias"
            return FinalNorm(weight, checkpoint.read(bias) if checkpoint.has(bias) else 0.0, centers=True, eps=eps)


def head_of(checkpoint: Checkpoint, family: Family, config: Mapping[str, Any]) -> np.ndarray:
    """[vocab, d_model]. Raises UnsupportedModel."""
    tied = config.get("tie_word_embeddings", family.tied) if config else not checkpoint.has(family.head)
    weight = checkpoint.read(family.embedding if tied else family.head)
    projects = family.project_out and checkpoint.has(family.project_out)
    return weight @ checkpoint.read(family.project_out) if projects else weight
