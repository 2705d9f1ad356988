"""Whatever may replace the weights of a running engine, and what then follows, before another token is computed.

vLLM has several ways: weight transfer (``update_weights`` and what stands around it), ``reload_weights``, waking up,
and any other method or function that is run in the workers. All pass ``EngineCore.collective_rpc`` or its ``wake_up``,
between two steps. Both are wrapped, once, and whatever is not known to leave weights alone counts as a change, even
where it fails half-way:

1. Every worker sums its weights anew (``featurehub.engine.weights``), or notes that they are being replaced.
2. Requests that run lose their place and are computed anew from their first token, and the prefix cache is emptied: no
   KV block of the old weights is read again. vLLM leaves this to whoever updates weights.
"""

import logging
from collections.abc import Callable
from typing import Any

from featurehub.engine.config import EngineConfig
from featurehub.engine.wrapping import run_around
from featurehub.errors import UnsupportedModel

__all__ = ["HARMLESS", "PARTIAL", "install", "may_replace"]

logger = logging.getLogger("vllm.featurehub")

OWN = "featurehub_"
HARMLESS = frozenset({
    "add_lora", "annotate_profile", "check_health", "checkpoint_prepare", "compute_weight_checksums", "get_cache_info",
    "get_encoder_timing_stats", "get_kv_cache_spec", "init_weight_transfer_engine", "list_loras", "pin_lora", "profile",
    "remove_lora", "reset_encoder_cache", "reset_mm_cache", "save_sharded_state", "save_tensorized_model",
    "shutdown_weight_transfer_engine", "start_profile", "stop_profile", "synchronize_device", "update_max_model_len",
})  # fmt: skip
"""Methods of vLLM's workers that leave the model's own weights as they are. Adapters are no part of these."""
PARTIAL = frozenset({"start_draft_weight_update", "start_weight_update", "update_weights"})
"""Methods after which more of an update is to come."""


def may_replace(method: object) -> bool:
    """Whether running this method in the workers may replace weights. Functions that are sent there always may."""
    return not (isinstance(method, str) and (method in HARMLESS or method.startswith(OWN)))


def install() -> None:
    """Wraps vLLM's engine. Safe to call again.

    Raises:
        UnsupportedModel: The engine is not one that featurehub knows.
    """
    try:
        from vllm.v1.engine.core import EngineCore
    except ImportError as error:
        raise UnsupportedModel(f"this vLLM has an engine that featurehub does not know: {error}") from error
    run_around(EngineCore, "collective_rpc", lambda parameters: parameters[1] == "method", around_call)
    run_around(EngineCore, "wake_up", lambda parameters: parameters[0] == "self", around_waking)


def around_call(original: Callable[..., Any], core: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    if not may_replace(method) or EngineConfig.of(core.vllm_config) is None:
        return original(core, method, *args, **kwargs)
    try:
        return original(core, method, *args, **kwargs)
    finally:
        renew(core, complete=method not in PARTIAL)


def around_waking(original: Callable[..., Any], core: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(core, *args, **kwargs)
    finally:
        if EngineConfig.of(core.vllm_config) is not None:
            renew(core, complete=True)


def renew(core: Any, complete: bool) -> None:
    """Steps 1 and 2."""
    core.model_executor.collective_rpc("featurehub_weights_changed", args=(complete,))
    try:
        core.reset_prefix_cache(reset_running_requests=True, reset_connector=True)
    except RuntimeError:
        logger.exception("KV blocks of the old weights are left; steered requests read none of them, others may")
