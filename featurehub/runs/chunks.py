"""The text of a training run, in the form in which training reads it.

1. A text that training reads once is read through the engine as training asks for it; nothing is written to disk.
2. A text that is read several times, or whose shards are to be kept, is harvested first. Harvesting resumes where an
   earlier run was stopped.
"""

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import BudgetExceeded
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
    """

    reader: StreamReader
    documents: Sequence[Document]
    special: Collection[int]
    model: ModelIdentity
    points: Sequence[HookPoint]
    config: HarvestConfig


def chunks_of(job: Job, reading: HarvestSource, folder: Path, until: float, progress: Progress) -> Chunks:
    """The text in the form in which training reads it.

    Args:
        job: What is trained; decides whether shards are written.
        reading: What to read.
        folder: Folder for shards, if any are written.
        until: When the run must be done, in seconds of ``time.monotonic``.
        progress: Receives progress reports.

    Raises:
        BudgetExceeded: The time is over or the disk is too small; finished shards are kept.
        InvalidInput: The folder holds another harvest.
    """
    if not job.streamed:
        return harvested(reading, folder, "harvesting", progress, until)
    size = reading.config.documents_at(len(reading.points))
    return DocumentChunks(reading.reader, reading.documents, reading.special, size, reading.points)


def harvested(reading: HarvestSource, folder: Path, what: str, progress: Progress, until: float = math.inf) -> Harvest:
    """Writes the shards that ``folder`` does not hold yet.

    Args:
        reading: What to read.
        folder: Folder for shards.
        what: Name of the work, for progress reports.
        progress: Receives progress reports.
        until: When the run must be done, in seconds of ``time.monotonic``.

    Raises:
        BudgetExceeded: The time is over or the disk is too small; finished shards are kept.
        InvalidInput: The folder holds another harvest.
    """
    reader, documents, special, model, points, config = reading
    with progress.work(what, count_tokens(documents), "tokens") as bar:

        def show(tokens: int, harvest: Harvest) -> None:
            bar(tokens)
            bar.say(f"{harvest.bytes / 1e6:,.0f} MB")
            if time.monotonic() > until and harvest.missing:
                raise BudgetExceeded(
                    f"the time is over with {len(harvest.missing)} of {len(harvest)} shards to harvest; "
                    "the others are kept: start it again with more time, and it goes on from there",
                    param="budget",
                )

        return harvest_documents(reader, documents, special, folder, model, points, config, show)
