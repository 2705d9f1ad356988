"""What a training run will cost, said before it starts, and how much of it its budget allows.

The decision is kept in the run's partial folder: a run that goes on keeps to it, whatever its budget is then.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from featurehub.artifacts.files import write_text
from featurehub.cli.progress import Bar, console, duration, work
from saes.budget import Budget
from saes.cost import Job, Rates

__all__ = ["agreed", "training_bar"]


def agreed(job: Job, budget: Budget, rates: Rates, partial: Path) -> Job:
    """The job within the budget, and what it costs is said. Raises BudgetExceeded."""
    job = decided(job, budget, rates, partial / "tokens")
    seconds, disk, memory = job.estimate(rates)
    console.print(
        f"  {job.wanted:,} tokens to read and {job.train.tokens:,} to train on: about {duration(seconds)}, "
        f"{disk / 1e6:,.0f} MB of disk, {memory / 1e6:,.0f} MB of memory besides the engine's",
        soft_wrap=True,
    )
    return job


def decided(job: Job, budget: Budget, rates: Rates, kept: Path) -> Job:
    """As it was decided when the run was first started."""
    if kept.is_file():
        return job.of_tokens(int(kept.read_text()))
    job = job.within(budget, rates)
    write_text(kept, str(job.train.tokens))
    return job


def training_bar(job: Job) -> AbstractContextManager[Bar]:
    """Over the tokens that are trained on."""
    return work("reading and training" if job.streamed else "training", job.train.tokens_trained, "tokens")
