"""What a training run will cost, reported before it starts, and how much of it the budget allows.

The decision is kept in the run's partial folder: a resumed run keeps to it, whatever its budget is by then.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import Field

from featurehub.artifacts.files import write_text
from featurehub.runs.phases import duration
from featurehub.runs.progress import Progress, Work
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.cost import Job, Rates
from saes.documents import Document, count_tokens
from saes.harvest import HarvestConfig, token_bytes
from saes.run import TrainConfig
from saes.spans import SpanChunks, stride
from saes.stream import Chunks, DocumentChunks, Stream, StreamConfig

__all__ = ["Training", "TrainingBar", "negotiate_cost", "stream_of", "training_bar", "within_budget"]


class Training(Frozen):
    """How to train on a text, whatever is trained.

    Attributes:
        config: How long and on which device to train.
        harvest: The form of shards, and how much is read at once.
        buffer_tokens: Size of the shuffle buffer, in tokens; bounds the memory.
        budget: The most time or tokens to spend.
    """

    config: TrainConfig = TrainConfig()
    harvest: HarvestConfig = HarvestConfig()
    buffer_tokens: int = Field(default=65_536, ge=1)
    budget: Budget = Budget()

    def job(
        self,
        documents: Sequence[Document],
        special: Collection[int],
        points: int,
        d_model: int,
        weights: int,
        latents: int,
        shards: bool = False,
    ) -> Job:
        """The job of training on all these documents.

        Args:
            documents: The documents to train on.
            special: Ids of tokens that are not text.
            points: Number of hook points read.
            d_model: Width of the model.
            weights: Number of trained parameters, over everything trained in the pass.
            latents: Latents of the widest SAE or transcoder trained.
            shards: Whether to write shards even if training reads the text only once.
        """
        tokens = count_tokens(documents, special)
        return Job(
            train=self.config,
            buffer_tokens=self.buffer_tokens,
            weights=weights,
            latents=latents,
            width=points * d_model,
            text_tokens=tokens,
            chunk_tokens=self.harvest.tokens_at(points, len(documents), tokens),
            token_bytes=token_bytes(points * d_model, self.harvest),
            shards=shards,
        )


class StepReport(Protocol):
    """What training reports after a step."""

    @property
    def step(self) -> int: ...

    @property
    def words(self) -> str: ...


def negotiate_cost(job: Job, budget: Budget, rates: Rates, partial: Path, progress: Progress) -> Job:
    """Cuts a job down to the budget and prints the estimate.

    Args:
        job: What would be trained without a budget.
        budget: The most time or tokens to spend.
        rates: Measured speed of reading and training.
        partial: The run's partial folder, which keeps the decision.
        progress: Receives the estimate of time, disk and memory.

    Returns:
        The job to run.

    Raises:
        BudgetExceeded: The budget is too small for the job.
    """
    job = within_budget(job, budget, rates, partial / "tokens")
    seconds, disk, memory = job.estimate(rates)
    progress.say(
        f"{job.wanted:,} tokens to read and {job.train.tokens:,} to train on: about {duration(seconds)}, "
        f"{disk / 1e6:,.0f} MB of disk, {memory / 1e6:,.0f} MB of memory besides the engine's"
    )
    return job


def within_budget(job: Job, budget: Budget, rates: Rates, kept: Path) -> Job:
    """The job cut down to the budget, or as decided when the run was first started."""
    if kept.is_file():
        tokens, passes = map(int, kept.read_text().split())
        return job.of_tokens(tokens).of_passes(passes)
    job = job.within(budget, rates)
    write_text(kept, f"{job.train.tokens} {job.passes}")
    return job


def stream_of(chunks: Chunks, job: Job) -> Stream:
    chunks = SpanChunks(chunks, job.train.span) if job.train.span > 1 else chunks
    return Stream(chunks, StreamConfig(buffer_tokens=job.buffer_tokens, batch_tokens=job.train.batch_tokens))


class TrainingBar:
    """Shows how far training is, and reading where the text is read meanwhile. Called with training's reports.

    Attributes:
        job: What is trained; with fewer tokens once the time has run short.
    """

    def __init__(self, job: Job, work: Work) -> None:
        self.job, self.work = job, work
        self.trained = self.passed = 0

    def __call__(self, report: StepReport) -> None:
        self.trained = report.step * self.job.train.batch_tokens
        self.work.at(self.trained + self.passed)
        self.work.say(report.words)

    def read(self, tokens: int) -> None:
        """Shows that so many more tokens were read."""
        self.passed = min(self.job.wanted, self.passed + tokens)
        self.work.at(self.trained + self.passed)

    def plan(self, done: int, steps: int) -> None:
        """Shows that there will be so many steps, after those that are done."""
        self.job = self.job.of_steps(steps) if steps < self.job.train.steps else self.job
        self.trained = done * self.job.train.batch_tokens
        if self.job.streamed and done:  # What a run that is resumed has read: all but what its other steps need.
            train = self.job.train
            self.passed = max(self.passed, self.job.wanted - stride(train.span) * (steps - done) * train.batch_tokens)
        self.work.at(self.trained + self.passed, total_of(self.job))


def total_of(job: Job) -> int:
    """Tokens or spans that are trained on, and tokens that are read meanwhile."""
    return job.train.tokens_trained + (job.wanted if job.streamed else 0)


def unit_of(job: Job) -> str:
    """What ``total_of`` counts."""
    return "tokens and spans" if job.streamed and job.train.span > 1 else job.train.unit


@contextmanager
def training_bar(job: Job, chunks: Chunks, progress: Progress) -> Iterator[TrainingBar]:
    """A progress bar over the tokens read and trained on. At its end it is said if these were fewer than planned.

    Args:
        job: What is trained.
        chunks: The text, as training reads it.
        progress: Receives progress reports.

    Yields:
        The bar, to be called with the report of each training step.
    """
    name, planned = "reading and training" if job.streamed else "training", job.train.tokens_trained
    with progress.work(name, total_of(job), unit_of(job)) as work:
        bar = TrainingBar(job, work)
        if isinstance(chunks, DocumentChunks):
            chunks.progress = bar.read
        yield bar
    if (trained := bar.job.train.tokens_trained) < planned:
        progress.say(f"trained on {trained:,} of {planned:,} {job.train.unit}: the time ran short")
