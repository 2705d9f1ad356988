"""An engine in this process, for work that no client waits for: harvesting, calibration, drift checks.

The same vLLM, the same hook and the same op as in serving. Starting the first one costs the imports of vLLM; each
further one in the same process takes seconds.
"""

import gc
import itertools
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Steering
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.hooked import FAMILIES
from featurehub.engine.hookset import REPORTS_KEPT, current, install
from featurehub.engine.loading import as_fingerprinted
from featurehub.engine.memory import Device, share_of
from featurehub.engine.plugin import register
from featurehub.engine.reading import CAPTURES_KEPT
from featurehub.engine.worker import EXTENSION
from featurehub.errors import EngineError, SteeringLost, UnsupportedModel
from featurehub.families import check_architecture
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["Engine", "EngineOptions", "Generation", "Sampling"]


class EngineOptions(Frozen):
    """Size of the offline engine.

    dtype:                  as vLLM names it; "own" is the checkpoint's, as it is served
    max_model_len:          tokens of a request; -1 is as many as the model has and the KV cache holds
    max_num_seqs:           requests that run side by side
    max_num_batched_tokens: tokens per step
    kv_cache_gib:           memory of the KV cache; None is 1 on a CPU, and on a GPU at most 4, and at most half of what
                            is free beside the weights: the rest is for what is trained there
    block_size, num_gpu_blocks_override: tokens of a KV block, and how many blocks there are; None is vLLM's choice
    skip_tokenizer_init:    token ids only, for models without a tokenizer
    """

    dtype: str = "own"
    max_model_len: int = -1
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    enforce_eager: bool = True
    enable_prefix_caching: bool = False
    kv_cache_gib: int | None = None
    block_size: int | None = None
    num_gpu_blocks_override: int | None = None
    skip_tokenizer_init: bool = False


class Sampling(Frozen):
    """How answers are drawn. ``seed`` + the request's index seeds each request, so that a run can be repeated."""

    temperature: float = 0.7
    max_tokens: int = 96
    seed: int = 0


class Generation(NamedTuple):
    """One answer; ``report`` is None where no steering was asked for."""

    text: str
    token_ids: list[int]
    report: SteerReport | None


class Engine:
    """vLLM over ``model``, with hooks where ``config`` says. A context manager; ``close`` frees the memory.

    One at a time in a process. Raises EngineError where another is open or the GPU has no room, UnsupportedModel,
    IncompatibleArtifact.
    """

    def __init__(self, model: Path, config: EngineConfig, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        prepare_environment()
        from vllm import LLM

        if current() is not None:
            raise EngineError("this process has an engine already; close it first")
        # Before they are registered: this process builds the model itself.
        import_module(FAMILIES)
        register()
        own = as_fingerprinted(model)
        loaded: dict[str, Any] = own if options.dtype == "own" else own | {"dtype": options.dtype}
        self.config = config
        self.keys = itertools.count()
        self.opened: Any = None
        try:
            self.opened = LLM(
                str(model),
                additional_config=config.to_additional_config(),
                worker_extension_cls=EXTENSION,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                hf_overrides={"num_hidden_layers": config.depth} if config.truncated else {},
                **share_of(model, options.kv_cache_gib, Device.here()).as_options(),
                **options.model_dump(exclude={"dtype", "kv_cache_gib"}),
                **loaded,
            )
            check_architecture(self.llm.model_config.architecture)
            if not all(self.llm.collective_rpc("featurehub_ready")):
                raise UnsupportedModel(f"the hook did not reach the model in {model}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the engine's memory, whoever still holds this object. Safe to call again."""
        llm, self.opened = self.opened, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
        # vLLM keeps the model, and with it the KV cache, as long as there is an LLM. The hooks hold the SAEs.
        del llm
        install(None)
        for _ in range(2):  # the first collects the LLM, and the model that is let go then holds itself
            gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def llm(self) -> Any:
        """Raises EngineError once the engine is closed."""
        if self.opened is None:
            raise EngineError("this engine is closed; open another")
        return self.opened

    @property
    def tokenizer(self) -> Any:
        return self.llm.get_tokenizer()

    @property
    def longest(self) -> int:
        """Tokens of the longest document that it reads: vLLM wants room for one more."""
        return self.llm.model_config.max_model_len - 1

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        """The stream at hook points (the first, unless some are named) for every token of every document, in one pass.

        One [tokens, points · d_model] float32 tensor each, with the hook points side by side.
        """
        whole = [list(document) for document in documents]
        groups = groups_of(whole, CAPTURES_KEPT // (4 * self.llm.model_config.get_hidden_size()))
        return [stream for group in groups for stream in self.capture_group(group, *points)]

    def capture_group(self, documents: list[list[int]], *points: HookPoint) -> list[Tensor]:
        """``capture`` for as many documents as the worker keeps the streams of."""
        names = tuple(map(str, points or [self.config.hooks[0].point]))
        keys = [f"capture-{next(self.keys)}" for _ in documents]
        steerings = [Steering(report=key, capture=names) for key in keys]
        self.run(documents, steerings, Sampling(temperature=0.0, max_tokens=1))
        captured = [self.llm.collective_rpc("featurehub_captured", args=(keys, name))[0] for name in names]
        if len(names) == 1:
            return captured[0]
        return [torch.cat(streams, dim=1) for streams in zip(*captured, strict=True)]

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        """One answer per prompt (token ids), each under its own steering.

        Raises InvalidEdit for edits that the engine cannot do, and SteeringLost where an answer's steered tokens are
        not the ones that were asked for.
        """
        keyed = [s and s.model_copy(update={"report": f"generate-{next(self.keys)}"}) for s in steerings]
        # In groups: a worker drops the oldest reports beyond as many as this.
        for start in range(0, len(prompts), REPORTS_KEPT):
            group = slice(start, start + REPORTS_KEPT)
            seeded = sampling.model_copy(update={"seed": sampling.seed + start})
            outputs = self.run([list(prompt) for prompt in prompts[group]], keyed[group], seeded)
            for output, steering in zip(outputs, keyed[group], strict=True):
                answer = output.outputs[0]
                yield Generation(answer.text, list(answer.token_ids), self.report(steering))

    def run(self, prompts: list[list[int]], steerings: Sequence[Steering | None], sampling: Sampling) -> list[Any]:
        from vllm import SamplingParams, TokensPrompt

        params = [
            SamplingParams(
                temperature=sampling.temperature,
                max_tokens=sampling.max_tokens,
                seed=sampling.seed + i,
                extra_args={KEY: steering.to_request()} if steering else None,
            )
            for i, steering in enumerate(steerings)
        ]
        inputs = [TokensPrompt(prompt_token_ids=prompt) for prompt in prompts]
        return self.llm.generate(inputs, params, use_tqdm=False)

    def report(self, steering: Steering | None) -> SteerReport | None:
        if steering is None or steering.is_nothing:
            return None
        [wire] = self.llm.collective_rpc("featurehub_report", args=(steering.report,))
        if wire is None:
            raise SteeringLost("the engine knows nothing of a request that asked for steering")
        report = SteerReport.model_validate(wire)
        if lost := report.lost(steering):
            raise SteeringLost(lost)
        if report.reads_lost:
            raise SteeringLost("activations were dropped for want of memory; ask for fewer at once")
        return report


def groups_of(documents: Sequence[list[int]], tokens: int) -> Iterator[list[list[int]]]:
    """The documents, as many at a time as have ``tokens`` tokens together; at least one."""
    group: list[list[int]] = []
    room = tokens
    for document in documents:
        if group and len(document) > room:
            yield group
            group, room = [], tokens
        group.append(document)
        room -= len(document)
    if group:
        yield group


def prepare_environment() -> None:
    """vLLM reads these when it is imported or when the engine starts."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
