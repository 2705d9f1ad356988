"""Properties of the edit equation itself, which the engine is then held against."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit
from featurehub.features import Mode
from featurehub.steering import steer_token

D_MODEL, D_SAE = 8, 12
VALUES = st.floats(-20, 20, width=32)


def make_dictionary() -> Dictionary:
    g = torch.Generator().manual_seed(3)
    W = torch.randn(D_SAE, D_MODEL, generator=g)
    return Dictionary(W + 0.1, W, torch.randn(D_SAE, generator=g), torch.randn(D_MODEL, generator=g), torch.rand(D_SAE))


SAE = make_dictionary()
SAES = {"": SAE}
EDITS = st.lists(
    st.builds(LatentEdit, latent=st.integers(0, D_SAE - 1), mode=st.sampled_from(Mode), value=VALUES), max_size=5
)


def stream(seed: int) -> torch.Tensor:
    return torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed)) * 5


def edit(mode: Mode, value: float = 0.0, latent: int = 2) -> LatentEdit:
    return LatentEdit(latent=latent, mode=mode, value=value)


def active_seed(latent: int = 2) -> int:
    return next(seed for seed in range(100) if float(SAE.encode(stream(seed)[None])[0, latent]) > 0)


@given(seed=st.integers(0, 500), edits=EDITS, dose_max=st.floats(0.01, 5.0))
def test_the_dose_is_what_was_moved_and_never_beyond_the_guard(
    seed: int, edits: list[LatentEdit], dose_max: float
) -> None:
    x = stream(seed)
    steered = steer_token(x, SAES, edits, dose_max)
    assert float((steered.x - x).norm() / x.norm()) == pytest.approx(steered.dose, rel=1e-3, abs=1e-5)
    assert steered.dose <= dose_max * (1 + 1e-5)
    assert steered.clipped == (steered.dose < steer_token(x, SAES, edits, 1e9).dose)


@given(seed=st.integers(0, 500), edits=EDITS, dose_max=st.floats(0.01, 5.0))
def test_the_guard_shortens_the_change_and_keeps_its_direction(
    seed: int, edits: list[LatentEdit], dose_max: float
) -> None:
    x = stream(seed)
    free, guarded = steer_token(x, SAES, edits, 1e9), steer_token(x, SAES, edits, dose_max)
    if not guarded.clipped:
        assert torch.equal(free.x, guarded.x)
        return
    wanted = x + (free.x - x) * (dose_max / free.dose)
    torch.testing.assert_close(guarded.x, wanted, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 500), edits=EDITS)
def test_the_order_of_edits_does_not_matter(seed: int, edits: list[LatentEdit]) -> None:
    forth, back = (steer_token(stream(seed), SAES, each, 1e9).x for each in (edits, edits[::-1]))
    torch.testing.assert_close(forth, back, rtol=1e-4, atol=1e-3)


@given(seed=st.integers(0, 500), a=VALUES, b=VALUES)
def test_nudges_add_up_and_do_not_depend_on_the_stream(seed: int, a: float, b: float) -> None:
    x = stream(seed)
    moved = steer_token(x, SAES, [edit(Mode.NUDGE, a), edit(Mode.NUDGE, b)], 1e9).x - x
    torch.testing.assert_close(moved, (a + b) * SAE.W_dec[2], rtol=1e-3, atol=1e-3)


def test_steering_vectors_are_what_nudges_add_and_nothing_else_does() -> None:
    x, vectors = stream(1), SAE.W_dec.roll(1, dims=0)
    own = {name: SAE._replace(W_steer=vectors) for name in SAES}
    moved = steer_token(x, own, [edit(Mode.NUDGE, 3.0)], 1e9).x - x
    torch.testing.assert_close(moved, 3.0 * vectors[2], rtol=1e-3, atol=1e-3)
    others = [edit(Mode.PIN, 3.0), edit(Mode.MUL, 2.0, 1), edit(Mode.ABLATE, 0.0, 4)]
    assert torch.equal(steer_token(x, own, others, 1e9).x, steer_token(x, SAES, others, 1e9).x)


@given(seed=st.integers(0, 500), latent=st.integers(0, D_SAE - 1), value=VALUES)
def test_pin_moves_the_activation_to_its_target(seed: int, latent: int, value: float) -> None:
    x = stream(seed)
    a = float(SAE.encode(x[None])[0, latent])
    moved = steer_token(x, SAES, [edit(Mode.PIN, value, latent)], 1e9).x - x
    torch.testing.assert_close(moved, (value - a) * SAE.W_dec[latent], rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 500), latent=st.integers(0, D_SAE - 1))
def test_ablate_is_pin_to_zero_and_mul_by_zero(seed: int, latent: int) -> None:
    x = stream(seed)
    results = [steer_token(x, SAES, [edit(mode, 0.0, latent)], 1e9).x for mode in (Mode.ABLATE, Mode.PIN, Mode.MUL)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@given(seed=st.integers(0, 500))
def test_edits_that_come_to_nothing_change_no_bit(seed: int) -> None:
    x = stream(seed)
    for nothing in ([], [edit(Mode.NUDGE, 0.0)], [edit(Mode.MUL, 1.0)]):
        steered = steer_token(x, SAES, nothing, 1.0)
        assert torch.equal(steered.x, x)
        assert (steered.dose, steered.clipped) == (0.0, False)


def test_mul_and_ablate_leave_a_silent_latent_alone_and_move_an_active_one() -> None:
    silent = next(seed for seed in range(100) if float(SAE.encode(stream(seed)[None])[0, 2]) == 0)
    for mode in (Mode.MUL, Mode.ABLATE):
        assert torch.equal(steer_token(stream(silent), SAES, [edit(mode, 3.0)], 1.0).x, stream(silent))
        active = stream(active_seed())
        assert not torch.equal(steer_token(active, SAES, [edit(mode, 3.0)], 1.0).x, active)


def test_a_stream_of_zeros_takes_no_dose() -> None:
    steered = steer_token(torch.zeros(D_MODEL), SAES, [edit(Mode.NUDGE, 5.0)], 1.0)
    assert not steered.x.any()
    assert (steered.dose, steered.clipped) == (0.0, True)


def test_a_stream_in_low_precision_is_steered_in_float32() -> None:
    x = stream(1).bfloat16()
    assert steer_token(x, SAES, [edit(Mode.NUDGE, 1.0)], 1.0).x.dtype is torch.float32
