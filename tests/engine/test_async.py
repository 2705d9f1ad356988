"""``AsyncLLM``, the frontend under vLLM's own server: admission, and whose KV blocks are taken by whom."""

import asyncio
import gc
from typing import Any

import pytest
from vllm import SamplingParams, TokensPrompt
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.v1.engine.async_llm import AsyncLLM

from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.plugin import register
from featurehub.engine.worker import EXTENSION
from featurehub.errors import InvalidEdit
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine import twin

pytestmark = pytest.mark.engine

BLOCK, TOKENS = 32, 40
PROMPT = list(range(20, 20 + 2 * BLOCK + 5))
STEERED = Steering(edits=(LatentEdit(sae="test", latent=3, mode=Mode.NUDGE, value=40.0),), report="steered")
PLAIN = Steering()


class Frontend:
    """An engine in a process of its own, and the naive twin of what it should say."""

    def __init__(self, llm: AsyncLLM, dictionary: Dictionary) -> None:
        self.llm = llm
        self.saes = {"layers.3.resid_post": {"test": dictionary}}
        self.asked = 0

    async def ask(self, prompt: list[int], steering: Steering, tenant: str | None = None) -> tuple[list[int], int]:
        """The answer, and how many tokens of the prompt came from the cache."""
        extra = None if steering.is_nothing else {KEY: steering.to_request()}
        params = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True, extra_args=extra)
        inputs = TokensPrompt(prompt_token_ids=prompt)
        if tenant is not None:
            inputs["cache_salt"] = tenant
        self.asked += 1
        outputs = [output async for output in self.llm.generate(inputs, params, f"async-{self.asked}")]
        return list(outputs[-1].outputs[0].token_ids), int(outputs[-1].num_cached_tokens or 0)

    async def checked(self, prompt: list[int], steering: Steering, tenant: str | None = None) -> tuple[list[int], int]:
        """``ask``, held against transformers without any cache."""
        answer, cached = await self.ask(prompt, steering, tenant)
        assert twin.decode(prompt, steering, self.saes, TOKENS, ignore_eos=True).agrees(answer)
        return answer, cached


async def blocks_are_shared_by_those_who_ask_for_the_same(frontend: Frontend) -> None:
    """Blocks of prompts and of answers, in both directions: what the second turn of a chat finds in the cache."""
    for first, second in [(STEERED, PLAIN), (PLAIN, STEERED)]:
        await frontend.llm.reset_prefix_cache()
        answer, cached = await frontend.checked(PROMPT, first)
        assert cached == 0
        turn = PROMPT + answer
        assert (await frontend.checked(turn, second))[1] == 0
        assert (await frontend.checked(turn, first))[1] == (len(turn) - 1) // BLOCK * BLOCK
        assert (await frontend.checked(turn, first, tenant="another"))[1] == 0


async def the_report_is_there(frontend: Frontend) -> None:
    await frontend.ask(PROMPT, STEERED)
    [wire] = await frontend.llm.collective_rpc("featurehub_report", args=("steered",))
    report = SteerReport.model_validate(wire)
    assert report.complete
    assert report.steered_tokens > 0


async def what_the_engine_cannot_do_is_refused(frontend: Frontend) -> None:
    beyond = STEERED.model_copy(update={"edits": (STEERED.edits[0].model_copy(update={"latent": 99_999}),)})
    with pytest.raises(InvalidEdit, match="latent 99999") as refused:
        await frontend.ask(PROMPT, beyond)
    assert isinstance(refused.value, VLLMClientError)  # vLLM's own server answers 400.
    assert await frontend.ask(PROMPT, PLAIN)


def make_llm(config: EngineConfig) -> AsyncLLM:
    register()
    options: dict[str, Any] = {
        "additional_config": config.to_additional_config(), "worker_extension_cls": EXTENSION,
        "enforce_eager": True, "enable_prefix_caching": True, "block_size": BLOCK, "max_num_seqs": 8,
    }  # fmt: skip
    return AsyncLLM.from_engine_args(AsyncEngineArgs(str(bundled_model()), dtype="float32", **options))


async def run(config: EngineConfig, dictionary: Dictionary) -> None:
    llm = make_llm(config)
    try:
        frontend = Frontend(llm, dictionary)
        await blocks_are_shared_by_those_who_ask_for_the_same(frontend)
        await the_report_is_there(frontend)
        await what_the_engine_cannot_do_is_refused(frontend)
    finally:
        llm.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # vLLM leaves a ZeroMQ context to the garbage collector.
def test_async_llm_admits_separates_and_reports(
    config: EngineConfig, dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One boot for the three scenarios."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    asyncio.run(run(config, dictionary))
    gc.collect()
