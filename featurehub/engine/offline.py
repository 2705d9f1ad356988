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
from msgspec.structs import replace
from torch import Tensor

from featurehub.artifacts.fingerprint import width_at
from featurehub.artifacts.manifest import HookPoint
from featurehub.edits import Steering
from featurehub.engine.captures import CAPTURES_KEPT, groups_of
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.hooked import FAMILIES, check_writes_text
from featurehub.engine.hookset import current, install
from featurehub.engine.loading import as_fingerprinted, shortened
from featurehub.engine.memory import Device, share_of
from featurehub.engine.plugin import register
from featurehub.engine.reports import REPORTS_KEPT
from featurehub.engine.worker import EXTENSION
from featurehub.errors import EngineError, SteeringLost, UnsupportedModel
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["Engine", "EngineOptions", "Generation", "Sampling"]


class EngineOptions(Frozen):
    """Size and precision of an offline engine. Names are those of vLLM's options where it has one.

    Attributes:
        dtype: A dtype as vLLM names it; "own" is the checkpoint's precision, the one that is served.
        max_model_len: Maximum number of tokens in a request, prompt and answer together; -1 is as many as the model
            allows and the KV cache holds.
        max_num_seqs: Maximum number of requests that run side by side.
        max_num_batched_tokens: Maximum number of tokens in a step.
        enforce_eager: Whether to run without torch.compile and captured graphs.
        enable_prefix_caching: Whether requests may share KV blocks of a common prefix.
        kv_cache_gib: Size of the KV cache in GiB. None is 1 on a CPU; on a GPU it is at most 4 and at most half of
            what the weights leave free, so that there is room to train beside the engine.
        block_size: Tokens in a KV block; None is vLLM's choice.
        num_gpu_blocks_override: Number of KV blocks; None is vLLM's choice.
        skip_tokenizer_init: Whether to work with token ids only, for models without a tokenizer.
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
    """How answers are drawn.

    Attributes:
        temperature: Sampling temperature; 0 always takes the most likely token.
        max_tokens: Maximum number of tokens in an answer.
        seed: Request i is seeded with ``seed + i``, so that a run can be repeated.
    """

    temperature: float = 0.7
    max_tokens: int = 96
    seed: int = 0


class Generation(NamedTuple):
    """One answer.

    Attributes:
        text: The answer's text.
        token_ids: Its tokens, without the prompt's.
        report: What steering did to it; None if none was asked for.
    """

    text: str
    token_ids: list[int]
    report: SteerReport | None


class Engine:
    """vLLM in this process, with hooks in the model. A context manager: ``close`` frees the memory.

    A process can have one open engine at a time.

    Args:
        model: Folder of the model's checkpoint.
        config: The hook points and the SAEs there.
        options: Size and precision; the defaults of ``EngineOptions`` if None.

    Attributes:
        model: Folder of the model's checkpoint.
        config: The hook points and the SAEs there.

    Raises:
        EngineError: Another engine is open in this process, or the GPU has no room for this one.
        ModelNotFound: The folder holds no checkpoint.
        UnsupportedModel: This model, or this vLLM, cannot take the hooks.
        IncompatibleArtifact: An SAE was trained on a model of another width.
        CorruptArtifact: The weights of an SAE cannot be read.
    """

    def __init__(self, model: Path, config: EngineConfig, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        prepare_environment()
        from vllm import LLM

        if current() is not None:
            raise EngineError("this process has an engine already; close it first")
        check_writes_text(model)
        # Before they are registered: this process builds the model itself.
        import_module(FAMILIES)
        register()
        loaded: dict[str, Any] = as_fingerprinted(model) | ({} if options.dtype == "own" else {"dtype": options.dtype})
        self.model, self.config = model, config
        self.keys = itertools.count()
        self.opened: Any = None
        # vLLM collects garbage several times while it boots, which need not look at all that was imported before. It
        # takes this back when it shuts down.
        gc.freeze()
        try:
            self.opened = LLM(
                str(model),
                additional_config=config.to_additional_config(),
                worker_extension_cls=EXTENSION,
                disable_log_stats=True,
                language_model_only=True,  # Nobody shows it images: what reads them is neither loaded nor profiled.
                use_tqdm_on_load=False,
                hf_overrides=shortened(model, config.depth) if config.truncated else {},
                **share_of(model, options.kv_cache_gib, Device.here()).as_options(),
                **options.model_dump(exclude={"dtype", "kv_cache_gib"}),
                **loaded,
            )
            if None in self.llm.collective_rpc("featurehub_findings"):
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
        """Frees the engine's memory, even while this object is still referenced. Safe to call again."""
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
        """vLLM's ``LLM``. Raises EngineError if the engine is closed."""
        if self.opened is None:
            raise EngineError("this engine is closed; open another")
        return self.opened

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, as vLLM loaded it."""
        return self.llm.get_tokenizer()

    @property
    def weights(self) -> str:
        """Identity of the weights as they lie on the device (``featurehub.engine.weights``)."""
        return self.llm.collective_rpc("featurehub_weights")[0][0]

    @property
    def longest(self) -> int:
        """Number of tokens of the longest document that it can capture: vLLM needs room for one more."""
        return self.llm.model_config.max_model_len - 1

    def capture(
        self, documents: Sequence[Sequence[int]], *points: HookPoint, steerings: Sequence[Steering] = ()
    ) -> list[Tensor]:
        """Captures the stream at hook points for every token of every document, in one pass.

        Args:
            documents: Token ids of each document; none may be longer than ``longest``.
            *points: Hook points to capture; the engine's first if none is named.
            steerings: What each document is read under; nothing if none is given. A stream is captured before it is
                edited at its own hook point.

        Returns:
            For each document a float32 tensor [tokens, columns], the hook points side by side, as wide as each is.

        Raises:
            InvalidEdit: A steering asks for something that the engine cannot do.
            SteeringLost: Steering did not run over every token that it should have.
        """
        asked = [(list(d), s) for d, s in zip(documents, steerings or [Steering()] * len(documents), strict=True)]
        widest = max(width_at(self.model, point) for point in points or [self.config.hooks[0].point])
        groups = groups_of(asked, CAPTURES_KEPT // (4 * max(widest, self.llm.model_config.get_hidden_size())))
        return [stream for group in groups for stream in self.capture_group(group, *points)]

    def capture_group(self, asked: Sequence[tuple[list[int], Steering]], *points: HookPoint) -> list[Tensor]:
        """``capture`` for no more documents than the worker can keep the streams of."""
        names = tuple(map(str, points or [self.config.hooks[0].point]))
        keyed = [replace(s, report=f"capture-{next(self.keys)}", capture=names) for _, s in asked]
        self.run([document for document, _ in asked], keyed, Sampling(temperature=0.0, max_tokens=1))
        for steering, report in zip(keyed, self.reports(keyed), strict=True):
            checked(steering, report)
        keys = [steering.report for steering in keyed]
        captured = [self.llm.collective_rpc("featurehub_captured", args=(keys, name))[0] for name in names]
        if len(names) == 1:
            return captured[0]
        return [torch.cat(streams, dim=1) for streams in zip(*captured, strict=True)]

    def generate(
        self, prompts: Sequence[Sequence[int]], steerings: Sequence[Steering | None], sampling: Sampling
    ) -> Iterator[Generation]:
        """Generates one answer per prompt, each under its own steering.

        Args:
            prompts: Token ids of each prompt.
            steerings: The steering of each prompt; None leaves the answer unsteered. Report keys are filled in.
            sampling: How answers are drawn.

        Yields:
            The answers, in the order of the prompts.

        Raises:
            InvalidEdit: A steering asks for something that the engine cannot do.
            SteeringLost: Steering did not run over every token that it should have, or activations were dropped.
        """
        keyed = [s and replace(s, report=f"generate-{next(self.keys)}") for s in steerings]
        # In groups: a worker drops the oldest reports beyond as many as this.
        for start in range(0, len(prompts), REPORTS_KEPT):
            group = slice(start, start + REPORTS_KEPT)
            seeded = sampling.model_copy(update={"seed": sampling.seed + start})
            outputs = self.run([list(prompt) for prompt in prompts[group]], keyed[group], seeded)
            for output, steering, report in zip(outputs, keyed[group], self.reports(keyed[group]), strict=True):
                answer = output.outputs[0]
                yield Generation(answer.text, list(answer.token_ids), checked(steering, report))

    def run(self, prompts: list[list[int]], steerings: Sequence[Steering | None], sampling: Sampling) -> list[Any]:
        """vLLM's outputs, one for each prompt."""
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

    def reports(self, steerings: Sequence[Steering | None]) -> list[SteerReport | None]:
        """Takes the reports of requests in one call; None for those of which none is kept."""
        keys = [steering.report for steering in steerings if steering]
        [wires] = self.llm.collective_rpc("featurehub_reports", args=(keys,))
        found = {key: SteerReport.sum_of(own) if own else None for key, own in zip(keys, wires, strict=True)}
        return [found[steering.report] if steering else None for steering in steerings]


def checked(steering: Steering | None, report: SteerReport | None) -> SteerReport | None:
    """A request's report; None if it asked for nothing. Raises SteeringLost."""
    if steering is None or steering.is_nothing:
        return None
    lost = report.lost(steering) if report else "the engine knows nothing of a request that asked for steering"
    if lost or (report and report.reads_lost):
        raise SteeringLost(lost or "activations were dropped for want of memory; ask for fewer at once")
    return report


def prepare_environment() -> None:
    """Sets environment variables that vLLM reads when it is imported or when the engine starts."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
