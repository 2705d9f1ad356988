"""Finds features by words and ranks them.

1. Candidates by name: the names in which a word of the query begins a word (full-text index on SQLite, LIKE elsewhere),
   best first, at most ``CANDIDATES``; where no name has any, names that look alike.
2. Candidates by text: features whose top contexts and top tokens hold every word of the query.
3. Relevance of a name, in [0, 1]: 1 if it is the query, or has its words in order and no other; ``BASE`` if that holds
   of the part before its brackets (``banking (loan)`` for ``banking``: another feature of that name); else each word
   counts ``WORD`` if the name's head has it, ``PREFIX`` if it begins one of the head's, ``FURTHER`` if it is or begins
   one after the head (``play: park`` for ``park``), ``ALIKE`` x likeness if it resembles one, 0 else; the mean is
   weighted by how rare the word is among the candidates, and a name's further words cost up to a tenth. A feature's
   relevance is that of its best name, or ``TEXT`` where only its text was found.
4. Rank: relevance x label score x steerability, where a factor that was never measured counts as ``UNSCORED`` or
   ``UNTESTED``, and no factor counts less than ``FLOOR``: what does not steer comes last, but can still be found.
   What was found by its text alone comes after all that has the word in a name, however well it steers.
5. An empty query lists all features, relevance 1.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from rapidfuzz import fuzz, process
from sqlalchemy import ColumnElement, and_, literal_column, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from featurehub.errors import InvalidInput
from featurehub.records import SearchPage
from featurehub.settings import Limits
from featurehub.store.names import base_of, fold, head_of, words_of
from featurehub.store.rows import batches, in_artifact, load_features
from featurehub.store.schema import FeatureRecord, NameRecord, TextRecord

__all__ = ["search"]

CANDIDATES = 500
BASE = 0.95
WORD = 0.75
PREFIX = 0.5
FURTHER = 0.35
ALIKE = 0.3
TEXT = 0.1
ALIKE_FROM = 70
UNSCORED = 0.5
UNTESTED = 0.3
FLOOR = 0.05
LIMIT = 1000

Names = list[tuple[str, str]]
"""Feature ids and names."""


def search(session: Session, query: str, artifact: str | None, limit: int, after: str | None) -> SearchPage:
    """One page of features, best first.

    artifact: an id, or None for all;  limit: in 1..1000;  after: the ``next`` of the page before
    Raises InvalidInput for a query that is too long, a limit out of bounds, an ``after`` that is not in the results.
    """
    if len(query) > Limits().name_chars:
        raise InvalidInput(f"a query has at most {Limits().name_chars} characters, not {len(query)}", param="q")
    if not 1 <= limit <= LIMIT:
        raise InvalidInput(f"limit must lie in 1..{LIMIT}, not {limit}", param="limit")
    relevance = _relevance(session, query, artifact) if query.strip() else None
    ranked = _ranked(session, relevance, artifact)
    start = _start(ranked, after)
    page = ranked[start : start + limit]
    features = load_features(session, page)
    shown = (
        each.model_copy(update={"relevance": 1.0 if relevance is None else relevance[each.id]}) for each in features
    )
    return SearchPage(features=tuple(shown), next=page[-1] if start + limit < len(ranked) else None)


def rank(relevance: float, label_score: float | None, steerability: float | None) -> float:
    """The number that results are ordered by."""
    score = UNSCORED if label_score is None else label_score
    steers = UNTESTED if steerability is None else steerability
    return relevance * max(score, FLOOR) * max(steers, FLOOR)


def grade(query: Sequence[str], name: str, weight: Callable[[str], float]) -> float:
    """Relevance of one name to the words of a query, in [0, 1]."""
    words = words_of(name)
    if tuple(query) == words:
        return 1.0
    if tuple(query) == words_of(base_of(name)):
        return BASE
    if not query or not words:
        return 0.0
    head = words_of(head_of(name))
    graded = sum(weight(word) * _grade_word(word, head, words) for word in query) / sum(map(weight, query))
    return graded * (0.9 + 0.1 * min(1.0, len(query) / len(words)))


def _grade_word(word: str, head: Sequence[str], name: Sequence[str]) -> float:
    if word in head:
        return WORD
    if any(each.startswith(word) for each in head):
        return PREFIX
    if any(each.startswith(word) for each in name):
        return FURTHER
    likeness = max(fuzz.ratio(word, each) for each in name)
    return ALIKE * likeness / 100 if likeness >= ALIKE_FROM else 0.0


def _relevance(session: Session, query: str, artifact: str | None) -> dict[str, float]:
    """Relevance of every feature that was found."""
    exact = select(NameRecord.feature_id).where(
        NameRecord.key == fold(query), in_artifact(NameRecord.feature_id, artifact)
    )
    return _by_words(session, words_of(query), artifact) | dict.fromkeys(session.scalars(exact), 1.0)


def _by_words(session: Session, query: Sequence[str], artifact: str | None) -> dict[str, float]:
    if not query:
        return {}
    in_text = _matching(session, TextRecord.text, query, artifact, every=True)
    found = dict.fromkeys((feature_id for feature_id, _ in in_text), TEXT)
    names = _names(session, query, artifact)
    weight = _rarity(words_of(name) for _, name in names)
    for feature_id, name in names:
        graded = grade(query, name, weight)
        if graded > found.get(feature_id, 0.0):
            found[feature_id] = graded
    return found


def _names(session: Session, query: Sequence[str], artifact: str | None) -> Names:
    return _matching(session, NameRecord.key, query, artifact, every=False) or _alike(session, query, artifact)


def _alike(session: Session, query: Sequence[str], artifact: str | None) -> Names:
    """Names with a likeness to the query; scans all of them, so only where nothing else was found."""
    wanted = select(NameRecord.feature_id, NameRecord.key).where(in_artifact(NameRecord.feature_id, artifact))
    rows = session.execute(wanted.order_by(NameRecord.feature_id, NameRecord.id)).all()
    alike = process.extract(
        " ".join(query), [row.key for row in rows], scorer=fuzz.WRatio, score_cutoff=ALIKE_FROM, limit=CANDIDATES
    )
    return [(rows[at].feature_id, rows[at].key) for _, _, at in alike]


def _rarity(names: Iterable[Sequence[str]]) -> Callable[[str], float]:
    counts = Counter(chain.from_iterable(set(name) for name in names))
    total = sum(counts.values())
    return lambda word: math.log(2 + total / (1 + counts[word]))


def _ranked(session: Session, relevance: Mapping[str, float] | None, artifact: str | None) -> list[str]:
    """All found ids, best first, those of the text after those of the names; equal ones by id, so that pages fit."""
    factors = select(FeatureRecord.id, FeatureRecord.label_score, FeatureRecord.steerability)
    if relevance is None:
        rows = session.execute(factors.where(in_artifact(FeatureRecord.id, artifact))).all()
        scored = [(rank(1.0, row.label_score, row.steerability), row.id) for row in rows]
    else:
        found = (session.execute(factors.where(FeatureRecord.id.in_(ids))) for ids in batches(relevance))
        rows = chain.from_iterable(found)
        scored = [(rank(relevance[row.id], row.label_score, row.steerability), row.id) for row in rows]
    by_text = {each for each, graded in (relevance or {}).items() if graded <= TEXT}
    return [each for _, each in sorted(scored, key=lambda pair: (pair[1] in by_text, -pair[0], pair[1]))]


def _start(ranked: Sequence[str], after: str | None) -> int:
    if after is None:
        return 0
    if after not in ranked:
        raise InvalidInput("`after` is not among the results any more; start again without it", param="after")
    return ranked.index(after) + 1


def _matching(
    session: Session, column: InstrumentedAttribute[str], query: Sequence[str], artifact: str | None, *, every: bool
) -> list[tuple[str, str]]:
    """Feature ids with the names or texts that have the words of the query: every one, or any."""
    table = column.class_
    rows = select(table.feature_id, column.label("found")).where(in_artifact(table.feature_id, artifact))
    if session.get_bind().dialect.name == "sqlite":
        index = f"{table.__tablename__}_index"
        # Quoted, so that no word is an operator; \w+ leaves no quotation mark inside.
        match = (" AND " if every else " OR ").join(f'"{word}"*' for word in query)
        hits = text(f"SELECT rowid, rank FROM {index} WHERE {index} MATCH :match").bindparams(match=match)
        index_rows = hits.columns(literal_column("rowid"), literal_column("rank")).subquery()
        rows = rows.join(index_rows, index_rows.c.rowid == table.id).order_by(index_rows.c.rank, table.id)
    else:
        rows = rows.where(_like(column, query, every)).order_by(table.id)
    return [(row.feature_id, row.found) for row in session.execute(rows.limit(CANDIDATES))]


def _like(column: InstrumentedAttribute[str], query: Sequence[str], every: bool) -> ColumnElement[bool]:
    has = [
        or_(column.startswith(word, autoescape=True), column.contains(f" {word}", autoescape=True)) for word in query
    ]
    return and_(*has) if every else or_(*has)
