"""The hook in the real vLLM, against Hugging Face transformers with the naive equation."""

from collections.abc import Callable, Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM

from featurehub.conditions import Positions
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Read, Steering
from featurehub.engine.hookset import current
from featurehub.engine.offline import Engine, Generation, Sampling
from featurehub.errors import InvalidEdit, SteeringLost
from featurehub.features import Mode
from tests.engine import twin

pytestmark = pytest.mark.engine

GREEDY = Sampling(temperature=0.0, max_tokens=24)
NUDGE = LatentEdit(latent=3, mode=Mode.NUDGE, value=40.0)
PIN = LatentEdit(latent=7, mode=Mode.PIN, value=60.0)
MUL = LatentEdit(latent=11, mode=Mode.MUL, value=-3.0)
ABLATE = LatentEdit(latent=90, mode=Mode.ABLATE)
MIXED = (NUDGE, PIN, MUL, ABLATE)


def steer(*edits: LatentEdit, positions: Positions = Positions.ALL, dose_max: float = 1.0) -> Steering:
    return Steering(edits=edits, positions=positions, dose_max=dose_max)


def answers(
    engine: Engine, prompts: Sequence[list[int]], steerings: Sequence[Steering | None], sampling: Sampling = GREEDY
) -> list[Generation]:
    return list(engine.generate(prompts, steerings, sampling))


def tokens(generations: Sequence[Generation]) -> list[list[int]]:
    return [generation.token_ids for generation in generations]


@pytest.fixture(scope="module")
def reference(dictionary: Dictionary) -> Callable[[list[int], Steering], list[int]]:
    """Greedy decoding by transformers with the naive equation."""
    saes = {"layers.3.resid_post": {"": dictionary}}
    return lambda prompt, steering: twin.decode(prompt, steering, saes, GREEDY.max_tokens).token_ids


def test_captured_streams_are_those_of_transformers(engine: Engine, prompts: list[list[int]]) -> None:
    model = AutoModelForCausalLM.from_pretrained(bundled_model(), dtype=torch.float32)
    for prompt, captured in zip(prompts, engine.capture(prompts), strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[4][0]
        torch.testing.assert_close(captured, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("positions", list(Positions))
@pytest.mark.parametrize(
    "edits", [(NUDGE,), (PIN,), (MUL,), (ABLATE,), MIXED], ids=lambda e: "+".join(x.mode for x in e)
)
def test_steered_answers_are_those_of_transformers_with_the_naive_equation(
    engine: Engine,
    prompts: list[list[int]],
    reference: Callable[..., list[int]],
    edits: tuple[LatentEdit, ...],
    positions: Positions,
) -> None:
    steering = steer(*edits, positions=positions)
    steered = tokens(answers(engine, prompts, [steering] * len(prompts)))
    assert steered == [reference(prompt, steering) for prompt in prompts]


def test_edits_change_answers(engine: Engine, prompts: list[list[int]]) -> None:
    """Otherwise the parity above would prove nothing."""
    plain = tokens(answers(engine, prompts, [None] * len(prompts)))
    for edit in (NUDGE, PIN):
        assert tokens(answers(engine, prompts, [steer(edit)] * len(prompts))) != plain


def test_weight_zero_is_exactly_no_steering(engine: Engine, prompts: list[list[int]]) -> None:
    zero = steer(LatentEdit(latent=3, mode=Mode.NUDGE, value=0.0), LatentEdit(latent=4, mode=Mode.MUL, value=1.0))
    steered = answers(engine, prompts, [zero] * len(prompts))
    assert tokens(steered) == tokens(answers(engine, prompts, [None] * len(prompts)))
    assert all(answer.report is not None and answer.report.steered_tokens == 0 for answer in steered)


def test_unsteered_requests_of_a_mixed_batch_are_untouched(engine: Engine, prompts: list[list[int]]) -> None:
    """Against the same batch with every weight 0: the same shapes run, so the tokens must be the same."""
    batch = prompts * 4
    mixed = [steer(*MIXED) if i % 2 else None for i in range(len(batch))]
    zero = [steer(LatentEdit(latent=3, mode=Mode.NUDGE)) if i % 2 else None for i in range(len(batch))]
    sampling = Sampling(temperature=0.7, max_tokens=24, seed=5)
    steered, plain = tokens(answers(engine, batch, mixed, sampling)), tokens(answers(engine, batch, zero, sampling))
    assert steered[::2] == plain[::2]
    assert steered[1::2] != plain[1::2]


@pytest.mark.parametrize("first", [None, steer(*MIXED)], ids=["plain first", "steered first"])
def test_the_prefix_cache_never_carries_steering_over(engine: Engine, first: Steering | None) -> None:
    """Long prompts of several cache blocks, the same one under other edits, in either order and again."""
    words = list(range(20, 90)) * 3
    prompt = [words[:200]]
    second = steer(*MIXED) if first is None else None
    fresh = {s: tokens(answers(engine, [[*words[7:207]]], [s])) for s in (first, second)}
    engine.llm.reset_prefix_cache()
    expected = {}
    for steering in (first, second):
        expected[steering] = tokens(answers(engine, prompt, [steering]))
        engine.llm.reset_prefix_cache()
    for steering in (first, second, first, second):
        assert tokens(answers(engine, prompt, [steering])) == expected[steering]
    assert expected[first] != expected[second]
    assert fresh[first] != fresh[second]


def test_the_op_counts_every_steered_token(engine: Engine, prompts: list[list[int]]) -> None:
    for positions in Positions:
        [answer] = answers(engine, prompts[:1], [steer(NUDGE, positions=positions)])
        assert answer.report is not None
        # The last token is sampled and never computed.
        computed = {"prompt": len(prompts[0]), "generated": len(answer.token_ids) - 1}
        computed["all"] = sum(computed.values())
        assert (
            answer.report.steered_tokens
            == computed[positions]
            == answer.report.seen_tokens
            == answer.report.expected_tokens
        )


def test_the_dose_guard_bounds_every_token_and_says_so(engine: Engine, prompts: list[list[int]]) -> None:
    [answer] = answers(engine, prompts[:1], [steer(LatentEdit(latent=3, mode=Mode.NUDGE, value=1e6), dose_max=0.25)])
    assert answer.report is not None
    assert answer.report.clipped == answer.report.steered_tokens
    assert answer.report.dose_max == pytest.approx(0.25, rel=1e-4)


def test_256_distinct_edit_sets_in_one_batch_equal_their_single_runs(engine: Engine, prompts: list[list[int]]) -> None:
    sets = [steer(LatentEdit(latent=i, mode=Mode.NUDGE, value=30.0 + i / 10)) for i in range(256)]
    together = tokens(answers(engine, [prompts[0]] * 256, sets))
    alone = {i: tokens(answers(engine, prompts[:1], [sets[i]]))[0] for i in range(0, 256, 16)}
    agree = sum(together[i] == tokens_alone for i, tokens_alone in alone.items())
    # Other batch shapes round differently, and a tie may then fall the other way.
    assert agree >= len(alone) - 1
    assert len({tuple(each) for each in together}) > 20


def test_top_features_are_those_of_the_dictionary(
    engine: Engine, prompts: list[list[int]], dictionary: Dictionary
) -> None:
    reading = Steering(reads=(Read(top_k=4),))
    [answer] = answers(engine, prompts[:1], [reading])
    [stream] = engine.capture([prompts[0] + answer.token_ids])
    assert answer.report is not None
    assert answer.report.activations is not None
    expected = dictionary.encode(stream).topk(4, dim=-1)
    assert len(answer.report.activations) == len(stream) - 1
    for token, values in zip(answer.report.activations, expected.values, strict=False):
        torch.testing.assert_close(torch.tensor(token.activations), values[values > 0], rtol=1e-3, atol=1e-2)
    assert [token.token for token in answer.report.activations] == (prompts[0] + answer.token_ids)[:-1]


def test_too_many_edits_or_an_unknown_latent_never_end_in_an_unsteered_answer(
    engine: Engine, prompts: list[list[int]]
) -> None:
    for edits in ([NUDGE] * 33, [LatentEdit(latent=512, mode=Mode.NUDGE, value=1.0)]):
        with pytest.raises((SteeringLost, InvalidEdit)):
            answers(engine, prompts[:1], [steer(*edits)])
    assert len(answers(engine, prompts, [None] * len(prompts))) == len(prompts)


def test_an_engine_without_rows_left_over_after_many_requests(engine: Engine, prompts: list[list[int]]) -> None:
    answers(engine, [prompts[0]] * 300, [steer(NUDGE)] * 300, Sampling(max_tokens=4))
    answers(engine, prompts[:1], [None])
    hooks = current()
    assert hooks is not None
    assert not hooks.rows.steerings
    assert len(hooks.rows.free) == 256


def test_more_prompts_than_a_worker_keeps_reports_of(
    engine: Engine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers, seeds and reports are those of one prompt after the other."""
    monkeypatch.setattr("featurehub.engine.reports.REPORTS_KEPT", 2)
    monkeypatch.setattr("featurehub.engine.offline.REPORTS_KEPT", 2)
    asked = [prompts[i % len(prompts)] for i in range(5)]
    drawn = Sampling(temperature=0.7, max_tokens=8, seed=3)
    together = list(engine.generate(asked, [steer(NUDGE)] * 5, drawn))
    assert all(each.report is not None and each.report.steered_tokens > 0 for each in together)
    for i, prompt in enumerate(asked):
        [alone] = engine.generate([prompt], [steer(NUDGE)], drawn.model_copy(update={"seed": 3 + i}))
        assert alone.token_ids == together[i].token_ids


def test_more_documents_than_a_worker_keeps_streams_of(
    engine: Engine, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.capture(prompts)
    for kept in (1, 4 * 192 * 2 * max(map(len, prompts))):
        monkeypatch.setattr("featurehub.engine.captures.CAPTURES_KEPT", kept)
        monkeypatch.setattr("featurehub.engine.offline.CAPTURES_KEPT", kept)
        for one, other in zip(whole, engine.capture(prompts), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
