"""Words in PostgreSQL: columns of ``tsvector`` that the server fills, with GIN indexes.

Their rank is the share of a text's words that match; PostgreSQL does not know how rare a word is. Which words are
common, it says in the statistics that it keeps of large tables (``pg_stats``), which are read once in ``SECONDS``.
"""

import time
from collections.abc import Sequence

from sqlalchemy.orm import Session

from featurehub.store.candidates import MANY, FullText, Term, candidates
from featurehub.store.only import IN_SCOPE
from featurehub.store.sql import statement

__all__ = ["POSTGRES"]

SECONDS = 60.0
ENOUGH = MANY // 2
"""Names, from which the shortest are taken."""
NAME = "id, feature_id, key, owner, name_words, head_words"
BEST = (
    f"SELECT {NAME}, -ts_rank(words, query, 2) AS rank FROM names, to_tsquery('simple', :names) AS query"
    " WHERE words @@ query AND artifact_id IN :saes"
)
NAMES, TEXTS = (
    f"SELECT * FROM {each} WHERE words @@ to_tsquery('simple', :{each}) AND {IN_SCOPE.format(table=each)}"
    for each in ("names", "texts")
)
# The index gives no match before it has all; where there are very many, one of a sixteenth of the names has enough.
FIRST = f"""
    SELECT {NAME}, length(key) AS rank FROM (
        WITH sample AS MATERIALIZED ({NAMES} AND mod(id, 16) = 0 LIMIT {MANY})
        SELECT * FROM sample WHERE (SELECT count(*) FROM sample) >= {ENOUGH}
        UNION ALL SELECT * FROM ({NAMES} LIMIT {MANY}) AS whole WHERE (SELECT count(*) FROM sample) < {ENOUGH}
    ) AS few
"""
BY_TEXT = f"SELECT id, id + 0 AS rank FROM ({TEXTS} LIMIT {MANY}) AS few"
PAIRS = "LATERAL json_array_elements(words.latents) AS each(value)"
LATENT, GOES = "CAST(each.value ->> 0 AS INTEGER)", "CAST(each.value ->> 1 AS FLOAT)"
COMMON = statement(
    f"""
    SELECT word FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'words',
    unnest(CAST(CAST(s.most_common_elems AS text) AS text[]), s.most_common_elem_freqs) AS each(word, share)
    WHERE c.oid = CAST('names' AS regclass) AND word IS NOT NULL AND share * c.reltuples >= {MANY}
    """
)
KEPT: dict[str, tuple[float, frozenset[str]]] = {}
"""The words that are common in a database, by its URL, and when that was read."""


def term(asked: Term) -> str:
    """A term, quoted, so that no word is an operator."""
    return f"'{asked.word.replace('_', ' ')}'" + ":*" * asked.begins


def any_of(terms: Sequence[Term]) -> str:
    """A ``tsquery``; the empty one matches nothing."""
    return " | ".join(map(term, terms))


def every_of(groups: Sequence[Sequence[Term]]) -> str:
    """A ``tsquery`` for one term of each group."""
    return " & ".join(f"({any_of(each)})" for each in groups)


def common(session: Session, terms: Sequence[Term]) -> set[Term]:
    """Those of the terms that many names have."""
    at = str(session.get_bind().engine.url)
    read, words = KEPT.get(at, (-SECONDS, frozenset()))
    if (now := time.monotonic()) - read >= SECONDS:
        words = frozenset(session.execute(COMMON).scalars())
        KEPT[at] = now, words
    return {each for each in terms if each.word in words or (each.begins and _begins(each.word, words))}


def _begins(word: str, words: frozenset[str]) -> bool:
    return any(each.startswith(word) for each in words)


POSTGRES = FullText(
    best=candidates(BEST, BY_TEXT, PAIRS, LATENT, GOES),
    first=candidates(FIRST, BY_TEXT, PAIRS, LATENT, GOES),
    any_of=any_of,
    every_of=every_of,
    common=common,
)
