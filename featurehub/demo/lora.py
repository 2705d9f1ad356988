"""LoRA: low-rank changes of a model's linear layers, trained in plain torch and kept in the format of peft.

    y = x·Wᵀ + (alpha / rank) · (x·Aᵀ)·Bᵀ        A [rank, in], B [out, rank]

peft and vLLM load the folders that ``save_adapter`` writes. ``merged`` needs neither.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen, reason

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "LoraShape",
    "Lowered",
    "attach",
    "load_adapter",
    "merged",
    "save_adapter",
    "switched_off",
]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the names of a model's own modules."""
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LoraShape(Frozen):
    """Which linear layers are changed, and how much they can change.

    Attributes:
        rank: Rank of each change.
        alpha: The change is scaled by alpha / rank.
        first: The first layer that is changed.
        layers: How many layers, from that one, are changed.
        modules: Names of the linear layers in each of them.
    """

    rank: int = 8
    alpha: int = 16
    first: int = 0
    layers: int = 15
    modules: tuple[str, ...] = MODULES

    @property
    def changed(self) -> range:
        """The layers that are changed."""
        return range(self.first, self.first + self.layers)

    @property
    def scale(self) -> float:
        """The factor of B·A."""
        return self.alpha / self.rank


class Lowered(nn.Module):
    """A linear layer with a low-rank change; only the change is trained.

    Attributes:
        base: The linear layer.
        A: [rank, in], random at first.
        B: [out, rank], zero at first, so that nothing is changed.
        scale: Factor of the change; 0 switches it off.
    """

    def __init__(self, base: nn.Linear, shape: LoraShape) -> None:
        super().__init__()
        self.base, self.scale = base, shape.scale
        self.A = nn.Parameter(torch.empty(shape.rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, shape.rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        """The layer's output with its change."""
        y = self.base(x)
        return y + self.scale * ((x @ self.A.T) @ self.B.T) if self.scale else y


def attach(model: LlamaForCausalLM, shape: LoraShape) -> dict[str, Lowered]:
    """Puts changes into a model, freezes all else, and returns the changed layers by their name in the model.

    Args:
        model: The model; it is changed in place.
        shape: Which layers, and how.

    Returns:
        The layers by name, such as ``model.layers.0.mlp.up_proj``.
    """
    model.requires_grad_(False)
    inside = {f"model.layers.{i}" for i in shape.changed}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.rsplit(".", 1)[-1] in shape.modules
        and name.rsplit(".", 2)[0] in inside
    ]
    return {name: _lower(model, name, shape) for name in names}


def _lower(model: LlamaForCausalLM, name: str, shape: LoraShape) -> Lowered:
    parent, own = name.rsplit(".", 1)
    lowered = Lowered(model.get_submodule(name), shape)  # type: ignore[arg-type]
    setattr(model.get_submodule(parent), own, lowered)
    return lowered


@contextmanager
def switched_off(layers: Mapping[str, Lowered]) -> Iterator[None]:
    """The model as it was before it was changed, while the block runs; nothing in it is differentiated."""
    scales = {name: layer.scale for name, layer in layers.items()}
    for layer in layers.values():
        layer.scale = 0.0
    try:
        with torch.no_grad():
            yield
    finally:
        for name, layer in layers.items():
            layer.scale = scales[name]


def save_adapter(folder: Path, layers: Mapping[str, Lowered], shape: LoraShape, base: str) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``, in bf16, as peft does.

    Args:
        folder: An existing folder.
        layers: What ``attach`` returned.
        shape: What it was given.
        base: Name of the base model.
    """
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(shape.modules),
        "layers_to_transform": list(shape.changed),
        "layers_pattern": "layers",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.A.detach().to(torch.bfloat16).contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.B.detach().to(torch.bfloat16).contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


class Change(Frozen):
    """The part of an adapter's configuration that says what B·A is multiplied by."""

    r: int
    lora_alpha: float


def load_adapter(folder: Path) -> dict[str, Tensor]:
    """The change of each weight, (alpha / rank) · B·A in float32 [out, in], by the weight's name in the checkpoint.

    Raises:
        InvalidInput: The folder holds no adapter, or one that is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        change = Change(r=config["r"], lora_alpha=config["lora_alpha"])
        tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        downs = [name for name in tensors if name.endswith(".lora_A.weight")]
        pairs = {name: (tensors[name], tensors[name.replace(".lora_A.", ".lora_B.")]) for name in downs}
        scale = change.lora_alpha / change.r
        return {_weight_of(name): scale * (B @ A) for name, (A, B) in pairs.items()}
    except (OSError, ValueError, KeyError, RuntimeError, ZeroDivisionError, ValidationError, SafetensorError) as error:
        raise InvalidInput(f"{folder} holds no adapter that can be read: {reason(error)}", param="adapter") from None


def _weight_of(name: str) -> str:
    return name.removeprefix(PREFIX).replace(".lora_A.weight", ".weight")


def merged(weights: Mapping[str, Tensor], changes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with an adapter's changes, summed in float32, each in the dtype that it has.

    Args:
        weights: All weights of a checkpoint by name.
        changes: What ``load_adapter`` returned.

    Raises:
        InvalidInput: The adapter changes a weight that is not there, or that has another shape.
    """
    for name, change in changes.items():
        if name not in weights or weights[name].shape != change.shape:
            found = f"has the shape {tuple(weights[name].shape)} there" if name in weights else "is not there"
            raise InvalidInput(
                f"the adapter changes {name} {tuple(change.shape)}, which {found}: it was made for another model",
                param="adapter",
            )
    return {
        name: (weight.float() + changes[name]).to(weight.dtype) if name in changes else weight
        for name, weight in weights.items()
    }
