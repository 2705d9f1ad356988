"""Chats of several turns whose edits change, on an engine with small KV blocks that fill and are shared.

Every turn is asked twice, beside the same turn of another chat, and once more alone with an empty cache: each answer is
its naive twin's, token by token, whatever was in the cache.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from vllm import TokensPrompt

from featurehub.conditions import Positions
from featurehub.demo.bundle import bundled_model
from featurehub.edits import Condition, LatentEdit, Steering, When
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.features import Mode
from tests.engine import twin
from tests.engine.mixes import CONDITIONS, EDITS, SAES, STEERINGS, Answered, check, naive_twin, params_of, report_of
from tests.engine.world import hooked

pytestmark = pytest.mark.engine

BLOCK, MAX_TOKENS = 32, 32
OPTIONS = EngineOptions(max_num_seqs=4, max_num_batched_tokens=256, enable_prefix_caching=True, block_size=BLOCK)
SYSTEM = tuple(range(20, 48))


class Asked(NamedTuple):
    prompt: tuple[int, ...]
    steering: Steering


class Turn(NamedTuple):
    """user: what it adds to the chat;  steering: which of the example's"""

    user: tuple[int, ...]
    steering: int


def of_now(conditions: list[Condition]) -> tuple[Condition, ...]:
    """None of them asks what was so far, which would need every token."""
    return tuple(replace(condition, so_far=False) for condition in conditions)


def with_when(edit: LatentEdit, when: When | None) -> LatentEdit:
    return replace(edit, when=when)


class Talk(NamedTuple):
    """Two chats, turn by turn, and the steerings that their turns take."""

    steerings: list[Steering]
    turns: list[tuple[Turn, Turn]]


NUDGE = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=20.0)
NOW = st.builds(When, conditions=st.lists(CONDITIONS, min_size=1, max_size=2).map(of_now), any=st.booleans())
# Of these, blocks may be shared; of the others in STEERINGS many are alone.
SHAREABLE = st.builds(
    Steering,
    edits=st.lists(st.builds(with_when, EDITS, st.none() | NOW), min_size=1, max_size=3).map(tuple),
    positions=st.sampled_from(Positions),
)
TURNS = st.builds(Turn, st.lists(st.integers(10, 400), min_size=2, max_size=8).map(tuple), st.integers(0, 1))
TALKS = st.builds(
    Talk,
    steerings=st.lists(st.one_of(SHAREABLE, SHAREABLE, STEERINGS), min_size=2, max_size=2),
    turns=st.lists(st.tuples(TURNS, TURNS), min_size=2, max_size=3),
)


def lasting(positions: Positions) -> Talk:
    """The same edit in every turn."""
    turns = [tuple(Turn(tuple(range(at, at + 8)), 0) for at in (60 + 20 * turn, 70 + 20 * turn)) for turn in range(3)]
    return Talk([Steering(edits=(NUDGE,), positions=positions)], turns)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(bundled_model(), hooked(tmp_path_factory.mktemp("saes"), SAES), OPTIONS) as engine:
        yield engine


def ask(engine: Engine, asked: Sequence[Asked]) -> list[Answered]:
    keyed = [replace(each.steering, report=f"turn-{next(engine.keys)}") for each in asked]
    prompts = [TokensPrompt(prompt_token_ids=list(each.prompt)) for each in asked]
    outputs = engine.llm.generate(prompts, [params_of(each, MAX_TOKENS) for each in keyed], use_tqdm=False)
    return [
        Answered(list(output.outputs[0].token_ids), report_of(engine, each.report), output.num_cached_tokens or 0)
        for output, each in zip(outputs, keyed, strict=True)
    ]


def test_every_turn_is_its_naive_twin_whatever_is_in_the_cache(engine: Engine) -> None:
    hits: Counter[str] = Counter()

    @settings(
        max_examples=4,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(talk=TALKS)
    @example(talk=lasting(Positions.ALL))
    @example(talk=lasting(Positions.GENERATED))
    @example(talk=lasting(Positions.PROMPT))
    def every_turn(talk: Talk) -> None:
        engine.llm.reset_prefix_cache()
        for asked, naive in held(engine, talk, hits):
            engine.llm.reset_prefix_cache()
            [cold] = ask(engine, [asked])
            assert not cold.cached
            check(asked.steering, cold, naive)

    every_turn()
    assert hits["next turn"] >= 4, hits
    assert hits["same turn"] >= 12, hits


def held(engine: Engine, talk: Talk, hits: Counter[str]) -> list[tuple[Asked, twin.Twin]]:
    """Holds the chats, each turn asked twice; all that was asked, with its twin."""
    histories, everything = [SYSTEM, SYSTEM], list[tuple[Asked, twin.Twin]]()
    for number, turns in enumerate(talk.turns):
        asked = [
            Asked(history + turn.user, talk.steerings[turn.steering])
            for history, turn in zip(histories, turns, strict=True)
        ]
        twins = [naive_twin(each.prompt, each.steering, MAX_TOKENS) for each in asked]
        for kind in ("next turn" if number else "first turn", "same turn"):
            answers = ask(engine, asked)
            for each, answered, naive in zip(asked, answers, twins, strict=True):
                check(each.steering, answered, naive)
                hits[kind] += answered.cached > 0
        histories = [each.prompt + tuple(a.token_ids) for each, a in zip(asked, answers, strict=True)]
        everything += zip(asked, twins, strict=True)
    return everything
