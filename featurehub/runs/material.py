"""What SAEs are trained on, and the documents that they are measured on."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.engine.offline import Engine
from featurehub.errors import InvalidInput
from featurehub.runs.harvest import read_documents
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from saes.documents import Document, count_tokens, ordinary, text_hash
from saes.texts import Message

__all__ = ["Material", "MaterialConfig", "dataset_of", "material_of", "split", "take_until"]


class MaterialConfig(Frozen):
    """What becomes of the text.

    text:       what it is called
    max_tokens: of a document, as in a ``HarvestPlan``
    held_out:   share of the documents that training never sees, in (0, 1)
    """

    text: str = ""
    max_tokens: int | None = None
    held_out: float = Field(default=0.25, gt=0, lt=1)


class Material(NamedTuple):
    """What SAEs are trained on, and the documents that they are measured on. text: what it is called"""

    text: str
    identity: ModelIdentity
    hook: HookPoint
    training: Sequence[Document]
    held_out: Sequence[Document]


def material_of(
    config: MaterialConfig,
    engine: Engine,
    identity: ModelIdentity,
    hook: HookPoint,
    entries: Sequence[str | list[Message]],
    progress: Progress,
) -> Material:
    """Raises InvalidInput where there are too few texts."""
    training, held_out = split(read_documents(engine, entries, config.max_tokens, progress), config.held_out)
    return Material(config.text, identity, hook, training, held_out)


def dataset_of(text: str, documents: Sequence[Document]) -> dict[str, str | int]:
    """For a manifest: what the text is called, how much of it was read, and the hash of that."""
    named = {"name": text} if text else {}
    return {**named, "documents": len(documents), "tokens": count_tokens(documents), "hash": text_hash(documents)}


def split(documents: Sequence[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents. Of a long text, cut into several, some documents come to either side.

    Raises InvalidInput where there are too few.
    """
    stride = max(2, round(1 / held_out))
    if len(documents) < 8 * stride:
        raise InvalidInput(f"{len(documents)} documents are too few; give at least {8 * stride}", param="text")
    training = [document for i, document in enumerate(documents) if i % stride]
    return training, list(documents[::stride])


def take_until(documents: Iterable[Document], tokens: int, special: Collection[int]) -> Iterator[Document]:
    """The first documents that come to so many ordinary tokens; all of them where they come to less."""
    for document in documents:
        if tokens <= 0:
            return
        yield document
        tokens -= ordinary(document, special)
