"""Where the server runs a model otherwise than the checkpoint's files say, because the operator asked for it.

A fingerprint describes those files, loaded as they are. Other options, such as another precision, another template or
an overridden configuration, may make the model another function, so every option counts that is not known to leave the
function as it is. With any of them set, no artifact or feature is called fresh.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from featurehub.engine.loading import LOAD_FORMAT
from featurehub.errors import InvalidInput

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["check_weights", "overridden", "overridden_environment", "resolved"]

# Where and how fast the server answers, what it logs, how its memory and its machines are used, how answers are drawn
# and parsed; adapters, whose requests are judged one by one.
# fmt: off
HARMLESS = frozenset({
    "allow_credentials", "allowed_headers", "allowed_methods", "allowed_origins", "api_key", "api_server_count",
    "aggregate_engine_logging", "async_scheduling", "attention_backend", "attention_config", "block_size",
    "collect_detailed_traces", "compilation_config", "config", "cpu_distributed_timeout_seconds", "cpu_offload_gb",
    "cudagraph_capture_sizes", "cudagraph_metrics", "custom_histogram_buckets", "data_parallel_size",
    "disable_access_log_for_endpoints", "disable_cascade_attn", "disable_custom_all_reduce", "disable_fastapi_docs",
    "disable_hybrid_kv_cache_manager", "disable_log_stats", "disable_uvicorn_access_log",
    "distributed_executor_backend",
    "distributed_timeout_seconds", "download_dir", "enable_auto_tool_choice", "enable_chunked_prefill",
    "enable_force_include_usage", "enable_log_deltas", "enable_log_outputs", "enable_log_requests",
    "enable_logging_iteration_details", "enable_lora", "enable_offline_docs", "enable_per_request_metrics",
    "enable_prefix_caching", "enable_prompt_tokens_details", "enable_request_id_headers", "enable_server_load_tracking",
    "enable_ssl_refresh", "enable_tokenizer_info_endpoint", "enforce_eager", "exclude_tools_when_tool_choice_none",
    "fail_on_environ_validation", "fully_sharded_loras", "generation_config", "gpu_memory_utilization",
    "h11_max_header_count", "h11_max_incomplete_event_size", "hf_token", "host", "jit_monitor_mode",
    "jit_monitor_verbose", "kv_cache_memory_bytes", "kv_cache_metrics", "kv_cache_metrics_sample", "kv_events_config",
    "log_config_file", "log_error_stack", "log_level", "logging_config", "logprobs_mode",
    "long_prefill_token_threshold",
    "lora_dtype", "lora_modules", "lora_target_modules", "master_addr", "master_port", "max_cpu_loras",
    "max_cudagraph_capture_size", "max_log_len", "max_logprobs", "max_lora_rank", "max_loras", "max_model_len",
    "max_num_active_seqs", "max_num_batched_tokens", "max_num_queued_reqs", "max_num_queued_tokens",
    "max_num_scheduled_tokens", "max_num_seqs", "max_parallel_loading_workers", "nnodes", "node_rank",
    "num_gpu_blocks_override", "numa_bind", "numa_bind_cpus", "numa_bind_nodes", "optimization_level",
    "otlp_traces_endpoint", "override_generation_config", "pipeline_parallel_size", "port", "prefix_caching_hash_algo",
    "profiler_config", "reasoning_parser", "renderer_num_workers", "response_role", "return_tokens_as_token_ids",
    "root_path", "safetensors_load_strategy", "safetensors_prefetch_block_size", "safetensors_prefetch_num_threads",
    "scheduling_policy", "seed", "served_model_name", "show_hidden_metrics_for_version", "shutdown_timeout",
    "sse_keep_alive_interval", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_ciphers", "ssl_keyfile",
    "stream_interval", "structured_outputs_config", "tensor_parallel_size", "tool_call_parser", "tool_strict_level",
    "uds", "use_tqdm_on_load", "uvicorn_log_level", "watermark",
})
# fmt: on
OWN = ("model", "additional_config", "worker_extension_cls")
ENVIRONMENT = ("VLLM_MODEL_REDIRECT_PATH", "VLLM_USE_FASTOKENS", "VLLM_USE_MODELSCOPE")
"""Variables that load another model or tokenizer. That weights are replaced later is seen when it happens."""


def overridden(args: Namespace, own: Namespace) -> tuple[str, ...]:
    """The operator's options that may change the function, sorted.

    Args:
        args: vLLM's arguments.
        own: Its arguments without the operator's own options.

    Returns:
        Their names as on the command line, such as "--dtype".

    Raises:
        InvalidInput: An option is one that `featurehub serve` sets itself.
    """
    changed = sorted(name for name, value in vars(args).items() if value != getattr(own, name, None))
    if "model_tag" in changed:
        raise InvalidInput(f"{args.model_tag!r} is one argument too many: MODEL comes first, then options")
    for name in OWN:
        if name in changed:
            raise InvalidInput(f"{option(name)} is not for vLLM here: `featurehub serve MODEL` sets it", param=name)
    return tuple(option(name) for name in changed if name not in HARMLESS)


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def overridden_environment(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the environment sets that may change the function.

    Args:
        environment: The environment's variables, such as ``os.environ``.

    Returns:
        Names of variables, and of vLLM plugins other than featurehub's.
    """
    on = [name for name in ENVIRONMENT if environment.get(name, "0").lower() not in ("", "0", "false")]
    named = {name for name in environment.get("VLLM_PLUGINS", "").split(",") if name}
    return (*on, *(f"the vLLM plugin {name}" for name in sorted(named - {"featurehub"})))


def check_weights(args: Namespace) -> None:
    """Refuses random weights.

    Args:
        args: vLLM's arguments.

    Raises:
        InvalidInput: vLLM was told to make up the weights.
    """
    if args.load_format == "dummy":
        raise InvalidInput(
            "--load-format dummy serves random weights, of which no SAE knows anything; leave it out, or start vLLM "
            "itself",
            param="load_format",
        )


def resolved(config: "VllmConfig", dtype: str) -> tuple[str, ...]:
    """Where the running engine differs from the checkpoint, whatever option, variable or platform is the reason.

    Args:
        config: The running engine's configuration.
        dtype: The checkpoint's precision, such as "bfloat16".

    Returns:
        A phrase for each difference: in precision, in the format of the weights, in the configuration.
    """
    model, found = config.model_config, []
    running = str(model.dtype).removeprefix("torch.")
    if running != dtype:
        found.append(f"the precision {running}, not the checkpoint's {dtype}")
    if config.load_config.load_format != LOAD_FORMAT:
        found.append(f"weights in the format {config.load_config.load_format}")
    if model.hf_overrides:
        found.append("an overridden configuration")
    return tuple(found)
