"""Finds features by words and ranks them.

1. Candidates by name: the names in which a word of the query begins a word, best first, at most ``CANDIDATES``; where
   no name has any, names that look alike.
2. Candidates by word: of each word of the query, the features that go with it in whatever text, as labelling found
   (``labeling.associations``). Candidates by text: those whose top contexts and tokens hold every word of the query.
3. Relevance of a name, in [0, 1]: 1 if it is the query, or has its words in order and no other; ``BASE`` if that holds
   of the part before its brackets (``banking (loan)`` for ``banking``: another feature of that name); else each word
   counts ``WORD`` if the name's head has it, ``PREFIX`` if it begins one of the head's, ``FURTHER`` if it is or begins
   one after the head (``play: park`` for ``park``), ``ALIKE`` x likeness if it resembles one, 0 else; the mean is
   weighted by how rare the word is among the candidates, and a name's further words cost up to a tenth. By words it is
   ``GOES`` x the mean of m / (1 + m) over those words of the query that go with any feature, m being how much they go
   with this one. A feature's relevance is the best of these, or ``TEXT`` where only its text was found.
4. Rank: relevance² x label score x steerability; squared, since what steers well to something else must not come first.
   A factor that was never measured counts as ``UNSCORED`` or ``UNTESTED``, and no factor counts less than ``FLOOR``:
   what does not steer comes last, but can still be found. What is most relevant by words of no label counts as
   ``UNSCORED`` too, however good its label is at something else.
   What was found by its text alone comes after all that has the word in a name, however well it steers.
5. An empty query lists all features, relevance 1.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from rapidfuzz import fuzz, process
from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.errors import InvalidInput
from featurehub.names import base_of, fold, head_of, words_of
from featurehub.records import SearchPage
from featurehub.settings import Limits
from featurehub.store.candidates_postgres import POSTGRES
from featurehub.store.candidates_sqlite import SQLITE
from featurehub.store.rows import load_features
from featurehub.store.sql import statement

__all__ = ["search"]

CANDIDATES = 500
BASE = 0.95
WORD = 0.75
PREFIX = 0.5
FURTHER = 0.35
ALIKE = 0.3
GOES = 0.75
"""What always goes with a word is as relevant as a head that has it: that was measured, and names are few words."""
TEXT = 0.1
ALIKE_FROM = 70
UNSCORED = 0.5
UNTESTED = 0.3
FLOOR = 0.05
LIMIT = 1000

FULL_TEXT = {"sqlite": SQLITE, "postgresql": POSTGRES}
NAMED = statement(
    """
    SELECT 'name', f.id, f.label_score, f.steerability, names.key, NULL
    FROM features AS f JOIN names ON names.feature_id = f.id
    WHERE f.artifact_id IN :saes AND names.owner IN ('', :owner) ORDER BY f.id, names.id
    """,
    "saes",
)
ALL = statement(
    "SELECT 'exact', f.id, f.label_score, f.steerability, NULL, NULL FROM features AS f WHERE f.artifact_id IN :saes",
    "saes",
)


class Hit(NamedTuple):
    """A feature that a search may show.

    Attributes:
        source: How it was found: "name", "word", "text" or "exact".
        id: Its id.
        label_score: Its label's score; None where it was not scored.
        steerability: Its steerability; None where it was not tested.
        name: The name or word that it was found by, folded; None where it was found by its text, or all are listed.
        goes: How much it goes with that word; None where it was found otherwise.
    """

    source: str
    id: str
    label_score: float | None
    steerability: float | None
    name: str | None
    goes: float | None


def search(session: Session, query: str, saes: Sequence[str], limit: int, after: str | None, owner: str) -> SearchPage:
    """One page of features, best first.

    Args:
        session: A session that reads.
        query: The words; the empty query lists all features.
        saes: Ids of the SAEs to search.
        limit: Largest number of features on the page, in 1..1000.
        after: The ``next`` of the page before; None for the first page.
        owner: Whose own aliases count beside everyone's names.

    Raises:
        InvalidInput: The query is too long, the limit out of bounds, or ``after`` not among the results.
    """
    if len(query) > Limits().name_chars:
        raise InvalidInput(f"a query has at most {Limits().name_chars} characters, not {len(query)}", param="q")
    if not 1 <= limit <= LIMIT:
        raise InvalidInput(f"limit must lie in 1..{LIMIT}, not {limit}", param="limit")
    words = words_of(query)
    hits = _hits(session, query, words, saes, owner)
    going = _going([each for each in hits if each.source == "word"])
    relevance = _relevance(words, hits, going)
    by_word = {id for id, each in going.items() if each >= relevance[id]}
    ranked = _ranked(hits, relevance, by_word)
    start = _start(ranked, after)
    page = ranked[start : start + limit]
    features = load_features(session, page, owner)
    shown = (each.model_copy(update={"relevance": relevance[each.id]}) for each in features)
    return SearchPage(features=tuple(shown), next=page[-1] if start + limit < len(ranked) else None)


def rank(relevance: float, label_score: float | None, steerability: float | None) -> float:
    """The number that results are ordered by."""
    score = UNSCORED if label_score is None else label_score
    steers = UNTESTED if steerability is None else steerability
    return relevance**2 * max(score, FLOOR) * max(steers, FLOOR)


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


def _hits(session: Session, query: str, words: Sequence[str], saes: Sequence[str], owner: str) -> list[Hit]:
    """All features that may be shown, once for each way in which they were found."""
    if not query.strip():
        return _run(session, ALL, saes=saes)
    full_text = FULL_TEXT[session.get_bind().dialect.name]
    hits = _run(
        session, full_text.matching, any_word=full_text.any_word(words), every_word=full_text.every_word(words),
        key=fold(query), saes=saes, limit=CANDIDATES, words=words, owner=owner,
    )  # fmt: skip
    if words and not any(each.source in ("name", "word") for each in hits):
        hits += _alike(session, words, saes, owner)
    return hits


def _run(session: Session, query: TextClause, **parameters: object) -> list[Hit]:
    return [Hit(*row) for row in session.execute(query, parameters)]


def _alike(session: Session, words: Sequence[str], saes: Sequence[str], owner: str) -> list[Hit]:
    """Features with a name like the query; scans all names, so only where nothing else was found."""
    named = _run(session, NAMED, saes=saes, owner=owner)
    alike = process.extract(
        " ".join(words),
        [each.name or "" for each in named],
        scorer=fuzz.WRatio,
        score_cutoff=ALIKE_FROM,
        limit=CANDIDATES,
    )
    return [named[at] for _, _, at in alike]


def _relevance(words: Sequence[str], hits: Sequence[Hit], going: Mapping[str, float]) -> dict[str, float]:
    """Relevance of every feature that was found, by words of no label (``going``) or otherwise."""
    weight = _rarity(words_of(each.name or "") for each in hits if each.source == "name")
    found = dict(going)
    for each in (each for each in hits if each.source != "word"):
        graded = _graded(each, words, weight)
        if graded > found.get(each.id, 0.0):
            found[each.id] = graded
    return found


def _going(hits: Sequence[Hit]) -> dict[str, float]:
    """Relevance of the features that were found by words."""
    share = GOES / max(1, len({each.name for each in hits}))
    found: defaultdict[str, float] = defaultdict(float)
    for each in hits:
        found[each.id] += share * (each.goes or 0.0) / (1 + (each.goes or 0.0))
    return dict(found)


def _graded(hit: Hit, words: Sequence[str], weight: Callable[[str], float]) -> float:
    match hit.source:
        case "exact":
            return 1.0
        case "text":
            return TEXT
        case _:
            return grade(words, hit.name or "", weight)


def _rarity(names: Iterable[Sequence[str]]) -> Callable[[str], float]:
    counts = Counter(chain.from_iterable(set(name) for name in names))
    total = sum(counts.values())
    return lambda word: math.log(2 + total / (1 + counts[word]))


def _ranked(hits: Iterable[Hit], relevance: Mapping[str, float], by_word: Collection[str]) -> list[str]:
    """All ids that were found, best first; those found by text come after those by name, equal ones by id."""
    scores = {
        each.id: rank(relevance[each.id], None if each.id in by_word else each.label_score, each.steerability)
        for each in hits
        if each.id in relevance
    }
    return sorted(scores, key=lambda id: (relevance[id] <= TEXT, -scores[id], id))


def _start(ranked: Sequence[str], after: str | None) -> int:
    if after is None:
        return 0
    if after not in ranked:
        raise InvalidInput("`after` is not among the results any more; start again without it", param="after")
    return ranked.index(after) + 1
