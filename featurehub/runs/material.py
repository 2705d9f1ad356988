"""What SAEs are trained on, and the documents that they are measured on."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.engine.offline import Engine
from featurehub.errors import InvalidInput
from featurehub.runs.harvest import read_documents
from saes.documents import Document, count_tokens, ordinary, text_hash
from saes.texts import Message

__all__ = ["Material", "dataset_of", "enough", "material_of", "split"]


class Material(NamedTuple):
    """What SAEs are trained on, and the documents that they are measured on."""

    identity: ModelIdentity
    hook: HookPoint
    training: Sequence[Document]
    held_out: Sequence[Document]


class MaterialPlan(Protocol):
    """held_out: share of the documents that training never sees, in (0, 1);  max_tokens: as in a ``HarvestPlan``"""

    @property
    def held_out(self) -> float: ...
    @property
    def max_tokens(self) -> int | None: ...


def material_of(
    plan: MaterialPlan, engine: Engine, identity: ModelIdentity, hook: HookPoint, entries: Sequence[str | list[Message]]
) -> Material:
    """Raises InvalidInput where there are too few texts."""
    return Material(identity, hook, *split(read_documents(engine, entries, plan.max_tokens), plan.held_out))


def dataset_of(text: str, documents: Sequence[Document]) -> dict[str, str | int]:
    """For a manifest: what the text is called, how much of it was read, and the hash of that."""
    named = {"name": text} if text else {}
    return {**named, "documents": len(documents), "tokens": count_tokens(documents), "hash": text_hash(documents)}


def split(documents: Sequence[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents. Raises InvalidInput where there are too few."""
    stride = max(2, round(1 / held_out))
    if len(documents) < 8 * stride:
        raise InvalidInput(f"{len(documents)} documents are too few; give at least {8 * stride}", param="text")
    training = [document for i, document in enumerate(documents) if i % stride]
    return training, list(documents[::stride])


def enough(documents: Iterable[Document], tokens: int, special: Collection[int]) -> Iterator[Document]:
    """The first documents that come to so many ordinary tokens; all of them where they come to less."""
    for document in documents:
        if tokens <= 0:
            return
        yield document
        tokens -= ordinary(document, special)
