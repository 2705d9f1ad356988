"""Any architecture of vLLM's, tiny and with random weights: no checkpoint, and no engine around the model.

1. A configuration is the default one of its class in transformers, with every size in ``SIZES`` that it has made small.
2. vLLM builds the model from it, and a loader of ours fills the weights.
3. The model goes through the same check that an engine's does at boot.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto as auto
from vllm import ModelRegistry
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import (
    ensure_model_parallel_initialized,
    init_distributed_environment,
    model_parallel_is_initialized,
)
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model, register_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.model_loader.utils import process_weights_after_loading
from vllm.utils.network_utils import get_open_port
from vllm.utils.torch_utils import set_default_torch_dtype

from featurehub.architectures import Status, Support
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.engine.config import EngineConfig
from featurehub.engine.families import hooked_class
from featurehub.engine.hookset import install
from featurehub.errors import UnsupportedModel

__all__ = ["ENDS", "SIZES", "built", "found_in", "save_config", "tiny_config", "types"]

LAYERS = 3
ENDS = tuple(HookPoint(layer=layer, site=site) for layer in range(3) for site in (Site.RESID_PRE, Site.RESID_POST))
"""The hook points at both ends of all layers."""
LIKE: Mapping[str, str] = dict.fromkeys(
    ("LLaMAForCausalLM", "InternLM3ForCausalLM", "IQuestCoderForCausalLM", "SolarForCausalLM", "TeleChat2ForCausalLM",
     "TeleChat3ForCausalLM", "TeleFLMForCausalLM", "XverseForCausalLM", "MiMoForCausalLM", "OrionForCausalLM",
     "PanguEmbeddedForCausalLM", "MiniCPMForCausalLM", "DeciLMForCausalLM", "Step1ForCausalLM", "InternLM2ForCausalLM",
     "ExaoneForCausalLM"),
    "llama",
) | {
    "ExaoneMoEForCausalLM": "exaone_moe", "Llama4ForCausalLM": "llama4_text", "PhiMoEForCausalLM": "phimoe",
    "Rnj1ForCausalLM": "gemma3_text", "DeepseekForCausalLM": "deepseek_v2", "Plamo3ForCausalLM": "gemma3_text",
}  # fmt: skip
"""Architectures that transformers does not know, and a type that has what their configurations have."""
MORE: Mapping[str, Mapping[str, Any]] = {
    "AfmoeForCausalLM": {
        "score_func": "sigmoid",
        "route_norm": True,
        "route_scale": 1.0,
        "n_group": 1,
        "topk_group": 1,
    },
    "HYV3ForCausalLM": {"first_k_dense_replace": 1, "expert_hidden_dim": 32, "route_norm": True},
    "Lfm2ForCausalLM": {"block_dim": 64, "block_norm_eps": 1e-5, "block_ff_dim": 96},
    "Zamba2ForCausalLM": {
        "attention_hidden_size": 128,
        "attention_head_dim": 64,
        "n_mamba_heads": 4,
        "mamba_headdim": 32,
    },
    "DeepseekV2ForCausalLM": {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 2},
    "Llama4ForCausalLM": {"num_experts_per_tok": 1},
    "Llama4ForConditionalGeneration": {"text_config": {"num_experts_per_tok": 1}},
    "Qwen3VLMoeForConditionalGeneration": {"text_config": {"norm_topk_prob": True}},
    "Glm4vMoeForConditionalGeneration": {"text_config": {"head_dim": 32}},
    "TeleFLMForCausalLM": {"use_mup": False},
    "SolarForCausalLM": {f"bskcn_{at}": [] for at in (1, 2, 3, 4)} | {"bskcn_tv": [0.9, 0.1]},
    "MiniMaxM2ForCausalLM": {
        "rotary_dim": 16,
        "scoring_func": "softmax",
        "use_routing_bias": False,
        "use_qk_norm": True,
    },
    "Glm4MoeForCausalLM": {"head_dim": 32, "partial_rotary_factor": 0.5},
    "Glm4MoeLiteForCausalLM": {"first_k_dense_replace": 1},
    "NemotronForCausalLM": {"num_key_value_heads": 1},
    "GraniteForCausalLM": {"residual_multiplier": 0.22, "embedding_multiplier": 12.0, "logits_scaling": 8.0},
    "MiniCPMForCausalLM": {"scale_emb": 2.0, "scale_depth": 1.4, "dim_model_base": 32},
    "InternLM2ForCausalLM": {"bias": False},
    "ExaoneForCausalLM": {"num_layers": 3, "layer_norm_epsilon": 1e-5, "activation_function": "silu"},
}
"""What their configurations have besides, or what their default cannot be made small."""
SIZES: Mapping[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 96, "max_position_embeddings": 64,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "moe_topk": 2, "moe_k": 2, "top_k": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    "expert_ffn_hidden_size": 32, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "bos_token_id": 0,
    "eos_token_id": 95, "pad_token_id": 94, "sliding_window": 32, "attention_chunk_size": 32, "q_lora_rank": 32,
    "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "qk_head_dim": 64, "v_head_dim": 32,
    "n_embd": 64, "n_layer": LAYERS, "n_head": 2, "n_positions": 64, "d_model": 64, "n_layers": LAYERS, "n_heads": 2,
    "ffn_hidden_size": 96, "max_seq_len": 64, "rotary_dim": 16, "num_layers": LAYERS, "multi_query_group_num": 1,
    "intermediate_size_mlp": 96, "num_kv_heads": 1, "max_window_layers": LAYERS, "mamba_n_heads": 4, "mamba_d_head": 32,
    "mamba_num_heads": 4, "mamba_head_dim": 32, "ssm_state_size": 16, "mamba_d_state": 16, "state_size": 16,
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 32, "linear_value_head_dim": 32,
    "query_pre_attn_scalar": 32, "swiglu_limit": 7.0, "moe_shared_expert_intermediate_size": 32,
    "global_head_dim": 32, "num_global_key_value_heads": 1, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    "vocab_size_per_layer_input": 96, "per_layer_config": None,
}  # fmt: skip
"""Of text configurations, by the names that they use."""
VISION: Mapping[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "depth": 2, "num_heads": 2, "num_attention_heads": 2,
    "intermediate_size": 96, "image_size": 28, "patch_size": 14, "out_hidden_size": 64, "projection_dim": 64,
    "embed_dim": 64, "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 96,
}  # fmt: skip


def types() -> dict[str, str]:
    """By architecture, the type of model that transformers knows it by."""
    found = dict(LIKE)
    for names in (auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        for kind, architectures in names.items():
            for each in architectures if isinstance(architectures, list | tuple) else (architectures,):
                found.setdefault(each, kind)
    return found


def tiny_config(architecture: str) -> dict[str, Any]:
    """The configuration of a tiny model, as JSON types. Raises KeyError for an architecture of no known type."""
    config = shrunk(transformers.CONFIG_MAPPING[types()[architecture]]().to_dict(), SIZES)
    more = MORE.get(architecture, {})
    return {
        **config,
        **{key: {**config[key], **each} if isinstance(each, dict) else each for key, each in more.items()},
    }


def shrunk(config: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    small = {name: sizes.get(name, value) if value is not None else None for name, value in config.items()}
    for name, value in config.items():
        if isinstance(value, Mapping) and name.endswith("_config") and name not in sizes:
            small[name] = shrunk(value, SIZES if name in ("text_config", "llm_config") else VISION)
        elif isinstance(value, list) and name in ("layer_types", "mlp_layer_types", "layers_block_type"):
            small[name] = kinds(value)
    return small


def kinds(layers: list[Any]) -> list[Any]:
    """``LAYERS`` of the kinds of layers that there are, each kind at least once where there is room."""
    different = list(dict.fromkeys(layers))
    return (different * LAYERS)[:LAYERS]


def save_config(architecture: str, config: Mapping[str, Any], folder: Path) -> None:
    """Writes a model's ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture], "dtype": "float32"}))


@register_model_loader("random")
class RandomLoader(BaseModelLoader):
    """Fills weights at random, so that every layer changes the stream a lot, and no two parts are alike."""

    def download_model(self, model_config: Any) -> None:
        """Nothing."""

    def load_model(self, vllm_config: VllmConfig, model_config: Any, prefix: str = "") -> nn.Module:
        """As vLLM's loaders do, without what only a GPU has."""
        with set_default_torch_dtype(model_config.dtype):
            model = self.create_model(vllm_config, model_config, prefix)
        self.load_weights(model, model_config)
        process_weights_after_loading(model, model_config, torch.device("cpu"))
        return model.eval()

    def load_weights(self, model: nn.Module, model_config: Any) -> None:
        """Matrices keep the size of what they multiply; norms are scattered around one."""
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scaled = noise / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 1 + 0.3 * noise
            parameter.data.copy_(scaled.to(parameter.dtype))


def built(architecture: str, folder: Path, config: EngineConfig) -> Any:
    """The model of a folder, with its hooks, as a worker builds it."""
    begin()
    # Not by name: that would be looked up in another process.
    ModelRegistry.register_model(architecture, hooked_class(architecture))
    options: dict[str, Any] = {"load_format": "random", "dtype": "float32", "enforce_eager": True}
    made = EngineArgs(
        model=str(folder), skip_tokenizer_init=True, language_model_only=True, max_model_len=48, max_num_seqs=4,
        additional_config=config.to_additional_config(), **options,
    ).create_engine_config()  # fmt: skip
    return model_of(made)


def model_of(made: VllmConfig) -> Any:
    with set_current_vllm_config(made):
        return get_model(vllm_config=made)


def begin() -> None:
    """The groups of processes that a worker makes. Made before any model is known, there is one for experts, too."""
    if not torch.distributed.is_initialized():
        init_distributed_environment(1, 0, f"tcp://127.0.0.1:{get_open_port()}", 0, "gloo")
    if not model_parallel_is_initialized():
        with set_current_vllm_config(VllmConfig()):
            ensure_model_parallel_initialized(1, 1)


def found_in(architecture: str) -> Support:
    """What the check at boot finds in an architecture."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_config(architecture, tiny_config(architecture), Path(folder))
        except KeyError:
            return Support(status=Status.UNTRIED, reason="transformers has no configuration for it")
        status, reason = checked_at(architecture, Path(folder), *ENDS)
        if status is not Status.SELF_CHECKED:
            return Support(status=status, reason=reason)
        passing = [
            site for site in Site
            if checked_at(architecture, Path(folder), inside(site))[0] is Status.SELF_CHECKED
        ]  # fmt: skip
    return Support(status=status, sites=tuple(passing))


def inside(site: Site) -> HookPoint:
    """Where a site is tried: in the layer in the middle, or behind the last one."""
    return HookPoint(layer=LAYERS - 1 if site is Site.FINAL_NORM else 1, site=site)


def checked_at(architecture: str, folder: Path, *points: HookPoint) -> tuple[Status, str]:
    """Whether an architecture passes at these hook points, and if not, why."""
    try:
        built(architecture, folder, EngineConfig.capturing(*points)).prove_hooks()
    except UnsupportedModel as error:
        # The check itself could not run: that says nothing of the hooks.
        return Status.REFUSED if error.__cause__ is None else Status.UNTRIED, error.message
    except Exception as error:  # noqa: BLE001 What vLLM cannot build says so in any way.
        return Status.UNTRIED, f"{type(error).__name__}: {error}".replace("\t", " ").splitlines()[0][:200]
    finally:
        install(None)
    return Status.SELF_CHECKED, ""
