"""Contenders of ``harvest.py``, which asks for a number of documents of mixed lengths:

prefill          vLLM with no plugin reads them
harvest          featurehub captures the stream at the hook point
harvest-to-hook  the same, with the layers up to there alone
hooks-to-layer   transformers, batches sorted by length, whose forward pass ends at the hook
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from shapes import Asked, Contender, Shape


def documents(count: int) -> list[list[int]]:
    """Of mixed lengths, 16 to 255 tokens."""
    return [[10 + (7 * i + j) % 400 for j in range(16 + 37 * i % 240)] for i in range(count)]


def prefill(shape: Shape, folder: Path, compiled: bool) -> Contender:
    from vllm import LLM, SamplingParams, TokensPrompt

    from featurehub.engine.memory import Device, share_of
    from featurehub.engine.offline import EngineOptions, prepare_environment

    options = EngineOptions(dtype=shape.dtype, max_model_len=256, skip_tokenizer_init=True)
    prepare_environment()
    own = options.model_dump(exclude={"kv_cache_gib"})
    model = folder / "model"
    llm = LLM(str(model), disable_log_stats=True, **share_of(model, 1, Device.here()).as_options(), **own)
    params = SamplingParams(max_tokens=1, detokenize=False)

    def read(asked: Asked) -> int:
        ids = documents(asked.batch)
        llm.generate([TokensPrompt(prompt_token_ids=document) for document in ids], params, use_tqdm=False)
        return sum(map(len, ids))

    return read


def harvest(shape: Shape, folder: Path, compiled: bool, truncated: bool = False) -> Contender:
    from featurehub.artifacts.manifest import HookPoint
    from featurehub.engine.config import EngineConfig
    from featurehub.engine.offline import Engine, EngineOptions

    options = EngineOptions(dtype=shape.dtype, max_model_len=256, skip_tokenizer_init=True)
    config = EngineConfig.capturing(HookPoint(layer=shape.layer), truncated=truncated)
    engine = Engine(folder / "model", config, options)
    return lambda asked: sum(map(len, engine.capture(documents(asked.batch))))


def harvest_to_hook(shape: Shape, folder: Path, compiled: bool) -> Contender:
    return harvest(shape, folder, compiled, truncated=True)


class Stop(Exception):
    """Ends a forward pass at the hook."""


def hooks_to_layer(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """Sixteen documents at a time, sorted by length, so that little of it is padding."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder / "model", dtype=getattr(torch, shape.dtype)).eval()
    kept: list[Any] = []

    def keep(module: Any, inputs: Any, x: Any) -> None:
        kept.append(x.float())
        raise Stop

    model.layers[shape.layer].register_forward_hook(keep)

    def read(asked: Asked) -> int:
        ids = sorted(documents(asked.batch), key=len)
        for group in (ids[i : i + 16] for i in range(0, len(ids), 16)):
            longest = len(group[-1])
            padded = torch.tensor([each + [0] * (longest - len(each)) for each in group])
            mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in group])
            with torch.no_grad(), suppress(Stop):
                model(padded, attention_mask=mask, use_cache=False)
            kept.clear()
        return sum(map(len, ids))

    return read
