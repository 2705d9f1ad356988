"""Words in SQLite: FTS5 indexes beside the tables, which triggers keep up to date. Their rank is bm25.

bm25 counts all rows with each of the words, so that it is only asked for words that few have.
"""

import json
from collections.abc import Sequence

from sqlalchemy.orm import Session

from featurehub.store.candidates import MANY, FullText, Term, candidates
from featurehub.store.sql import statement

__all__ = ["SQLITE"]

MATCHES = "SELECT rowid FROM {0}_index WHERE {0}_index MATCH {1} LIMIT {2}"
NAME = "names.id, feature_id, names.key, owner, name_words, head_words"
BEST = (
    f"SELECT {NAME}, rank FROM names_index CROSS JOIN names ON names.id = names_index.rowid"
    " WHERE names_index MATCH :names"
)
BY_TEXT = f"SELECT rowid AS id, rowid + 0 AS rank FROM texts_index WHERE texts_index MATCH :texts LIMIT {MANY}"
PAIRS = "json_each(words.latents) AS each"
LATENT, GOES = "json_extract(each.value, '$[0]')", "json_extract(each.value, '$[1]')"
# A count that is cut short: the index gives one row after another.
COMMON = statement(
    f"SELECT value FROM json_each(:terms) WHERE"
    f" (SELECT count(*) FROM ({MATCHES.format('names', 'value', MANY)})) >= {MANY}"
)


def term(asked: Term) -> str:
    """A term, quoted, so that no word is an operator."""
    return f'"{asked.word}"' + "*" * asked.begins


def any_of(terms: Sequence[Term]) -> str:
    """An FTS5 query; the empty phrase matches nothing."""
    return " OR ".join([term(each) for each in terms] or ['""'])


def every_of(groups: Sequence[Sequence[Term]]) -> str:
    """An FTS5 query for one term of each group."""
    return " AND ".join([f"({any_of(each)})" for each in groups] or ['""'])


def common(session: Session, terms: Sequence[Term]) -> set[Term]:
    """Those of the terms that many names have."""
    found = session.execute(COMMON, {"terms": json.dumps([term(each) for each in terms])}).scalars().all()
    return {each for each in terms if term(each) in found}


SQLITE = FullText(
    best=candidates(BEST, BY_TEXT, PAIRS, LATENT, GOES),
    first=candidates(
        f"SELECT {NAME}, length(key) AS rank FROM names WHERE id IN ({MATCHES.format('names', ':names', MANY)})",
        BY_TEXT, PAIRS, LATENT, GOES,
    ),
    any_of=any_of,
    every_of=every_of,
    common=common,
)  # fmt: skip
