"""The arithmetic of the slope mode, on seconds whose costs are known."""

import numpy as np
import pytest

from tests.benchmarks.costs import Costs, Middle

LENGTHS, BATCH = (16, 208), 32
STEP, REQUEST = 2e-3, 1e-3


def seconds(rounds: int, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """What batches of both lengths take, [rounds, 2]."""
    exact = BATCH * REQUEST + (np.array(LENGTHS) - 1) * STEP
    return exact + noise * np.random.default_rng(seed).normal(size=(rounds, 2))


def test_two_exact_lengths_give_both_costs_exactly() -> None:
    costs = Costs.of(seconds(3), LENGTHS, BATCH)
    assert costs.step == pytest.approx([STEP] * 3)
    assert costs.request == pytest.approx([REQUEST] * 3)
    assert Middle.of(costs.step).error == pytest.approx(0, abs=1e-12)


def test_the_prompts_step_belongs_to_the_request() -> None:
    """A request of one token has no decoding step."""
    assert Costs.of([[3.0, 5.0]], (1, 2), 2) == (2.0, 1.5)


@pytest.mark.parametrize("rounds", [5, 9, 25])
def test_the_stated_error_is_the_scatter_of_repeated_benchmarks(rounds: int) -> None:
    """Of both costs: the request's comes from the short batch and from the step, the step's from both batches."""
    runs = [Costs.of(seconds(rounds, noise=0.02, seed=seed), LENGTHS, BATCH) for seed in range(1000)]
    for figures, truth in (([run.step for run in runs], STEP), ([run.request for run in runs], REQUEST)):
        middles = [Middle.of(each) for each in figures]
        scatter = np.std([middle.value for middle in middles])
        assert np.mean([middle.value for middle in middles]) == pytest.approx(truth, abs=4 * scatter / np.sqrt(1000))
        assert np.mean([middle.error for middle in middles]) == pytest.approx(scatter, rel=0.15)


def test_one_round_says_nothing_about_its_error() -> None:
    assert np.isnan(Middle.of([1.0]).error)


def test_a_round_in_which_the_machine_stood_still_moves_little() -> None:
    calm = seconds(9, noise=1e-4)
    stalled = calm.copy()
    stalled[4, 1] += 60
    costs = [Middle.of(Costs.of(each, LENGTHS, BATCH).step) for each in (calm, stalled)]
    assert costs[1].value == pytest.approx(costs[0].value, abs=3 * costs[0].error)
    assert costs[1].error < 3 * costs[0].error


def test_ratios_are_taken_within_a_round() -> None:
    """The machine's mood, which slows both alike, leaves them as they are."""
    mood = np.linspace(1, 3, 9)[:, None]
    base, dear = seconds(9) * mood, seconds(9) * mood
    dear[:, 1] += mood[:, 0] * (LENGTHS[1] - LENGTHS[0]) * 0.1 * STEP
    over = Costs.of(dear, LENGTHS, BATCH).over(Costs.of(base, LENGTHS, BATCH))
    assert over.step == pytest.approx([1.1] * 9)
    assert str(Middle.of(over.step)) == "1.100 (1.100 to 1.100)"


@pytest.mark.parametrize("lengths", [(16, 16), (208, 16), (0, 16)])
def test_lengths_that_give_no_line_are_refused(lengths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"the lengths are \d+ and \d+ tokens: give two that rise"):
        Costs.of([[1.0, 2.0]], lengths, 1)
