"""The architectures that the engine knows, and how a hook is put into them.

A hooked model is a subclass of vLLM's own, registered under the same architecture. After vLLM has built the layers, the
hooked one changes its class to a subclass whose ``forward`` ends with the op; parameters keep their names, so weights
load as ever, and torch.compile traces the op with the layer.

Layers of the Llama type return ``(mlp_delta, residual)``: the stream is their sum. A layer that returns anything else
is refused, since an SAE would read and write the wrong tensor.
"""

from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.distributed import get_pp_group
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.mistral import MistralForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.dictionary import Dictionary
from featurehub.engine import runner_v1
from featurehub.engine.config import EngineConfig
from featurehub.engine.hook import HOOKS, RESID_POST, Hook, register_op
from featurehub.engine.table import EditTable
from featurehub.errors import IncompatibleArtifact, UnsupportedModel

__all__ = ["HookedLlamaForCausalLM", "HookedMistralForCausalLM", "HookedQwen2ForCausalLM", "HookedQwen3ForCausalLM"]


def hooked_layer(layer_class: type[nn.Module], hook: str) -> type[nn.Module]:
    """A subclass of a decoder layer of the ``(delta, residual)`` type, with the op after its forward."""

    class HookedLayer(layer_class):
        def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            output = super().forward(*args, **kwargs)
            if not (isinstance(output, tuple) and len(output) == 2):
                raise UnsupportedModel(
                    f"{layer_class.__name__} does not return (delta, residual); featurehub cannot hook it"
                )
            hidden, residual = output
            torch.ops.featurehub.edit_stream(hidden, residual, hook)
            return hidden, residual

    HookedLayer.__name__ = HookedLayer.__qualname__ = f"Hooked{layer_class.__name__}"
    return HookedLayer


def attach(model: nn.Module, vllm_config: VllmConfig) -> None:
    """Puts the configured hook into a freshly built model; does nothing where featurehub was not asked for.

    Raises UnsupportedModel, IncompatibleArtifact.
    """
    config = EngineConfig.of(vllm_config)
    if config is None:
        return
    inner: Any = model.model
    if config.layer >= len(inner.layers):
        raise UnsupportedModel(f"hook layer {config.layer}: the model has layers 0 to {len(inner.layers) - 1}")
    register_op()
    runner_v1.install()
    HOOKS[RESID_POST] = make_hook(config, vllm_config)
    if inner.start_layer <= config.layer < inner.end_layer:
        layer = inner.layers[config.layer]
        layer.__class__ = hooked_layer(type(layer), RESID_POST)
    elif get_pp_group().world_size == 1:
        raise UnsupportedModel(f"layer {config.layer} does not lie on this worker")


def make_hook(config: EngineConfig, vllm_config: VllmConfig) -> Hook:
    if config.artifact is None:
        return Hook(None, None)
    dictionary = Dictionary.load(config.artifact / WEIGHTS)
    width = vllm_config.model_config.get_hidden_size()
    if dictionary.d_model != width:
        raise IncompatibleArtifact(
            f"the SAE reads a stream of width {dictionary.d_model}, the model's is {width}: "
            "it was trained on another model"
        )
    table = EditTable(dictionary, vllm_config.scheduler_config.max_num_seqs, config.max_edits)
    return Hook(dictionary, table)


class Hooked(nn.Module):
    """Before a vLLM model class among the bases: builds that model, then attaches the hook."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        attach(self, vllm_config)


class HookedLlamaForCausalLM(Hooked, LlamaForCausalLM): ...


class HookedMistralForCausalLM(Hooked, MistralForCausalLM): ...


class HookedQwen2ForCausalLM(Hooked, Qwen2ForCausalLM): ...


class HookedQwen3ForCausalLM(Hooked, Qwen3ForCausalLM): ...
