"""Words in SQLite: FTS5 indexes beside the tables, which triggers keep up to date. Their rank is bm25."""

from collections.abc import Sequence

from featurehub.store.candidates import FullText, candidates

__all__ = ["SQLITE"]


def joined(operator: str, words: Sequence[str]) -> str:
    """An FTS5 query. The words are quoted, so that none is an operator; the empty phrase matches nothing."""
    return operator.join([f'"{word}"*' for word in words] or ['""'])


SQLITE = FullText(
    matching=candidates(
        by_name="SELECT rowid AS id, rank FROM names_index WHERE names_index MATCH :any_word",
        by_text="SELECT rowid AS id, rank FROM texts_index WHERE texts_index MATCH :every_word",
        pairs="json_each(words.latents) AS each",
        latent="json_extract(each.value, '$[0]')",
        goes="json_extract(each.value, '$[1]')",
    ),
    any_word=lambda words: joined(" OR ", words),
    every_word=lambda words: joined(" AND ", words),
)
