"""The op's body against the naive equation: steered rows equal it, all others keep every bit."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import featurehub.engine.hook as hook_module
from featurehub.dictionary import Dictionary
from featurehub.engine.hook import Hook, Reading
from featurehub.engine.table import EditTable, Span
from featurehub.features import LatentEdit, Mode, Positions, Steering
from featurehub.steering import Steered, steer_token

D_MODEL, D_SAE, K = 16, 24, 4
DTYPES = (torch.float32, torch.bfloat16)


def make_dictionary() -> Dictionary:
    """Decoder rows of different lengths, an encoder that is not their transpose, thresholds at 0 and above."""
    generator = torch.Generator().manual_seed(1)
    return Dictionary(
        W_enc=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        W_dec=torch.randn(D_SAE, D_MODEL, generator=generator) / 4,
        b_enc=torch.randn(D_SAE, generator=generator) / 4,
        b_dec=torch.randn(D_MODEL, generator=generator) / 4,
        threshold=torch.rand(D_SAE, generator=generator) * (torch.arange(D_SAE) % 2),
    )


DICTIONARY = make_dictionary()


class Request(NamedTuple):
    steering: Steering | None
    tokens: int
    position: int
    prompt_len: int

    def is_steered(self, offset: int) -> bool:
        if self.steering is None or all(is_nothing(edit) for edit in self.steering.edits):
            return False
        generated = self.position + offset >= self.prompt_len
        return self.steering.positions is Positions.ALL or generated == (self.steering.positions is Positions.GENERATED)


def is_nothing(edit: LatentEdit) -> bool:
    return (edit.mode is Mode.NUDGE and edit.value == 0) or (edit.mode is Mode.MUL and edit.value == 1)


VALUES = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-20, 20, width=32))
MODES = st.sampled_from(Mode)
EDITS = st.builds(LatentEdit, latent=st.integers(0, D_SAE - 1), mode=MODES, value=VALUES)
STEERINGS = st.builds(
    Steering,
    hook=st.just("sae"),
    edits=st.lists(EDITS, max_size=K).map(tuple),
    positions=st.sampled_from(Positions),
    dose_max=st.sampled_from([0.01, 0.3, 1.0, 1000.0]),
)
REQUESTS = st.lists(
    st.builds(
        Request,
        steering=st.one_of(st.none(), STEERINGS),
        tokens=st.integers(1, 5),
        position=st.integers(0, 8),
        prompt_len=st.integers(0, 10),
    ),
    min_size=1,
    max_size=6,
)


class Outcome(NamedTuple):
    """Both tensors before and after, the table, and of every request its first batch index."""

    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]
    table: EditTable
    starts: list[int]


def stream(tokens: int, dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden, residual = torch.randn(2, tokens, D_MODEL, generator=generator).unbind()
    return (hidden * 3).to(dtype), (residual * 10).to(dtype)


def run(requests: Sequence[Request], dtype: torch.dtype, seed: int = 0, gathered: int = 1 << 24) -> Outcome:
    """One step with all requests, between two tokens that are padding."""
    table = EditTable(DICTIONARY, max_reqs=256, max_edits=K)
    starts = [1 + sum(r.tokens for r in requests[:i]) for i in range(len(requests))]
    spans = []
    for i, request in enumerate(requests):
        if request.steering is None:
            continue
        row = table.admit(request.steering.model_copy(update={"report": f"r{i}"}))
        if row:
            spans.append((row, Span(f"r{i}", starts[i], request.tokens, request.position, request.prompt_len)))
    hidden, residual = before = stream(sum(r.tokens for r in requests) + 2, dtype, seed)
    after = hidden.clone(), residual.clone()
    hook = Hook(DICTIONARY, table)
    hook.begin_step(table.schedule(spans), [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hook_module, "_GATHERED_FLOATS", gathered)
        hook.run(*after)
    return Outcome(before, after, table, starts)


def expected(outcome: Outcome, requests: Sequence[Request]) -> dict[int, tuple[int, Steered]]:
    """By batch index: the request, and what the naive equation makes of the token."""
    x = outcome.before[0].float() + outcome.before[1].float()
    return {
        start + offset: (i, steer_token(x[start + offset], DICTIONARY, r.steering.edits, r.steering.dose_max))
        for i, (r, start) in enumerate(zip(requests, outcome.starts, strict=True))
        for offset in range(r.tokens)
        if r.steering is not None and r.is_steered(offset)
    }


def assert_naive(outcome: Outcome, requests: Sequence[Request], dtype: torch.dtype) -> None:
    wanted = expected(outcome, requests)
    x = outcome.before[0].float() + outcome.before[1].float()
    for at in range(len(x)):
        hidden, residual = outcome.after[0][at], outcome.after[1][at]
        if at not in wanted:
            assert torch.equal(hidden, outcome.before[0][at])
            assert torch.equal(residual, outcome.before[1][at])
            continue
        steered = wanted[at][1].x
        slack = 1e-5 * float(x[at].norm() + (steered - x[at]).norm())
        assert not hidden.any()
        if dtype is torch.float32:
            assert float((residual - steered).abs().max()) <= slack
        else:
            # Rounded to the model's dtype once, and from a float32 that is the naive one to 1e-5.
            assert bool(((steered - slack).to(dtype) <= residual).all())
            assert bool((residual <= (steered + slack).to(dtype)).all())


@given(
    requests=REQUESTS, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000), gathered=st.sampled_from([64, 1 << 24])
)
def test_every_mix_of_requests_is_the_naive_equation_and_touches_nothing_else(
    requests: list[Request], dtype: torch.dtype, seed: int, gathered: int
) -> None:
    outcome = run(requests, dtype, seed, gathered)
    assert_naive(outcome, requests, dtype)
    wanted = list(expected(outcome, requests).values())
    for i, request in enumerate(requests):
        report = outcome.table.report(f"r{i}")
        if request.steering is None:
            assert report is None
            continue
        tokens = [steered for owner, steered in wanted if owner == i]
        assert report is not None
        assert report.steered_tokens == report.expected_tokens == len(tokens)
        doses = [steered.dose for steered in tokens]
        assert report.dose_mean == pytest.approx(sum(doses) / max(1, len(doses)), rel=1e-4, abs=1e-6)
        assert report.dose_max == pytest.approx(max(doses, default=0.0), rel=1e-4, abs=1e-6)
        assert report.clipped == sum(steered.clipped for steered in tokens)
        assert report.dose_max <= request.steering.dose_max * (1 + 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_256_distinct_edit_sets_run_side_by_side(dtype: torch.dtype) -> None:
    modes = list(Mode)
    requests = [
        Request(
            Steering(
                hook="sae",
                edits=(
                    LatentEdit(latent=i % D_SAE, mode=modes[i % 4], value=0.5 + i / 16),
                    LatentEdit(latent=(i + 7) % D_SAE, mode=Mode.NUDGE, value=-i / 32),
                ),
                dose_max=0.5 + i / 256,
            ),
            tokens=1 + i % 3,
            position=0,
            prompt_len=2,
        )
        for i in range(256)
    ]
    outcome = run(requests, dtype)
    assert not outcome.table.free
    assert_naive(outcome, requests, dtype)
    changes = (outcome.after[1].float() - outcome.before[1].float())[outcome.starts]
    assert len({tuple(change.tolist()) for change in changes}) == 256


def one(edit: LatentEdit, dose_max: float = 1.0) -> list[Request]:
    return [Request(Steering(hook="sae", edits=(edit,), dose_max=dose_max), 3, 0, 3)]


def test_a_pinned_latent_of_an_orthogonal_dictionary_reads_its_target_afterwards() -> None:
    """The equation itself, not only the two programs' agreement."""
    eye = torch.eye(D_MODEL)
    sae = Dictionary(eye.clone(), eye.clone(), torch.zeros(D_MODEL), torch.zeros(D_MODEL), torch.zeros(D_MODEL))
    table = EditTable(sae, 1, K)
    row = table.admit(Steering(hook="sae", edits=(LatentEdit(latent=5, mode=Mode.PIN, value=7.0),), dose_max=100.0))
    hidden, residual = stream(4, torch.float32, seed=3)
    before = sae.encode(hidden + residual)
    hook = Hook(sae, table)
    hook.begin_step(table.schedule([(row, Span("r", 0, 4, 0, 4))]), [])
    hook.run(hidden, residual)
    a = sae.encode(hidden + residual)
    positive = before[:, 5] > 0
    assert positive.any()
    assert a[positive, 5] == pytest.approx(torch.full((int(positive.sum()),), 7.0), rel=1e-5)
    others = [i for i in range(D_MODEL) if i != 5]
    torch.testing.assert_close(a[:, others], before[:, others])


def test_a_stream_of_zeros_takes_no_dose_and_stays_finite() -> None:
    table = EditTable(DICTIONARY, 1, K)
    row = table.admit(Steering(hook="sae", edits=(LatentEdit(latent=1, mode=Mode.NUDGE, value=5.0),), report="r"))
    hidden, residual = torch.zeros(2, D_MODEL), torch.zeros(2, D_MODEL)
    hook = Hook(DICTIONARY, table)
    hook.begin_step(table.schedule([(row, Span("r", 0, 2, 0, 2))]), [])
    hook.run(hidden, residual)
    assert not residual.any()
    report = hook.report("r")
    assert report is not None
    assert (report.dose_max, report.clipped, report.steered_tokens) == (0.0, 2, 2)


def test_the_largest_value_that_is_accepted_keeps_the_stream_finite() -> None:
    outcome = run(one(LatentEdit(latent=2, mode=Mode.NUDGE, value=1e9), dose_max=0.25), torch.float32)
    assert torch.isfinite(outcome.after[1]).all()
    report = outcome.table.report("r0")
    assert report is not None
    assert report.clipped == 3
    assert report.dose_max == pytest.approx(0.25, rel=1e-5)


def test_a_step_without_steered_tokens_leaves_the_step_of_before_behind() -> None:
    requests = one(LatentEdit(latent=2, mode=Mode.NUDGE, value=5.0))
    table = EditTable(DICTIONARY, 1, K)
    assert requests[0].steering is not None
    row = table.admit(requests[0].steering)
    hook = Hook(DICTIONARY, table)
    hidden, residual = stream(3, torch.float32, 0)
    hook.begin_step(table.schedule([(row, Span("r", 0, 3, 0, 3))]), [])
    hook.run(hidden, residual)
    for nothing in (None, table.schedule([])):
        before = hidden.clone(), residual.clone()
        hook.begin_step(nothing, [])
        hook.run(hidden, residual)
        assert torch.equal(hidden, before[0])
        assert torch.equal(residual, before[1])


def test_a_capture_is_the_stream_before_steering_across_chunks() -> None:
    requests = one(LatentEdit(latent=2, mode=Mode.NUDGE, value=5.0))
    table = EditTable(DICTIONARY, 1, K)
    assert requests[0].steering is not None
    row = table.admit(requests[0].steering)
    hook = Hook(DICTIONARY, table)
    wanted = []
    for position in (0, 3):
        hidden, residual = stream(5, torch.bfloat16, seed=position)
        span = Span("r", 1, 3, position, 6)
        wanted.append(hidden[1:4].float() + residual[1:4].float())
        hook.begin_step(table.schedule([(row, span)]), [Reading("r", span, 0, torch.arange(3))])
        hook.run(hidden, residual)
    assert torch.equal(torch.cat(hook.captured["r"]), torch.cat(wanted))


@given(top_k=st.integers(1, 64), seed=st.integers(0, 100))
def test_reported_features_are_the_strongest_active_ones_of_the_dictionary(top_k: int, seed: int) -> None:
    hidden, residual = stream(6, torch.float32, seed)
    hook = Hook(DICTIONARY, None)
    reading = Reading("r", Span("r", 2, 3, 10, 5), top_k, torch.tensor([7, 8, 9]))
    hook.begin_step(None, [reading])
    hook.run(hidden, residual)
    report = hook.report("r")
    assert report is not None
    assert report.activations is not None
    a = DICTIONARY.encode((hidden + residual)[2:5])
    assert [token.position for token in report.activations] == [10, 11, 12]
    assert [token.token for token in report.activations] == [7, 8, 9]
    for token, row in zip(report.activations, a, strict=True):
        active = sorted(((float(v), -i) for i, v in enumerate(row) if v > 0), reverse=True)[:top_k]
        assert token.activations == pytest.approx([v for v, _ in active])
        assert list(token.latents) == [-i for _, i in active]
    assert hook.report("r") is None
