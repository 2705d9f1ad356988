"""Finds features by words and by meaning, and ranks them.

1. Candidates by name: the names that have words of the query, best first; where none has any, names that look alike
   (``matching``).
2. Candidates by word: of each word of the query, the features that go with it in whatever text, as labelling found
   (``labeling.associations``). Candidates by text: those whose top contexts and tokens hold every word of the query.
3. Relevance of a name, in [0, 1]: by the words that it shares with the query (``grading``). By words it is
   ``GOES`` x the mean of m / (1 + m) over those words of the query that go with any feature, m being how much they go
   with this one. A feature's relevance is the best of these, or ``TEXT`` where only its text was found.
4. Candidates by meaning, where the query comes with its vector: of each kind of vector the ``NEAR`` nearest features,
   if their cosine is at least ``FAINT``. ``fuse`` makes one relevance of this and of step 3.
5. Rank: relevance² x label score x steerability; squared, since what steers well to something else must not come first.
   What was never steered counts as what is expected of it. A factor of which nothing is known counts as ``UNSCORED`` or
   ``UNTESTED``, and no factor counts less than ``FLOOR``: what does not steer comes last, but can still be found. What
   is most relevant by words of no label counts as ``UNSCORED`` too, however good its label is at something else; so
   does what was found by tokens or contexts alone.
   What was found by its text or its meaning alone comes after all true names (``fuse``), however well it steers.
6. Where nothing is asked, all features are equally relevant: ``listing`` lists them, by their worth.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from rapidfuzz import fuzz
from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.features import Found
from featurehub.names import words_of
from featurehub.records import SearchFilter
from featurehub.store.candidates import STEERS
from featurehub.store.embeddings import EmbeddingKind
from featurehub.store.found import Hit, found_by
from featurehub.store.fuse import fuse
from featurehub.store.grading import ALIKE_FROM, Grade, PartedName, grades
from featurehub.store.matching import find_alike, find_words
from featurehub.store.meaning import near_features, true_names
from featurehub.store.near import QueryVector
from featurehub.store.nearest import EVERY
from featurehub.store.only import bounds_of
from featurehub.store.rows import batches
from featurehub.store.sql import statement

__all__ = ["FLOOR", "UNSCORED", "UNTESTED", "Ranking", "find"]

GOES = 0.75
"""What always goes with a word is as relevant as a head that has it: that was measured, and names are few words."""
TEXT = 0.1
UNSCORED = 0.5
UNTESTED = 0.3
FLOOR = 0.05

ROWS = statement(
    f"SELECT 'meaning', f.id, f.label_score, {STEERS}, NULL, NULL FROM features AS f WHERE f.id IN :ids", "ids"
)
NAMES = statement(
    f"SELECT 'name', f.id, f.label_score, {STEERS}, names.key, NULL, names.name_words, names.head_words"
    " FROM features AS f JOIN names ON names.feature_id = f.id AND names.owner IN ('', :owner)"
    " WHERE f.id IN :ids ORDER BY names.id",
    "ids",
)


class Ranking(NamedTuple):
    """What a search found.

    Attributes:
        ids: Best first.
        relevance: By id, in [0, 1].
        found: How each was found, by id, where that was asked for.
        by_meaning: Whether vectors were searched too.
    """

    ids: Sequence[str]
    relevance: Mapping[str, float]
    found: Mapping[str, Sequence[Found]]
    by_meaning: bool


def find(
    session: Session, query: str, saes: Sequence[str], only: SearchFilter = EVERY, vector: QueryVector | None = None,
    owner: str = "", explain: bool = False, among: Sequence[str] | None = None,
) -> Ranking:  # fmt: skip
    """All features that a query finds.

    Args:
        session: A session that reads.
        query: The words; where there are none, ``among`` are ranked by their worth alone.
        saes: Ids of the SAEs to search.
        only: Which features may be found; its layers and states are not looked at.
        vector: The query as a vector; None searches by words alone.
        owner: Whose own aliases count beside everyone's names.
        explain: Whether to say how each was found.
        among: Ids of the only features that are ranked, each by all of its names; None for all of the SAEs.

    Raises:
        EmbedderMismatch: One of the SAEs was embedded by another embedder than the query.
    """
    if not query.strip():
        return _equally(session, among or ())
    words, bounds = words_of(query), bounds_of(only) | {"owner": owner}
    hits = _hits(session, query, words, saes, bounds)
    if among is not None:
        hits = [*_among(among, hits), *_names(session, among, owner)]
    going = _going([each for each in hits if each.source == "word"])
    graded = _graded(words, hits)
    named = _relevance(hits, graded, going)
    meant = near_features(session, vector, saes, only, among) if vector is not None else {}
    holding = {hit.id for hit, grade in graded if grade.holds}
    true = true_names(words, hits, holding, going) if meant else named.keys()
    relevance = fuse(named, meant, true) if meant else named
    called = {near.id for near in meant.get(EmbeddingKind.LABEL, ())} | (named.keys() - going.keys())
    unnamed = {id for id, each in going.items() if each >= relevance[id]} | (relevance.keys() - called - going.keys())
    rows = [*hits, *_rows(session, relevance.keys() - named.keys())]
    ids = _ranked(rows, relevance, unnamed, true)
    return Ranking(ids, relevance, found_by(hits, meant) if explain else {}, bool(meant))


def _equally(session: Session, ids: Sequence[str]) -> Ranking:
    """Step 6, of some features."""
    relevance = dict.fromkeys(ids, 1.0)
    ranked = _ranked(_rows(session, ids), relevance, (), ids)
    return Ranking(ranked, relevance, {}, by_meaning=False)


def rank(relevance: float, label_score: float | None, steerability: float | None) -> float:
    """The number that results are ordered by."""
    score = UNSCORED if label_score is None else label_score
    steers = UNTESTED if steerability is None else steerability
    return relevance**2 * max(score, FLOOR) * max(steers, FLOOR)


def _rows(session: Session, ids: Iterable[str]) -> list[Hit]:
    return [hit for batch in batches(ids) for hit in _run(session, ROWS, ids=batch)]


def _among(ids: Iterable[str], hits: Iterable[Hit]) -> list[Hit]:
    asked = set(ids)
    return [each for each in hits if each.id in asked]


def _names(session: Session, ids: Iterable[str], owner: str) -> list[Hit]:
    """All names of these features, whether they have words of the query or not."""
    return [hit for batch in batches(ids) for hit in _run(session, NAMES, ids=batch, owner=owner)]


def _hits(
    session: Session, query: str, words: Sequence[str], saes: Sequence[str], bounds: Mapping[str, object]
) -> list[Hit]:
    """All features that may be shown, once for each way in which words found them."""
    hits = find_words(session, query, words, saes, bounds)
    if words and not any(each.source in ("name", "word") for each in hits):
        hits += [each for each in find_alike(session, words, saes, bounds) if _looks_like(words, each.name or "")]
    return hits


def _looks_like(words: Sequence[str], name: str) -> bool:
    return fuzz.WRatio(" ".join(words), name) >= ALIKE_FROM


def _run(session: Session, query: TextClause, **parameters: object) -> list[Hit]:
    return [Hit(*row) for row in session.execute(query, parameters).all()]


def _graded(words: Sequence[str], hits: Iterable[Hit]) -> list[tuple[Hit, Grade]]:
    """The features that were found by name, with what the name has to do with the words."""
    named = [each for each in hits if each.source == "name"]
    parted = [PartedName(each.name or "", each.name_words, each.head_words) for each in named]
    return list(zip(named, grades(words, parted), strict=True))


def _relevance(
    hits: Iterable[Hit], graded: Iterable[tuple[Hit, Grade]], going: Mapping[str, float]
) -> dict[str, float]:
    """Relevance of every feature that was found, by words of no label (``going``) or otherwise."""
    found = dict(going)
    named = ((each, grade.relevance) for each, grade in graded)
    others = ((each, 1.0 if each.source == "exact" else TEXT) for each in hits if each.source in ("exact", "text"))
    for each, relevance in chain(named, others):
        if relevance > found.get(each.id, 0.0):
            found[each.id] = relevance
    return found


def _going(hits: Sequence[Hit]) -> dict[str, float]:
    """Relevance of the features that were found by words."""
    share = GOES / max(1, len({each.name for each in hits}))
    found: defaultdict[str, float] = defaultdict(float)
    for each in hits:
        found[each.id] += share * (each.goes or 0.0) / (1 + (each.goes or 0.0))
    return dict(found)


def _ranked(
    hits: Iterable[Hit], relevance: Mapping[str, float], unnamed: Collection[str], true: Collection[str]
) -> list[str]:
    """All ids that were found, best first: true names, then what is guessed, last what was found by text alone."""
    scores = {
        each.id: rank(relevance[each.id], None if each.id in unnamed else each.label_score, each.steerability)
        for each in hits
        if each.id in relevance
    }
    return sorted(scores, key=lambda id: (id not in true, relevance[id] <= TEXT, -scores[id], id))
