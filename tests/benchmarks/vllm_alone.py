"""vLLM as every contender that has it starts it, and a batch that it answers."""

import os
from pathlib import Path
from typing import Any

from shapes import CONTEXT, CROWD, PROMPT, Asked, Shape

__all__ = ["GPU_SHARE", "generate", "prompts", "tokens_of", "vllm_engine"]

GPU_SHARE = "GPU_SHARE"
"""The variable that says to a contender how much of a GPU is its own."""


def prompts(batch: int) -> list[list[int]]:
    return [[10 + (7 * i + j) % 400 for j in range(PROMPT)] for i in range(batch)]


def vllm_engine(shape: Shape, folder: Path, compiled: bool, **options: Any) -> Any:
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    import torch
    from vllm import LLM

    options["dtype"] = shape.dtype
    if torch.cuda.is_available():
        options["gpu_memory_utilization"] = float(os.environ[GPU_SHARE])
    return LLM(
        str(folder / "model"),
        load_format="dummy",
        enforce_eager=not compiled,
        enable_prefix_caching=False,
        max_num_seqs=CROWD,
        max_model_len=CONTEXT,
        skip_tokenizer_init=True,
        disable_log_stats=True,
        **options,
    )


def generate(llm: Any, asked: Asked, extra_args: list[dict[str, Any] | None]) -> list[Any]:
    """extra_args: of each request"""
    from vllm import SamplingParams, TokensPrompt

    options: dict[str, Any] = {"max_tokens": asked.tokens, "ignore_eos": True, "detokenize": False}
    temperature = 0.0 if asked.greedy else 0.7
    params = [SamplingParams(temperature=temperature, extra_args=each, **options) for each in extra_args]
    inputs = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts(len(params))]
    return llm.generate(inputs, params, use_tqdm=False)


def tokens_of(outputs: list[Any]) -> list[list[int]]:
    return [list(output.outputs[0].token_ids) for output in outputs]
