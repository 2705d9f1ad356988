"""The text of a training run as its stream takes it.

1. A text that training passes once is read while training asks for it, and nothing of it lies on disk.
2. One that is passed several times, or whose shards are to be kept, is harvested first; that goes on where an earlier
   run was stopped.
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
    """Who reads what, and how. documents: in the order in which they are read"""

    reader: StreamReader
    documents: Sequence[Document]
    special: Collection[int]
    model: ModelIdentity
    points: Sequence[HookPoint]
    config: HarvestConfig


def chunks_of(job: Job, reading: HarvestSource, folder: Path, until: float, progress: Progress) -> Chunks:
    """The text as training takes it.

    Args:
        folder: For shards.
        until: As in ``saes.run.resume_run``.

    Raises:
        BudgetExceeded: Shards that are there are kept.
    """
    if not job.streamed:
        return harvested(reading, folder, "harvesting", progress, until)
    size = reading.config.documents_at(len(reading.points))
    return DocumentChunks(reading.reader, reading.documents, reading.special, size, reading.points)


def harvested(reading: HarvestSource, folder: Path, what: str, progress: Progress, until: float = math.inf) -> Harvest:
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
