"""Words in PostgreSQL: columns of ``tsvector`` that the server fills, with GIN indexes.

Their rank is the share of a text's words that match; PostgreSQL does not know how rare a word is.
"""

from collections.abc import Sequence

from featurehub.store.candidates import FullText, candidates

__all__ = ["POSTGRES"]

RANKED = "SELECT id, -ts_rank(words, query, 2) AS rank FROM {}, to_tsquery('simple', :{}) AS query WHERE words @@ query"


def joined(operator: str, words: Sequence[str]) -> str:
    """A ``tsquery``. The words are quoted, so that none is an operator; the empty query matches nothing."""
    return operator.join(f"'{word.replace('_', ' ')}':*" for word in words)


POSTGRES = FullText(
    matching=candidates(
        by_name=RANKED.format("names", "any_word"),
        by_text=RANKED.format("texts", "every_word"),
        pairs="LATERAL json_array_elements(words.latents) AS each(value)",
        latent="CAST(each.value ->> 0 AS INTEGER)",
        goes="CAST(each.value ->> 1 AS FLOAT)",
    ),
    any_word=lambda words: joined(" | ", words),
    every_word=lambda words: joined(" & ", words),
)
