"""`featurehub features embed`: gives features' labels, tokens and contexts their vectors, by which search finds them.

Each batch is written in a transaction of its own, so that others may write between, and a run that was stopped goes on
where it was: only what has no vector yet is embedded.
"""

from collections.abc import Iterator
from contextlib import closing

from featurehub.embedding import Embedder, chosen_embedder
from featurehub.errors import FeaturehubError
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import EmbeddingKind, Store, Unembedded, open_store

__all__ = ["embed_features", "embed_if_possible"]

BATCH = 512
"""Features whose texts are embedded and written at once."""


def embed_features(
    store: Store, embedder: Embedder, artifact: str | None = None, progress: Progress = SILENT
) -> dict[str, int]:
    """Embeds the features that have no vectors of this embedder yet.

    Args:
        store: The feature database.
        embedder: Where the vectors come from. Those of another one are deleted first.
        artifact: Id, name or alias of one SAE; None for all that are registered.
        progress: Receives progress reports.

    Returns:
        How many vectors were stored, by the name of each SAE that got any.

    Raises:
        ArtifactNotFound: The SAE is not registered.
        EmbedderUnavailable: The embedder does not answer; what it embedded until then is stored.
        EmbedderMismatch: Another process embeds the same features by another embedder.
        StoreBusy: Another process keeps writing.
        StoreReadOnly: The database can only be read.
    """
    with store.read() as reader:
        asked = [reader.artifact(artifact)] if artifact else reader.artifacts()
    stored: dict[str, int] = {}
    for each in asked:
        with store.write() as writer:
            writer.vectors.begin(each.id, embedder.identity, embedder.dimensions)
            features, _ = writer.reader.count_features(each.id)
        with progress.work(f"embedding {each.name}", features * len(EmbeddingKind), "texts") as work:
            for at, kind in enumerate(EmbeddingKind):
                for batch in unembedded(store, each.id, kind):
                    done = store_vectors(store, embedder, each.id, kind, batch)
                    stored[each.name] = stored.get(each.name, 0) + done
                    work.at(at * features + min(features, batch[-1].latent + 1))
                work.at((at + 1) * features)
    with store.write() as writer:
        writer.vectors.index()
    return {name: count for name, count in stored.items() if count}


def embed_if_possible(database: str, artifact: str, progress: Progress = SILENT) -> None:
    """Embeds an artifact's features at the end of a run whose own work is done; a warning says why not.

    Args:
        database: Path of the feature database.
        artifact: Id of the SAE.
        progress: Receives progress reports.
    """
    try:
        embedder = chosen_embedder()
        if embedder is None:
            progress.say("no embedder is installed or chosen: search finds the features by words alone")
            return
        with closing(open_store(database)) as store:
            embed_features(store, embedder, artifact, progress)
    except FeaturehubError as error:
        progress.warn(f"search finds the features by words alone until `featurehub features embed` is run: {error}")


def unembedded(store: Store, artifact: str, kind: EmbeddingKind) -> Iterator[list[Unembedded]]:
    """The features without a vector of this kind, in batches, by latent."""
    after = -1
    while True:
        with store.read() as reader:
            batch = reader.unembedded(artifact, kind, after, BATCH)
        if not batch:
            return
        yield batch
        after = batch[-1].latent


def store_vectors(store: Store, embedder: Embedder, artifact: str, kind: EmbeddingKind, batch: list[Unembedded]) -> int:
    """Embeds and stores a batch; features without such a text are passed over. Returns how many were stored."""
    texts = {each.id: each.text for each in batch if each.text}
    if not texts:
        return 0
    vectors = embedder.embed(list(texts.values()))
    with store.write() as writer:
        return writer.vectors.put(artifact, embedder.identity, kind, texts, vectors)
