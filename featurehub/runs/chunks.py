"""The text of a training run, in the form in which training reads it.

1. A text that training reads once is read through the engine as training asks for it; nothing is written to disk.
2. A text that is read several times, or whose shards are to be kept, is harvested first. Harvesting resumes where an
   earlier run was stopped. If its time is over, training goes on with the shards that there are, and so does a run that
   resumes it.
"""

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from featurehub.artifacts.files import write_text
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.runs.progress import Progress
from saes.cost import Job
from saes.documents import Document, count_tokens
from saes.harvest import Harvest, HarvestConfig, harvest_documents
from saes.reader import StreamReader
from saes.stream import Chunks, DocumentChunks

__all__ = ["HarvestSource", "chunks_of", "harvested"]


class HarvestSource(NamedTuple):
    """What is harvested, and by what.

    Attributes:
        reader: Reads the stream, usually an engine.
        documents: In the order in which they are read.
        special: Ids of tokens that are not text.
        model: The model as seen from the last hook point.
        points: Hook points to read at.
        config: The form of shards, and how much is read at once.
        widths: Numbers of a token at each hook point; d_model at each by default.
    """

    reader: StreamReader
    documents: Sequence[Document]
    special: Collection[int]
    model: ModelIdentity
    points: Sequence[HookPoint]
    config: HarvestConfig
    widths: Sequence[int] = ()


class FirstShards:
    """The first shards of a harvest that was ended early.

    Attributes:
        harvest: The harvest.
        shards: How many of its shards there are.
    """

    def __init__(self, harvest: Harvest, shards: int) -> None:
        self.harvest, self.shards = harvest, shards

    def __len__(self) -> int:
        return self.shards

    def streams(self, chunk: int) -> list[Tensor]:
        """Returns the stream of a shard's documents, as ``Harvest.streams``."""
        return self.harvest.streams(chunk)


class TimeOver(Exception):
    """Ends a harvest, after so many shards."""

    def __init__(self, harvest: Harvest, shards: int) -> None:
        self.harvest, self.shards = harvest, shards


def chunks_of(job: Job, reading: HarvestSource, folder: Path, until: float, kept: Path, progress: Progress) -> Chunks:
    """The text in the form in which training reads it.

    Args:
        job: What is trained; decides whether shards are written.
        reading: What to read.
        folder: Folder for shards, if any are written.
        until: When harvesting should be done, in seconds of ``time.monotonic``. After the shard in which that is over,
            training goes on with those that there are.
        kept: File that keeps how many these are.
        progress: Receives progress reports.

    Raises:
        BudgetExceeded: The disk is too small; nothing is read then.
        InvalidInput: The folder holds another harvest.
    """
    if not job.streamed:
        return harvested_in_time(reading, folder, until, kept, progress)
    size = reading.config.documents_at(len(reading.points))
    return DocumentChunks(reading.reader, reading.documents, reading.special, size, reading.points)


def harvested_in_time(
    reading: HarvestSource, folder: Path, until: float, kept: Path, progress: Progress
) -> Harvest | FirstShards:
    most = int(kept.read_text()) if kept.is_file() else None
    try:
        return harvested(reading, folder, "harvesting", progress, until, most)
    except TimeOver as over:
        write_text(kept, str(over.shards))
        progress.say(f"read {over.shards} of {len(over.harvest)} shards of the text: the time ran short")
        return FirstShards(over.harvest, over.shards)


def harvested(
    reading: HarvestSource,
    folder: Path,
    what: str,
    progress: Progress,
    until: float = math.inf,
    most: int | None = None,
) -> Harvest:
    """Writes the shards that ``folder`` does not hold yet.

    Args:
        reading: What to read.
        folder: Folder for shards.
        what: Name of the work, for progress reports.
        progress: Receives progress reports.
        until: When harvesting should be done, in seconds of ``time.monotonic``.
        most: Most shards to write; None for all.

    Raises:
        TimeOver: The time is over, or there are as many shards as are wanted, before the last one.
        BudgetExceeded: The disk is too small.
        InvalidInput: The folder holds another harvest.
    """
    shards = 0
    with progress.work(what, count_tokens(reading.documents), "tokens") as bar:

        def show(tokens: int, harvest: Harvest) -> None:
            nonlocal shards
            shards += 1
            bar(tokens)
            bar.say(f"{harvest.bytes / 1e6:,.0f} MB")
            if shards < len(harvest) and (shards == most or (most is None and time.monotonic() > until)):
                raise TimeOver(harvest, shards)

        return harvest_documents(
            reading.reader, reading.documents, reading.special, folder, reading.model, reading.points, reading.config,
            show, reading.widths,
        )  # fmt: skip
