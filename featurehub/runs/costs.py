"""What a training run will cost, said before it starts, and how much of it its budget allows.

The decision is kept in the run's partial folder: a run that goes on keeps to it, whatever its budget is then.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydantic import Field

from featurehub.artifacts.files import write_text
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.cost import Job, Rates
from saes.documents import Document, count_tokens
from saes.harvest import HarvestConfig, token_bytes
from saes.run import TrainConfig
from saes.stream import Chunks, Stream, StreamConfig

__all__ = ["Training", "duration", "negotiate_cost", "training_bar"]


class Training(Frozen):
    """How a text is trained on, whatever is trained.

    harvest:       the form of shards, and how much is read at once
    buffer_tokens: that are shuffled; bounds the memory
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
        """Of all these documents, at so many hook points. weights, latents, shards: as in a ``Job``"""
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
    """What a step of training says of itself."""

    @property
    def step(self) -> int: ...

    @property
    def words(self) -> str: ...


def negotiate_cost(job: Job, budget: Budget, rates: Rates, partial: Path, progress: Progress) -> Job:
    """The job within the budget, and what it costs is said. Raises BudgetExceeded."""
    job = within_budget(job, budget, rates, partial / "tokens")
    seconds, disk, memory = job.estimate(rates)
    progress.say(
        f"{job.wanted:,} tokens to read and {job.train.tokens:,} to train on: about {duration(seconds)}, "
        f"{disk / 1e6:,.0f} MB of disk, {memory / 1e6:,.0f} MB of memory besides the engine's"
    )
    return job


def within_budget(job: Job, budget: Budget, rates: Rates, kept: Path) -> Job:
    """As it was decided when the run was first started."""
    if kept.is_file():
        return job.of_tokens(int(kept.read_text()))
    job = job.within(budget, rates)
    write_text(kept, str(job.train.tokens))
    return job


def duration(seconds: float) -> str:
    """In the unit that reads best: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def stream_of(chunks: Chunks, job: Job) -> Stream:
    return Stream(chunks, StreamConfig(buffer_tokens=job.buffer_tokens, batch_tokens=job.train.batch_tokens))


@contextmanager
def training_bar(job: Job, progress: Progress) -> Iterator[Callable[[StepReport], None]]:
    """Over the tokens that are trained on; what it yields is called with what training says after a step."""
    name = "reading and training" if job.streamed else "training"
    with progress.work(name, job.train.tokens_trained, "tokens") as work:

        def show(report: StepReport) -> None:
            work.at(report.step * job.train.batch_tokens)
            work.say(report.words)

        yield show
