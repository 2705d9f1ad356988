"""Random mixes of requests on the real engine, each against its naive twin: edits, conditions, aborts, positions,
lengths, arrivals, an engine with room that shares prefixes, and one that preempts, chunks prompts.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from vllm import SamplingParams, TokensPrompt

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Op, Positions
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import KEY
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine import twin
from tests.engine.world import hooked, unit_dictionary

pytestmark = pytest.mark.engine

D_MODEL, D_SAE, MAX_TOKENS = 192, 64, 32
EARLY, LATE = HookPoint(layer=1), HookPoint(layer=3)
ROOMY = EngineOptions(max_num_seqs=8, max_num_batched_tokens=512, enable_prefix_caching=True)
# A few tokens of a prompt at a time where others decode, and memory for two or three of the six requests.
PRESSED = EngineOptions(
    max_num_seqs=6, max_num_batched_tokens=7, max_model_len=96, block_size=32,
    num_gpu_blocks_override=6,
)  # fmt: skip


SAES = {
    EARLY: {name: unit_dictionary(seed, D_MODEL, D_SAE, 0.5) for name, seed in [("a", 1), ("b", 2)]},
    LATE: {"c": unit_dictionary(3, D_MODEL, D_SAE, 0.5)},
}
DICTIONARIES = {str(point): saes for point, saes in SAES.items()}


class Asked(NamedTuple):
    """arrival: the engine step at which the request comes"""

    prompt: tuple[int, ...]
    steering: Steering
    arrival: int


CONDITIONS = st.builds(
    Condition,
    sae=st.sampled_from("ab"),
    latent=st.integers(0, D_SAE - 1),
    op=st.sampled_from(Op),
    value=st.sampled_from([0.5, 2.0, 4.0]),
    so_far=st.booleans(),
)
WHEN = st.builds(When, conditions=st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple), any=st.booleans())
EDITS = st.builds(
    LatentEdit,
    sae=st.sampled_from("abc"),
    latent=st.integers(0, D_SAE - 1),
    mode=st.sampled_from(Mode),
    value=st.sampled_from([-30.0, -2.0, 0.0, 20.0, 60.0]),
    when=st.one_of(st.none(), WHEN),
)
ABORTS = st.builds(Abort, event=st.just("stop"), when=WHEN, positions=st.sampled_from(Positions))
STEERINGS = st.builds(
    Steering,
    edits=st.lists(EDITS, max_size=4).map(tuple),
    positions=st.sampled_from(Positions),
    dose_max=st.sampled_from([0.3, 1.0]),
    aborts=st.one_of(st.just(()), st.just(()), ABORTS.map(lambda abort: (abort,))),
    reads=st.sampled_from([(), (), (Read(sae="c", top_k=3), Read(sae="a", latents=(1, 2)))]),
)
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


class Answered(NamedTuple):
    token_ids: list[int]
    report: SteerReport | None


def run(engine: Engine, asked: Sequence[Asked]) -> list[Answered]:
    """All requests, each added at its step."""
    core: Any = engine.llm.llm_engine
    keys = [f"mix-{next(engine.keys)}" for _ in asked]
    waiting = sorted(range(len(asked)), key=lambda i: asked[i].arrival)
    done: dict[str, list[int]] = {}
    step = 0
    while len(done) < len(asked):
        while waiting and (asked[waiting[0]].arrival <= step or not core.has_unfinished_requests()):
            i = waiting.pop(0)
            steering = asked[i].steering.model_copy(update={"report": keys[i]})
            core.add_request(keys[i], TokensPrompt(prompt_token_ids=list(asked[i].prompt)), params_of(steering))
        for output in core.step():
            if output.finished:
                done[output.request_id] = list(output.outputs[0].token_ids)
        step += 1
    return [Answered(done[key], report_of(engine, key)) for key in keys]


def naive_twin(request: Asked) -> twin.Twin:
    """Only an answer with aborts, which need it, heeds the end of sequence; others go on to their full length."""
    heeds = bool(request.steering.aborts)
    return twin.decode(list(request.prompt), request.steering, DICTIONARIES, MAX_TOKENS, ignore_eos=not heeds)


def params_of(steering: Steering) -> SamplingParams:
    return SamplingParams(
        temperature=0.0,
        max_tokens=MAX_TOKENS,
        ignore_eos=not steering.aborts,
        extra_args={KEY: steering.to_request()},
    )


def report_of(engine: Engine, key: str) -> SteerReport | None:
    [wire] = engine.llm.collective_rpc("featurehub_report", args=(key,))
    return SteerReport.model_validate(wire) if wire is not None else None


@settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(asked=MIXES)
def test_every_request_is_its_naive_twin(engine: Engine, asked: list[Asked]) -> None:
    for request, answered in zip(asked, run(engine, asked), strict=True):
        naive = naive_twin(request)
        check(request, answered, naive)


def check(request: Asked, answered: Answered, naive: twin.Twin) -> None:
    ids = answered.token_ids
    report = answered.report
    aborted = report.aborted if report is not None else None
    if aborted is not None and ids[-1] == twin.eos():
        ids = ids[:-1]
    assert naive.agrees(ids), (ids, naive.token_ids, naive.close)
    if request.steering.is_nothing or len(ids) > naive.close:
        return
    assert report is not None
    assert report.complete
    events = [position for position in range(naive.computed) if naive.reference.event(position)]
    assert (aborted and aborted.position) == (events[0] if events else None)
    if request.steering.reads:
        assert report.activations is not None
        assert [t.position for t in report.activations if t.sae == "c"] == list(range(naive.computed))


def burst() -> list[Asked]:
    """Six requests one after the other, each in need of a second block of memory before it is done."""
    lasting = When(conditions=(Condition(sae="a", latent=4, value=0.5, so_far=True),))
    nudge = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=20.0)
    steerings = [
        Steering(edits=(nudge,), positions=Positions.GENERATED),
        Steering(edits=(nudge.model_copy(update={"when": lasting}),)),
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
        check(request, answered, naive_twin(request))
    everywhere = [answers[i].report for i in (2, 3)]
    assert [report and report.steered_tokens for report in everywhere] == [30 + MAX_TOKENS - 1] * 2
    if engine.llm.llm_engine.vllm_config.cache_config.num_gpu_blocks == PRESSED.num_gpu_blocks_override:
        assert sum(answered.report.recomputed_tokens for answered in answers if answered.report is not None) > 0
