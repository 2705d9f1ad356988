"""What harvest and training will cost, estimated before they start; and how much of it fits into a budget.

1. Rates are measured: some documents are read, and a throwaway copy of what will be trained makes some steps.
2. seconds = tokens to read / reading rate + tokens to train on / training rate
3. A budget of time takes the largest number of steps for which that is at most ``SHARE`` of it, since rates vary. A
   span takes several tokens to read, so that reading would take nearly all of that time: under a budget, spans are
   trained on ``PASSES`` times.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.errors import BudgetExceeded
from featurehub.settings import Frozen
from saes.budget import Budget
from saes.documents import Document
from saes.reader import StreamReader
from saes.run import TrainConfig

__all__ = ["Estimate", "Job", "Rates", "measure"]

SHARE = 0.9
FEWEST_STEPS = 40
PASSES = 4
FEWEST_BATCHES = 8
"""Batches that the shuffle buffer holds at least, unless it was asked to be smaller."""
TRIED_TOKENS, TRIED_STEPS = 4096, 8
FLOAT32 = 4


class Rates(NamedTuple):
    """Measured speeds.

    Attributes:
        read: Tokens per second that the engine reads.
        train: Tokens per second that training takes.
    """

    read: float
    train: float


class Estimate(NamedTuple):
    """What a job is expected to need.

    Attributes:
        seconds: Time for reading and training.
        disk: Bytes of shards and checkpoint.
        memory: Bytes of shuffle buffer, weights, gradients, moments and one batch's activations.
    """

    seconds: float
    disk: int
    memory: int


class Job(Frozen):
    """What is to be read and trained.

    Attributes:
        train: Settings of the training run.
        buffer_tokens: Size of the shuffle buffer, in tokens.
        weights: Trained numbers, over everything that is trained in the same pass.
        latents: Latents of the widest SAE or transcoder that is trained.
        width: Numbers in one token's stream: d_model for each hook point.
        text_tokens: Tokens of the whole text, not counting repeats.
        chunk_tokens: Tokens that are read at once.
        token_bytes: Bytes that one token takes in a shard.
        shards: Whether shards are written even if training passes the text only once.
        passes: How often training passes the text that is read, or more often where there is too little of it.
    """

    train: TrainConfig
    buffer_tokens: int
    weights: int
    latents: int
    width: int
    text_tokens: int
    chunk_tokens: int
    token_bytes: int
    shards: bool = False
    passes: int = 1

    @property
    def streamed(self) -> bool:
        """Whether the text is passed only once and read while training asks for it, without shards on disk."""
        return not self.shards and self.passes == 1 and self.train.wanted(self.buffer_tokens) <= self.text_tokens

    @property
    def wanted(self) -> int:
        """Tokens to read: no more of the text than training passes."""
        return min(self.text_tokens, self.train.wanted(self.buffer_tokens) // self.passes)

    def estimate(self, rates: Rates) -> Estimate:
        """Returns what the job needs at these rates."""
        weights, token = self.weights * FLOAT32, self.width * FLOAT32
        shards = 0 if self.streamed else self.wanted * self.token_bytes
        return Estimate(
            seconds=self.wanted / rates.read + self.train.tokens / rates.train,
            # A checkpoint: weights, Adam's two moments, the buffer.
            disk=shards + 3 * weights + self.buffer_tokens * token,
            # Gradients too; the buffer twice while it is shuffled.
            memory=2 * (self.buffer_tokens + self.chunk_tokens) * token
            + 4 * weights
            + 4 * self.train.batch_tokens * self.latents * FLOAT32,
        )

    def of_tokens(self, tokens: int) -> "Job":
        """Returns the same job with this many training tokens; with few of them, the shuffle buffer is smaller too."""
        enough = max(FEWEST_BATCHES * self.train.batch_tokens, tokens // 4)
        train = self.train.model_copy(update={"tokens": tokens})
        return self.model_copy(update={"train": train, "buffer_tokens": min(self.buffer_tokens, enough)})

    def of_passes(self, passes: int) -> "Job":
        """Returns the same job, passing so often over less text."""
        return self.model_copy(update={"passes": passes})

    def of_steps(self, steps: int) -> "Job":
        """Returns the same job with this many training steps."""
        return self.of_tokens(steps * self.train.batch_tokens)

    def within(self, budget: Budget, rates: Rates) -> "Job":
        """Returns the same job with as many training tokens as the budget allows, and no more than it has.

        Raises:
            BudgetExceeded: If that is fewer than ``FEWEST_STEPS`` steps, and fewer than the job has.
        """
        if budget == Budget():
            return self
        if self.train.span > 1 and budget.seconds is not None and self.passes == 1:
            return self.of_passes(PASSES).within(budget, rates)
        steps = self.train.steps
        if budget.tokens is not None:
            steps = min(steps, budget.tokens // self.train.batch_tokens)
        if budget.seconds is not None:
            seconds = SHARE * budget.seconds
            allowed = bisect_right(range(1, steps + 1), seconds, key=lambda n: self.of_steps(n).estimate(rates).seconds)
            steps = min(steps, allowed)
        if steps < min(FEWEST_STEPS, self.train.steps):
            least = self.of_steps(FEWEST_STEPS)
            raise BudgetExceeded(
                f"the budget is too small: the fewest steps that make an SAE, {FEWEST_STEPS} ({least.train.tokens:,} "
                f"tokens), take about {least.estimate(rates).seconds / SHARE:.0f} s at the speed of this machine",
                param="budget",
            )
        return self.of_steps(steps)


def measure(
    reader: StreamReader,
    documents: Sequence[Document],
    job: Job,
    step: Callable[[Tensor], object],
    points: Sequence[HookPoint] = (),
) -> Rates:
    """Measures how fast the engine reads and the job trains; takes a second or so.

    Args:
        reader: Reads the stream.
        documents: The text, at least one document; only its beginning is read.
        job: What is to be trained.
        step: Makes one step of a trial on a batch, [tokens, width].
        points: Hook points, as in ``StreamReader.capture``.
    """
    return Rates(reading_rate(reader, documents, points), training_rate(job, step))


def reading_rate(reader: StreamReader, documents: Sequence[Document], points: Sequence[HookPoint]) -> float:
    sizes = accumulate(len(document.token_ids) for document in documents)
    tried = [document.token_ids for document, size in zip(documents, sizes, strict=False) if size <= TRIED_TOKENS]
    tried = tried or [documents[0].token_ids]
    reader.capture(tried[:1], *points)
    return sum(map(len, tried)) / seconds_of(lambda: reader.capture(tried, *points))


def training_rate(job: Job, step: Callable[[Tensor], object]) -> float:
    batch = torch.randn(job.train.batch_tokens, job.width, generator=torch.Generator().manual_seed(0))
    step(batch)
    return TRIED_STEPS * len(batch) / seconds_of(lambda: [step(batch) for _ in range(TRIED_STEPS)])


def seconds_of(call: Callable[[], object]) -> float:
    """Returns how long the work takes: on a GPU it goes on after the call returns."""
    settle()
    started = time.monotonic()
    call()
    settle()
    return max(time.monotonic() - started, 1e-6)


def settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
