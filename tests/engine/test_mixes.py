"""Random mixes of requests on the real engine, each against its naive twin: edits, conditions, aborts, positions,
lengths, arrivals, an engine with room that shares prefixes, and one that preempts, chunks prompts.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vllm import RequestOutput, TokensPrompt

from featurehub.conditions import Positions
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Condition, LatentEdit, Read, Steering, When
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.features import Mode
from tests.engine.mixes import SAES, STEERINGS, Answered, check, naive_twin, params_of, report_of
from tests.engine.world import hooked

pytestmark = pytest.mark.engine

MAX_TOKENS = 32
# The shared prefix fills a block, so that it is there to be taken.
ROOMY = EngineOptions(max_num_seqs=8, max_num_batched_tokens=512, enable_prefix_caching=True, block_size=32)
# A few tokens of a prompt at a time where others decode, and memory for two or three of the six requests.
PRESSED = EngineOptions(
    max_num_seqs=6, max_num_batched_tokens=7, max_model_len=96, block_size=32,
    num_gpu_blocks_override=6,
)  # fmt: skip


class Asked(NamedTuple):
    """arrival: the engine step at which the request comes"""

    prompt: tuple[int, ...]
    steering: Steering
    arrival: int


# Some share a long prefix, so that blocks of the cache are there to be taken wrongly.
SHARED = tuple(range(20, 60))
PROMPTS = st.one_of(
    st.lists(st.integers(10, 400), min_size=1, max_size=40).map(tuple),
    st.lists(st.integers(10, 400), min_size=1, max_size=6).map(lambda tail: SHARED + tuple(tail)),
)
MIXES = st.lists(
    st.builds(Asked, prompt=PROMPTS, steering=STEERINGS, arrival=st.integers(0, 30)), min_size=4, max_size=6
)


COMPILED = PRESSED.model_copy(update={"enforce_eager": False})


@pytest.fixture(scope="module", params=[ROOMY, PRESSED, COMPILED], ids=["roomy", "pressed", "compiled"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(bundled_model(), hooked(tmp_path_factory.mktemp("saes"), SAES), request.param) as engine:
        yield engine


def run(engine: Engine, asked: Sequence[Asked]) -> list[Answered]:
    """All requests, each added at its step."""
    core: Any = engine.llm.llm_engine
    keys = [f"mix-{next(engine.keys)}" for _ in asked]
    waiting = sorted(range(len(asked)), key=lambda i: asked[i].arrival)
    done: dict[str, RequestOutput] = {}
    step = 0
    while len(done) < len(asked):
        while waiting and (asked[waiting[0]].arrival <= step or not core.has_unfinished_requests()):
            i = waiting.pop(0)
            steering = replace(asked[i].steering, report=keys[i])
            core.add_request(
                keys[i], TokensPrompt(prompt_token_ids=list(asked[i].prompt)), params_of(steering, MAX_TOKENS)
            )
        for output in core.step():
            if output.finished:
                done[output.request_id] = output
        step += 1
    return [answered(engine, done[key], key) for key in keys]


def answered(engine: Engine, output: RequestOutput, key: str) -> Answered:
    """A preempted request may find blocks of its own: what it computed is then no longer all but what was cached."""
    return Answered(list(output.outputs[0].token_ids), report_of(engine, key), output.num_cached_tokens or 0)


@settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(asked=MIXES)
def test_every_request_is_its_naive_twin(engine: Engine, asked: list[Asked]) -> None:
    for request, answered in zip(asked, run(engine, asked), strict=True):
        check(request.steering, answered, naive_twin(request.prompt, request.steering, MAX_TOKENS))


def burst() -> list[Asked]:
    """Six requests one after the other, each in need of a second block of memory before it is done."""
    lasting = When(conditions=(Condition(sae="a", latent=4, value=0.5, so_far=True),))
    nudge = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=20.0)
    steerings = [
        Steering(edits=(nudge,), positions=Positions.GENERATED),
        Steering(edits=(replace(nudge, when=lasting),)),
        Steering(edits=(LatentEdit(sae="c", latent=9, mode=Mode.PIN, value=60.0), nudge)),
        Steering(edits=(nudge,), reads=(Read(sae="c", top_k=3), Read(sae="a", latents=(1, 2)))),
        Steering(edits=(nudge,), positions=Positions.PROMPT),
        Steering(),
    ]
    return [Asked(tuple(range(20 + i, 50 + i)), steering, i) for i, steering in enumerate(steerings)]


def test_what_a_preempted_request_computes_again_is_steered_again_and_counted_once(engine: Engine) -> None:
    asked = burst()
    answers = run(engine, asked)
    for request, answered in zip(asked, answers, strict=True):
        check(request.steering, answered, naive_twin(request.prompt, request.steering, MAX_TOKENS))
    everywhere = [answers[i].report for i in (2, 3)]
    assert [report and report.steered_tokens for report in everywhere] == [30 + MAX_TOKENS - 1] * 2
    if engine.llm.llm_engine.vllm_config.cache_config.num_gpu_blocks == PRESSED.num_gpu_blocks_override:
        assert sum(answered.report.recomputed_tokens for answered in answers if answered.report is not None) > 0
