"""The features that a search may show: one query for both databases, whose full-text indexes differ."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.store.only import ALLOWED
from featurehub.store.sql import statement

__all__ = ["MANY", "STEERS", "FullText", "Term", "candidates"]

STEERS = "coalesce(f.steerability, f.expected_steerability)"
"""SQL for the steerability of a feature ``f`` that was steered, else for what is expected of it."""
MANY = 1_000
"""A word of so many names is common: it tells them apart no more, and ranking them all would take too long."""


class Term(NamedTuple):
    """A word that a name or text has, or, if it ``begins``, one of whose words begins so."""

    word: str
    begins: bool = False


class FullText(NamedTuple):
    """How a database finds words.

    Attributes:
        best: The query of ``candidates``, with the names that match ``:names`` best, of all that do.
        first: The same with the shortest of the first ``MANY`` names that match and may be shown.
        any_of: What ``:names`` is for names that have one of the terms.
        every_of: What ``:names`` or ``:texts`` is for those that have one term of each group.
        common: Which of the terms ``MANY`` names or more have, as far as the database knows.
    """

    best: TextClause
    first: TextClause
    any_of: Callable[[Sequence[Term]], str]
    every_of: Callable[[Sequence[Sequence[Term]]], str]
    common: Callable[[Session, Sequence[Term]], set[Term]]


def candidates(by_name: str, by_text: str, pairs: str, latent: str, goes: str) -> TextClause:
    """A query for the features that are found by name, by text, by words, and whose name is the query.

    SQLite joins in the order of a CROSS JOIN; left to itself, it goes through all features to find those of a word.

    Args:
        by_name: SQL that selects ``id``, ``feature_id``, ``key``, ``owner``, ``name_words``, ``head_words`` and
            ``rank`` (the best is lowest) of the names of ``:saes`` that match ``:names``. They are sorted before their
            features are looked up: PostgreSQL then looks up no more than it shows.
        by_text: SQL that selects ``id``, and as ``rank`` an expression of it, of texts of ``:saes`` that match
            ``:texts``: ordered by the id itself, PostgreSQL may go through all texts instead of those that match.
        pairs: SQL for the rows of ``words.latents``, each with a ``value``.
        latent: SQL for the latent of such a ``value``.
        goes: SQL for how much the latent goes with the word.
    """
    return statement(
        f"""
        WITH by_name AS ({by_name}), by_text AS ({by_text})
        SELECT * FROM (
            SELECT 'name' AS source, f.id, f.label_score, {STEERS}, names.key AS name, CAST(NULL AS FLOAT) AS goes,
                names.name_words, names.head_words
            FROM (SELECT * FROM by_name ORDER BY rank, id) AS names JOIN features AS f ON f.id = names.feature_id
            WHERE f.artifact_id IN :saes AND {ALLOWED} AND names.owner IN ('', :owner)
            ORDER BY names.rank, names.id LIMIT :limit
        ) AS named
        UNION ALL SELECT * FROM (
            SELECT 'text', f.id, f.label_score, {STEERS}, CAST(NULL AS TEXT), CAST(NULL AS FLOAT), 0, 0
            FROM by_text JOIN texts ON texts.id = by_text.id JOIN features AS f ON f.id = texts.feature_id
            WHERE f.artifact_id IN :saes AND {ALLOWED} ORDER BY by_text.rank LIMIT :limit
        ) AS told
        UNION ALL SELECT 'exact', f.id, f.label_score, {STEERS}, names.key, NULL, 0, 0
            FROM names JOIN features AS f ON f.id = names.feature_id
            WHERE names.key = :key AND f.artifact_id IN :saes AND {ALLOWED} AND names.owner IN ('', :owner)
        UNION ALL SELECT 'word', f.id, f.label_score, {STEERS}, words.word, {goes}, 0, 0
            FROM words CROSS JOIN {pairs} CROSS JOIN features AS f
            WHERE f.artifact_id = words.artifact_id AND f.latent = {latent}
                AND words.word IN :words AND words.artifact_id IN :saes AND {ALLOWED}
        """,
        "saes",
        "words",
    )
