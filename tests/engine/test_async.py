"""``AsyncLLM``, the frontend under vLLM's own server: admission, and whose KV blocks are taken by whom."""

import asyncio
import gc
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from vllm import SamplingParams, TokensPrompt
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.input_processor import InputProcessor

from api.vllm_engine import VllmEngine
from featurehub.conditions import Op, Positions
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
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
ALWAYS = When(conditions=(Condition(sae="test", latent=1, op=Op.BELOW, value=1e6),))
GUARD = Steering(aborts=(Abort(event="always", when=ALWAYS),), reads=(Read(sae="test", top_k=2),), report="guard")


class Frontend:
    """An engine in a process of its own, and the naive twin of what it should say."""

    def __init__(self, llm: AsyncLLM, dictionary: Dictionary) -> None:
        self.llm = llm
        self.saes = {"layers.3.resid_post": {"test": dictionary}}
        self.twins: dict[tuple[tuple[int, ...], Steering], twin.Twin] = {}
        self.asked = 0

    async def ask(
        self, prompt: list[int], steering: Steering, tenant: str | None = None, request_id: str = "",
        carried: str | None = None,
    ) -> tuple[list[int], int]:  # fmt: skip
        """The answer, and how many tokens of the prompt came from the cache."""
        extra = None if steering.is_nothing else {KEY: carried or steering.to_request()}
        heeds = bool(steering.aborts)
        params = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=not heeds, extra_args=extra)
        inputs = TokensPrompt(prompt_token_ids=prompt)
        if tenant is not None:
            inputs["cache_salt"] = tenant
        self.asked += 1
        outputs = [output async for output in self.llm.generate(inputs, params, request_id or f"async-{self.asked}")]
        return list(outputs[-1].outputs[0].token_ids), int(outputs[-1].num_cached_tokens or 0)

    async def report(self, key: str) -> SteerReport:
        [[wires]] = await self.llm.collective_rpc("featurehub_reports", args=([key],))
        return SteerReport.sum_of(wires)

    async def checked(self, prompt: list[int], steering: Steering, tenant: str | None = None) -> tuple[list[int], int]:
        """``ask``, held against transformers without any cache."""
        answer, cached = await self.ask(prompt, steering, tenant)
        asked = (tuple(prompt), steering)
        if asked not in self.twins:
            self.twins[asked] = twin.decode(prompt, steering, self.saes, TOKENS, ignore_eos=True)
        assert self.twins[asked].agrees(answer)
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


async def tokens_of_the_last_answer_are_prompt_in_the_next_turn(frontend: Frontend) -> None:
    """Where edits heed that, its blocks are not what the turn needs; the same turn asked again finds its own."""
    for positions in (Positions.GENERATED, Positions.PROMPT):
        steering = replace(STEERED, positions=positions)
        await frontend.llm.reset_prefix_cache()
        answer, _ = await frontend.checked(PROMPT, steering)
        turn = PROMPT + answer
        assert (await frontend.checked(turn, steering))[1] == 0
        assert (await frontend.checked(turn, steering))[1] == (len(turn) - 1) // BLOCK * BLOCK


async def a_repeated_request_id_is_another_request(frontend: Frontend) -> None:
    """A guard over the prompt sees it again, and every token is read again, whatever id a client sends."""
    await frontend.llm.reset_prefix_cache()
    for _ in range(2):
        answer, cached = await frontend.ask(PROMPT, GUARD, request_id="the same")
        report = await frontend.report("guard")
        assert (cached, answer) == (0, [twin.eos()])
        assert not report.lost(GUARD)
        assert report.aborted is not None
        assert (report.aborted.position, report.recomputed_tokens) == (0, 0)
        read = [token.position for token in report.activations or ()]
        assert read[: len(PROMPT)] == list(range(len(PROMPT)))


async def the_report_is_there(frontend: Frontend) -> None:
    await frontend.ask(PROMPT, STEERED)
    report = await frontend.report("steered")
    assert not report.lost(STEERED)
    assert report.steered_tokens > 0


async def what_did_not_come_through_admission_is_not_steered_and_says_so(frontend: Frontend) -> None:
    """As where the plugin is missing from the frontend's process."""
    await frontend.llm.reset_prefix_cache()
    processor: Any = frontend.llm.input_processor
    admitting, unwrapped = processor.process_inputs_async, InputProcessor.process_inputs.__wrapped__  # type: ignore[attr-defined]

    async def unadmitted(*args: Any, **kwargs: Any) -> Any:
        return unwrapped(processor, *args, **kwargs)

    processor.process_inputs_async = unadmitted
    try:
        answer, _ = await frontend.ask(PROMPT, STEERED)
    finally:
        processor.process_inputs_async = admitting
    assert "did not come through" in (await frontend.report("steered")).lost(STEERED)
    plain, cached = await frontend.checked(PROMPT, PLAIN)
    assert (answer, cached) == (plain, 2 * BLOCK)


async def what_the_engine_cannot_do_is_refused(frontend: Frontend) -> None:
    beyond = replace(STEERED, edits=(replace(STEERED.edits[0], latent=99_999),))
    with pytest.raises(InvalidEdit, match="latent 99999") as refused:
        await frontend.ask(PROMPT, beyond)
    assert isinstance(refused.value, VLLMClientError)  # vLLM's own server answers 400.
    assert await frontend.ask(PROMPT, PLAIN)


async def what_a_client_wrote_itself_is_refused(frontend: Frontend) -> None:
    """On routes that hand whole sampling parameters to the engine."""
    with pytest.raises(VLLMClientError, match="name features in the request's body"):
        await frontend.ask(PROMPT, STEERED, carried=STEERED.to_json())


async def the_routes_client_answers_and_scores_as_transformers_does(frontend: Frontend) -> None:
    engine = VllmEngine(frontend.llm)
    answer = await engine.generate(PROMPT, STEERED, tokens=TOKENS, temperature=0.0, seed=0)
    assert twin.decode(PROMPT, STEERED, frontend.saes, TOKENS).agrees(answer)
    whole = PROMPT + answer
    with torch.no_grad():
        expected = twin.model()(torch.tensor([whole])).logits[0].log_softmax(-1)
    for start in (1, len(PROMPT)):  # The second time, the prompt is in the cache.
        wanted = [float(expected[at - 1, whole[at]]) for at in range(start, len(whole))]
        assert await engine.likelihoods(whole, start) == pytest.approx(wanted, abs=1e-3)


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
        await tokens_of_the_last_answer_are_prompt_in_the_next_turn(frontend)
        await a_repeated_request_id_is_another_request(frontend)
        await the_report_is_there(frontend)
        await what_did_not_come_through_admission_is_not_steered_and_says_so(frontend)
        await what_the_engine_cannot_do_is_refused(frontend)
        await what_a_client_wrote_itself_is_refused(frontend)
        await the_routes_client_answers_and_scores_as_transformers_does(frontend)
    finally:
        llm.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # vLLM leaves a ZeroMQ context to the garbage collector.
def test_async_llm_admits_separates_and_reports(
    config: EngineConfig, dictionary: Dictionary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One boot for all scenarios. Request ids are the client's, as operators may have it."""
    monkeypatch.setenv("VLLM_DISABLE_REQUEST_ID_RANDOMIZATION", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    asyncio.run(run(config, dictionary))
    gc.collect()
