"""Options of vLLM under which requests cannot be steered correctly; an engine with hooks does not start with them.

Tensor parallelism and decode context parallelism are not among them: every rank sees every token's whole stream. But
it sees its own heads and neurons only, so that tensor parallelism is refused with hook points at these.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import UnsupportedModel

__all__ = ["refuse_kind", "refuse_parts", "refuse_replaced", "refuse_unsupported"]

HASHED = ("OffloadingConnector", "SimpleCPUOffloadConnector")
"""Connectors that keep KV blocks by vLLM's own hashes, which include the salt."""


class Option(NamedTuple):
    """An option of vLLM.

    Attributes:
        name: Its name on vLLM's command line.
        path: Its attribute path in vLLM's configuration; a release without it counts as not having set it.
        is_on: Whether a value is refused.
        reason: Why it is refused.
    """

    name: str
    path: str
    is_on: Callable[[Any], bool]
    reason: str


def several(value: int) -> bool:
    return value > 1


def unhashed(connector: str) -> bool:
    return connector not in HASHED


def foreign(implementation: str) -> bool:
    return str(implementation) not in ("auto", "vllm")


OPTIONS = (
    Option(
        "--model-impl",
        "model_config.model_impl",
        foreign,
        "the hooks stand in vLLM's own classes of a model, which it would not run; leave the option out",
    ),
    Option(
        "--speculative-config",
        "speculative_config",
        bool,
        "speculative decoding computes tokens that it then rejects; steering cannot count them",
    ),
    Option(
        "--data-parallel-size",
        "parallel_config.data_parallel_size",
        several,
        "only the first engine is asked what it did, so answers of the others would be withheld; start several servers",
    ),
    Option(
        "--pipeline-parallel-size",
        "parallel_config.pipeline_parallel_size",
        several,
        "the rank that samples does not see what the others decided; use --tensor-parallel-size",
    ),
    Option(
        "--prefill-context-parallel-size",
        "parallel_config.prefill_context_parallel_size",
        several,
        "every rank has a part of a prompt's tokens only, which the hooks cannot tell apart",
    ),
    Option(
        "--enable-dbo",
        "parallel_config.enable_dbo",
        bool,
        "a layer runs over parts of a batch, of which the hooks do not know",
    ),
    Option(
        "--ubatch-size",
        "parallel_config.ubatch_size",
        several,
        "a layer runs over parts of a batch, of which the hooks do not know",
    ),
    Option(
        "--enable-batch-sharded-sampling",
        "parallel_config.enable_batch_sharded_sampling",
        bool,
        "every rank samples for some of the requests only, so aborts could not end the others",
    ),
    Option(
        "--compilation-config pass_config.enable_sp",
        "compilation_config.pass_config.enable_sp",
        bool,
        "sequence parallelism leaves every rank a part of the tokens",
    ),
    Option(
        "--kv-sharing-fast-prefill",
        "cache_config.kv_sharing_fast_prefill",
        bool,
        "the last layers do not run over every token of a prompt",
    ),
    Option(
        "--kv-transfer-config",
        "kv_transfer_config.kv_connector",
        unhashed,
        "it may hand KV blocks of steered requests to others, since it does not keep them by their salt",
    ),
)


def refuse_unsupported(vllm_config: Any) -> None:
    """Checks the options that vLLM runs with.

    Args:
        vllm_config: vLLM's configuration.

    Raises:
        UnsupportedModel: An option is set that cannot be; the message names the first such option and says why.
    """
    for option in OPTIONS:
        value = value_at(vllm_config, option.path)
        if value is not None and option.is_on(value):
            shown = f" {value}" if isinstance(value, int | str) and value is not True else ""
            raise UnsupportedModel(f"featurehub cannot steer with vLLM's {option.name}{shown}: {option.reason}")


def refuse_kind(vllm_config: Any) -> None:
    """Checks what kind of model it is.

    Args:
        vllm_config: vLLM's configuration.

    Raises:
        UnsupportedModel: Its tokens do not pass its layers once each, in order; or it keeps a state beside the KV
            cache, and whether requests may share it is not known.
    """
    model, name = vllm_config.model_config, vllm_config.model_config.architecture
    if model.is_encoder_decoder:
        raise UnsupportedModel(
            f"featurehub cannot steer {name}: it is an encoder with a decoder, and names of features mean layers of a "
            "decoder alone"
        )
    if getattr(model, "is_diffusion", False):
        raise UnsupportedModel(
            f"featurehub cannot steer {name}: it is a diffusion model, which computes a token many times; steering "
            "counts each once"
        )
    cache = vllm_config.cache_config
    if model.has_inner_state and cache.enable_prefix_caching and cache.mamba_cache_mode == "all":
        raise UnsupportedModel(
            f"{name} keeps a state beside its KV cache. That steered and unsteered requests share none is proven for "
            "--mamba-cache-mode align, not for all"
        )


def refuse_parts(point: HookPoint, vllm_config: Any) -> None:
    """Checks the options under which the tensor at a hook point of ``TAKEN`` is whole, and taken where the hook stands.

    Args:
        point: The hook point.
        vllm_config: vLLM's configuration.

    Raises:
        UnsupportedModel: An option is set that cannot be.
    """
    ranks = vllm_config.parallel_config.tensor_parallel_size
    if ranks > 1:
        raise UnsupportedModel(
            f"{point} is split over the {ranks} ranks of --tensor-parallel-size: each has a part of its numbers only. "
            "Serve the model on one GPU, or hook what is whole on each, such as attn_out or resid_post"
        )
    refuse_replaced(point, vllm_config)


def refuse_replaced(point: HookPoint, vllm_config: Any) -> None:
    """Checks that nothing takes the place of the linear map at which a hook stands. Raises UnsupportedModel."""
    if vllm_config.lora_config is not None:
        raise UnsupportedModel(
            f"{point} cannot be hooked with --enable-lora: adapters take the place of the module at it"
        )


def value_at(config: Any, path: str) -> Any:
    """The attribute at a dotted path; None if any part of it is missing."""
    for name in path.split("."):
        config = getattr(config, name, None)
    return config
