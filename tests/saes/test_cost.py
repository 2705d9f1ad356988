"""What a run will cost, how much of it a budget allows, and the page that is kept of it."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import BudgetExceeded, InvalidInput
from featurehub.runs.costs import within_budget
from saes.architecture import Architecture
from saes.budget import Budget
from saes.cost import PASSES, SHARE, Job, Rates, measure, seconds_of
from saes.documents import Document
from saes.reader import FakeReader
from saes.recipes import Recipe, make_sae
from saes.report import TITLES, write_report
from saes.run import SCALE_BATCHES, TrainConfig
from saes.train import trial
from saes.trainee import TrainingProgress
from saes.transcoders.trainable import Trainable, TranscoderRecipe
from saes.transcoders.training import trial as transcoder_trial

RATES = Rates(read=1000.0, train=4000.0)
RECIPES = (Recipe(d_sae=64), Recipe(d_sae=128))
JOB = Job(
    train=TrainConfig(tokens=1_000_000, batch_tokens=1000),
    buffer_tokens=10_000,
    weights=sum(recipe.weights(16) for recipe in RECIPES),
    latents=128,
    width=16,
    text_tokens=200_000,
    chunk_tokens=5000,
    token_bytes=80,
)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("90s", Budget(seconds=90)),
        ("10min", Budget(seconds=600)),
        ("10m", Budget(seconds=600)),
        ("1.5h", Budget(seconds=5400)),
        ("500k", Budget(tokens=500_000)),
        ("2M", Budget(tokens=2_000_000)),
        ("", Budget()),
    ],
)
def test_a_budget_is_a_time_or_tokens(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


def test_what_was_spent_before_a_run_begins_is_no_longer_there() -> None:
    assert Budget(seconds=90).less(30) == Budget(seconds=60)
    assert Budget(seconds=90, tokens=5).less(100) == Budget(seconds=1, tokens=5)
    assert Budget(tokens=5).less(100) == Budget(tokens=5)


def test_spans_overlap_so_that_each_takes_a_quarter_of_its_tokens_to_read() -> None:
    spans = JOB.model_copy(update={"train": JOB.train.model_copy(update={"span": 32}), "text_tokens": 10**9})
    tokens = spans.model_copy(update={"train": JOB.train})
    assert spans.wanted == 8 * tokens.wanted
    read, trained = RATES
    assert spans.estimate(RATES).seconds == spans.wanted / read + spans.train.tokens / trained
    assert not spans.model_copy(update={"text_tokens": spans.wanted - 1}).streamed


def test_under_a_budget_spans_are_trained_on_several_times(tmp_path: Path) -> None:
    job = JOB.model_copy(update={"train": JOB.train.model_copy(update={"span": 32}), "text_tokens": 10**9})
    budget = Budget(seconds=2000)
    cut = job.within(budget, RATES)
    assert cut.passes == PASSES
    assert not cut.streamed
    assert cut.wanted == cut.train.wanted(cut.buffer_tokens) // PASSES
    assert (
        cut.estimate(RATES).seconds
        <= SHARE * budget.seconds
        < cut.of_steps(cut.train.steps + 1).estimate(RATES).seconds
    )
    assert JOB.within(budget, RATES).passes == job.within(Budget(tokens=500_000), RATES).passes == 1
    kept = within_budget(job, budget, RATES, tmp_path / "tokens")
    assert within_budget(job, Budget(), RATES, tmp_path / "tokens") == kept == cut


@pytest.mark.parametrize("text", [" ", "10", "10d", "0s", "-5s", "1e3s", "2 weeks", "infs", "٣s"])
def test_any_other_budget_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match="10min or 2h, or tokens, such as 500k"):
        Budget.parse(text)


def test_no_more_is_read_than_training_passes_nor_than_there_is() -> None:
    assert JOB.wanted == 200_000
    assert JOB.of_tokens(50_000).wanted == 50_000 + SCALE_BATCHES * 1000 + 10_000


def test_the_estimate_adds_up() -> None:
    estimate = JOB.estimate(RATES)
    assert estimate.seconds == 200.0 + 250.0
    weights = 4 * ((2 * 64 + 2 * 128) * 16 + (64 + 128) + 2 * 16)
    assert estimate.disk == 200_000 * 80 + 3 * weights + 10_000 * 16 * 4
    assert estimate.memory == 2 * (10_000 + 5000) * 16 * 4 + 4 * weights + 4 * 1000 * 128 * 4


def test_a_text_that_is_passed_once_is_streamed_and_takes_no_disk_but_for_the_checkpoint() -> None:
    once = 200_000 - SCALE_BATCHES * 1000 - 10_000
    assert JOB.of_tokens(once).streamed
    assert not JOB.of_tokens(once + 1).streamed
    kept = JOB.of_tokens(once).model_copy(update={"shards": True})
    assert not kept.streamed
    assert kept.estimate(RATES).disk - JOB.of_tokens(once).estimate(RATES).disk == 200_000 * 80


def test_weights_are_counted_as_they_are_made() -> None:
    for architecture in Architecture:
        recipe = Recipe(architecture=architecture, d_sae=24, k=3)
        made = make_sae(recipe, 16, steps=10)
        assert recipe.weights(16) == sum(parameter.numel() for parameter in made.parameters())
    across = TranscoderRecipe(d_sae=24, k=3)
    for layers in (1, 3):
        made = Trainable(layers, 16, across)
        assert across.weights(layers, 16) == sum(parameter.numel() for parameter in made.parameters())


@pytest.mark.parametrize("seconds", [90, 200, 300, 420, 10_000])
def test_a_time_allows_as_many_steps_as_fit(seconds: float) -> None:
    job = JOB.within(Budget(seconds=seconds), RATES)
    assert job.estimate(RATES).seconds <= SHARE * seconds
    if job != JOB:
        assert job.of_steps(job.train.steps + 1).estimate(RATES).seconds > SHARE * seconds


def test_few_tokens_are_shuffled_in_a_small_buffer() -> None:
    wide = JOB.model_copy(update={"buffer_tokens": 100_000})
    assert [wide.of_tokens(tokens).buffer_tokens for tokens in (1000, 60_000, 1_000_000)] == [8000, 15_000, 100_000]
    assert JOB.of_tokens(60_000).buffer_tokens == 10_000


def test_tokens_bound_the_tokens() -> None:
    assert JOB.within(Budget(tokens=123_456), RATES).train.tokens == 123_000
    assert JOB.within(Budget(tokens=10**9), RATES).train.tokens == 1_000_000
    assert JOB.within(Budget(), RATES) == JOB


def test_too_small_a_budget_is_refused_with_what_is_needed() -> None:
    with pytest.raises(BudgetExceeded, match=r"40 \(40,000 tokens\), take about \d+ s"):
        JOB.within(Budget(seconds=30), RATES)


def test_rates_are_measured_on_the_job_itself() -> None:
    documents = [Document([1 + i % 7] * 20, 2) for i in range(40)]
    small = JOB.model_copy(update={"train": TrainConfig(tokens=10_000, batch_tokens=64)})
    rates = measure(FakeReader(10, 16), documents, small, trial(RECIPES, 16, small.train))
    assert rates.read > rates.train > 0


def test_a_transcoder_is_tried_at_its_hook_points() -> None:
    documents, points = [Document([1, 2, 3] * 20, 2)] * 20, [HookPoint(layer=layer) for layer in range(4)]
    small = JOB.model_copy(update={"width": 64, "train": TrainConfig(tokens=10_000, batch_tokens=64)})
    step = transcoder_trial(2, 16, TranscoderRecipe(d_sae=24, k=3), small.train)
    assert measure(FakeReader(10, 16), documents, small, step, points).train > 0


def test_the_report_is_one_page_that_needs_no_network(tmp_path: Path) -> None:
    history = [TrainingProgress(1 + 50 * i, "topk", 10.0 / (i + 1), 0.1 * i, 12.0, 0.5 - 0.05 * i) for i in range(9)]
    write_report(tmp_path / "training.html", "an SAE", history, np.array([0.0, 1e-4, 0.02, 0.3]))
    page = (tmp_path / "training.html").read_text()
    assert all(title in page for title in TITLES)
    assert "Plotly.newPlot" in page
    assert '<script src="http' not in page


def test_a_rate_is_of_work_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's calls come back before it has done anything; a budget of time would rest on that."""
    given, done = [], []

    def synchronize() -> None:
        time.sleep(0.01 * len(given))
        done.extend(given)
        given.clear()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert seconds_of(lambda: given.append("a step")) >= 0.01
    assert done == ["a step"]
    given.append("an earlier step")
    assert seconds_of(lambda: None) < 0.01
