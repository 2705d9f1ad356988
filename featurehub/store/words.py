"""The words that an artifact's features go with, in whatever text: how search finds features by words of no label."""

from collections.abc import Mapping, Sequence

from pydantic_core import to_json
from sqlalchemy import select
from sqlalchemy.orm import Session

from featurehub.names import fold
from featurehub.store.bulk import insert_rows
from featurehub.store.schema import WordRecord
from featurehub.store.sql import statement

__all__ = ["save_words", "words_of"]

FORGET = statement("DELETE FROM words WHERE artifact_id = :artifact")
COLUMNS = ("artifact_id", "word", "latents")


def save_words(session: Session, artifact: str, words: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Makes these the words of an artifact; there are no others any more."""
    session.execute(FORGET, {"artifact": artifact})
    # Of words that are folded alike, the last counts.
    folded = {fold(word): to_json(latents).decode() for word, latents in words.items()}
    insert_rows(session, "words", COLUMNS, ((artifact, word, latents) for word, latents in folded.items()))


def words_of(session: Session, artifact: str) -> dict[str, list[tuple[int, float]]]:
    """The words of an artifact."""
    query = select(WordRecord).where(WordRecord.artifact_id == artifact).order_by(WordRecord.word)
    return {each.word: [(int(latent), float(much)) for latent, much in each.latents] for each in session.scalars(query)}
