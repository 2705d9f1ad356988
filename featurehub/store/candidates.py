"""The features that a search may show: one query for both databases, whose full-text indexes differ."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import TextClause

from featurehub.store.only import ALLOWED
from featurehub.store.sql import statement

__all__ = ["STEERS", "FullText", "candidates"]

STEERS = "coalesce(f.steerability, f.expected_steerability)"
"""SQL for the steerability of a feature ``f`` that was steered, else for what is expected of it."""


class FullText(NamedTuple):
    """How a database finds words.

    Attributes:
        matching: The query of ``candidates``.
        any_word: What that query's ``:any_word`` is for the words of a search: a name has one of them.
        every_word: What its ``:every_word`` is: a text has all of them.
    """

    matching: TextClause
    any_word: Callable[[Sequence[str]], str]
    every_word: Callable[[Sequence[str]], str]


def candidates(by_name: str, by_text: str, pairs: str, latent: str, goes: str) -> TextClause:
    """A query for the features that are found by name, by text, by words, and whose name is the query.

    Args:
        by_name: SQL that selects ``id`` and ``rank`` (the best is lowest) of the names that match ``:any_word``.
        by_text: The same of the texts that match ``:every_word``.
        pairs: SQL for the rows of ``words.latents``, each with a ``value``.
        latent: SQL for the latent of such a ``value``.
        goes: SQL for how much the latent goes with the word.
    """
    return statement(
        f"""
        WITH by_name AS ({by_name}), by_text AS ({by_text})
        SELECT * FROM (
            SELECT 'name' AS source, f.id, f.label_score, {STEERS}, names.key AS name, CAST(NULL AS FLOAT) AS goes
            FROM by_name JOIN names ON names.id = by_name.id JOIN features AS f ON f.id = names.feature_id
            WHERE f.artifact_id IN :saes AND {ALLOWED} AND names.owner IN ('', :owner)
            ORDER BY by_name.rank, names.id LIMIT :limit
        ) AS named
        UNION ALL SELECT * FROM (
            SELECT 'text', f.id, f.label_score, {STEERS}, CAST(NULL AS TEXT), CAST(NULL AS FLOAT)
            FROM by_text JOIN texts ON texts.id = by_text.id JOIN features AS f ON f.id = texts.feature_id
            WHERE f.artifact_id IN :saes AND {ALLOWED} ORDER BY by_text.rank, texts.id LIMIT :limit
        ) AS told
        UNION ALL SELECT 'exact', f.id, f.label_score, {STEERS}, names.key, NULL
            FROM names JOIN features AS f ON f.id = names.feature_id
            WHERE names.key = :key AND f.artifact_id IN :saes AND {ALLOWED} AND names.owner IN ('', :owner)
        UNION ALL SELECT 'word', f.id, f.label_score, {STEERS}, words.word, {goes}
            FROM words JOIN {pairs} ON true
            JOIN features AS f ON f.artifact_id = words.artifact_id AND f.latent = {latent}
            WHERE words.word IN :words AND words.artifact_id IN :saes AND {ALLOWED}
        """,
        "saes",
        "words",
    )
