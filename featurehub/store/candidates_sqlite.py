"""Words in SQLite: FTS5 indexes beside the tables, which triggers keep up to date. Their rank is bm25.

bm25 counts all rows with each of the words, so that it is only asked for words that few have.
"""

import json
from collections.abc import Sequence

from sqlalchemy.orm import Session

from featurehub.store.candidates import MANY, FullText, Term, candidates
from featurehub.store.only import IN_SCOPE
from featurehub.store.sql import statement

__all__ = ["SQLITE"]

NAME = "names.id, feature_id, names.key, owner, name_words, head_words"
BEST = (
    f"SELECT {NAME}, rank FROM names_index CROSS JOIN names ON names.id = names_index.rowid"
    " WHERE names_index MATCH :names AND artifact_id IN :saes"
)
# One row after another comes from the index, until there are as many as are looked for.
FIRST, BY_TEXT = (
    f"SELECT {columns} FROM {each}_index CROSS JOIN {each} ON {each}.id = {each}_index.rowid"
    f" WHERE {each}_index MATCH :{each} AND {IN_SCOPE.format(table=each)} LIMIT {MANY}"
    for each, columns in (("names", f"{NAME}, length(names.key) AS rank"), ("texts", "texts.id, texts.id + 0 AS rank"))
)
PAIRS = "json_each(words.latents) AS each"
LATENT, GOES = "json_extract(each.value, '$[0]')", "json_extract(each.value, '$[1]')"
# A count that is cut short: the index gives one row after another.
COMMON = statement(
    f"SELECT value FROM json_each(:terms) WHERE"
    f" (SELECT count(*) FROM (SELECT 1 FROM names_index WHERE names_index MATCH value LIMIT {MANY})) >= {MANY}"
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
    first=candidates(FIRST, BY_TEXT, PAIRS, LATENT, GOES),
    any_of=any_of,
    every_of=every_of,
    common=common,
)
