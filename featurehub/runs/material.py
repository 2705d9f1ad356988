"""The documents that SAEs are trained on, and those that they are measured on."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.engine.offline import Engine
from featurehub.errors import InvalidInput
from featurehub.runs.harvest import read_documents
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from featurehub.token_ids import Message
from saes.documents import Document, count_tokens, ordinary, text_hash

__all__ = ["Material", "MaterialConfig", "dataset_of", "material_of", "split", "take_until"]


class MaterialConfig(Frozen):
    """How a text is cut into documents and split.

    Attributes:
        text: What the text is called.
        max_tokens: Longest document, in tokens; longer texts are cut into several. None for 256, or fewer if the model
            reads fewer at once.
        held_out: Share of the documents that training never sees, in (0, 1). One document in every
            max(2, round(1 / held_out)) is held out, so at most half.
    """

    text: str = ""
    max_tokens: int | None = None
    held_out: float = Field(default=0.25, gt=0, lt=1)


class Material(NamedTuple):
    """What SAEs are trained on, and the documents that they are measured on.

    Attributes:
        text: What the text is called.
        identity: The model as seen from the hook point.
        hook: Where the SAEs read.
        training: Documents to train on.
        held_out: Documents that training never sees.
    """

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
    """Tokenizes texts and splits them into training and held-out documents.

    Args:
        config: How the text is cut and split.
        engine: Its tokenizer and its longest input bound the documents.
        identity: The model as seen from the hook point.
        hook: Where the SAEs read.
        entries: The texts or chats.
        progress: Told which texts were left out.

    Raises:
        InvalidInput: There are too few texts, or the model cannot read documents of ``config.max_tokens``.
    """
    training, held_out = split(read_documents(engine, entries, config.max_tokens, progress), config.held_out)
    return Material(config.text, identity, hook, training, held_out)


def dataset_of(text: str, documents: Sequence[Document]) -> dict[str, str | int]:
    """The manifest's record of a text: its name if it has one, documents and tokens read, and their hash."""
    named = {"name": text} if text else {}
    return {**named, "documents": len(documents), "tokens": count_tokens(documents), "hash": text_hash(documents)}


def split(documents: Sequence[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """Splits documents into training and held-out ones, taking every n-th for the latter.

    A long text that was cut into several documents can end up on both sides.

    Args:
        documents: All documents, in order.
        held_out: Share to hold out; at most half of the documents are.

    Returns:
        Training documents and held-out documents.

    Raises:
        InvalidInput: There are too few documents.
    """
    stride = max(2, round(1 / held_out))
    if len(documents) < 8 * stride:
        raise InvalidInput(f"{len(documents)} documents are too few; give at least {8 * stride}", param="text")
    training = [document for i, document in enumerate(documents) if i % stride]
    return training, list(documents[::stride])


def take_until(documents: Iterable[Document], tokens: int, special: Collection[int]) -> Iterator[Document]:
    """Yields documents until they add up to ``tokens`` ordinary (not special) tokens, or there are no more."""
    for document in documents:
        if tokens <= 0:
            return
        yield document
        tokens -= ordinary(document, special)
