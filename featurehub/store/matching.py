"""What search finds by words: names, texts and what goes with a word, without looking at all of them.

1. Whole words are looked for. The last one may be unfinished: where few names are concerned, those in which it begins a
   word are found too.
2. Names that have any word that is not common, best first. Where all are common, names that have them all: of the first
   ``MANY``, the shortest. Where no name has, the shortest word is left out, until some name has the others. Texts that
   have every word of the query.
3. Where no name and no word's feature is found so, names in which any word of the query begins a word.
4. Where that finds none either, names that look alike: each word that is not common is replaced by those of all names'
   words that are most like it. First those are looked at that begin with the same letter, which is seldom wrong.
"""

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process
from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.names import fold
from featurehub.store.candidates import FullText, Term
from featurehub.store.candidates_postgres import POSTGRES
from featurehub.store.candidates_sqlite import SQLITE
from featurehub.store.found import Hit
from featurehub.store.sql import statement

__all__ = ["FULL_TEXT", "find_alike", "find_words"]

CANDIDATES = 500
BEGUN = 3
"""Bytes that a last word has at least for those that it begins to be looked for beside it."""
WORDS, LIKE, LIKENESS = 8, 5, 60
"""Of how many words others are looked for or left out, how many others of each, and how like they are (0..100)."""
LAST = "\U0010ffff"

FULL_TEXT = {"sqlite": SQLITE, "postgresql": POSTGRES}
VOCABULARY = statement("SELECT term FROM names_index_words WHERE term >= :first AND term < :last")


def find_words(
    session: Session, query: str, words: Sequence[str], saes: Sequence[str], bounds: Mapping[str, object]
) -> list[Hit]:
    """The features that words find, once for each way in which they do; steps 1 to 3."""
    full_text = FULL_TEXT[session.get_bind().dialect.name]
    asked = {"key": fold(query), "saes": saes, "limit": CANDIDATES, "words": words, **bounds}
    whole = [Term(each) for each in words]
    begun = [Term(each, begins=True) for each in words[-1:] if len(each.encode()) >= BEGUN]
    common = full_text.common(session, [*whole, *begun])
    last = begun if begun and common.isdisjoint(begun) else whole[-1:]
    hits = _match(session, full_text, [*whole[:-1], *last], common, asked)
    # Where all are common, none is a beginning: the same would be looked for again.
    if common.issuperset(whole) or any(each.source in ("name", "word") for each in hits):
        return hits
    return _match(session, full_text, [Term(each, begins=Term(each) not in common) for each in words], common, asked)


def find_alike(session: Session, words: Sequence[str], saes: Sequence[str], bounds: Mapping[str, object]) -> list[Hit]:
    """Features with names like these words; step 4."""
    full_text = FULL_TEXT[session.get_bind().dialect.name]
    known = full_text.common(session, whole := [Term(each) for each in dict.fromkeys(words)][:WORDS])
    asked = {"key": "", "texts": full_text.every_of([]), "saes": saes, "limit": CANDIDATES, "words": (), **bounds}
    if known.issuperset(whole):
        return _longest(session, full_text, _by_length(whole), asked)
    groups = [[each] if each in known else [Term(like) for like in _like(session, each.word)] for each in whole]
    if not (groups := [each for each in groups if each]):
        return []
    hits = _hits(session, full_text.first, {"names": full_text.every_of(groups), **asked})
    terms = [term for each in groups for term in each]
    if hits or not (rare := set(terms) - full_text.common(session, terms)):
        return hits
    return _hits(session, full_text.best, {"names": full_text.any_of(sorted(rare)), **asked})


def _match(
    session: Session, full_text: FullText, terms: Sequence[Term], common: set[Term], asked: Mapping[str, object]
) -> list[Hit]:
    rare, every = [each for each in terms if each not in common], full_text.every_of([[each] for each in terms])
    if rare:
        return _hits(session, full_text.best, {"names": full_text.any_of(rare), "texts": every, **asked})
    hits = _hits(session, full_text.first, {"names": every, "texts": every, **asked})
    if any(each.source == "name" for each in hits):
        return hits
    fewer = _by_length(terms)[: len(set(terms)) - 1]
    return [*hits, *_longest(session, full_text, fewer, {**asked, "texts": full_text.every_of([])})]


def _longest(session: Session, full_text: FullText, terms: Sequence[Term], asked: Mapping[str, object]) -> list[Hit]:
    """Names that have the first of some common words, longest first: as many as any name has."""
    for count in range(len(terms), 0, -1):
        names = full_text.every_of([[each] for each in terms[:count]])
        hits = _hits(session, full_text.first, {**asked, "names": names})
        if found := [each for each in hits if each.source == "name"]:
            return found
    return []


def _by_length(terms: Sequence[Term]) -> list[Term]:
    """The longest of them, each once, longest first."""
    return sorted(set(terms), key=lambda each: (-len(each.word), each.word))[:WORDS]


def _hits(session: Session, query: TextClause, asked: Mapping[str, object]) -> list[Hit]:
    return [Hit(*row) for row in session.execute(query, asked).all()]


def _like(session: Session, word: str) -> list[str]:
    """The words of names that are most like a word."""
    for first, last in ((word[0], word[0] + LAST), ("", LAST)):
        terms = session.execute(VOCABULARY, {"first": first, "last": last}).scalars().all()
        if found := process.extract(word, terms, scorer=fuzz.ratio, score_cutoff=LIKENESS, limit=LIKE):
            return [each for each, _, _ in found]
    return []
