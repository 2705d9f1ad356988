"""Gives the labels of one artifact to another that has the same latents.

1. All versions of a feature's labels are added after those of the other's, oldest first, with their times.
2. Its names, those of owners too, become kept names of the other, where that has no such name.
3. Its latest label becomes the other's, and its name.
4. Groups that it was a member of have the other in its place, where they do not have that already.
"""

from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from featurehub.records import Labeled
from featurehub.store.labels import load_labels, make_current
from featurehub.store.sql import statement

__all__ = ["join_labels", "names_from", "versions_from"]

PAIRS = """
    SELECT s.id AS source, t.id AS target, s.latent, s.label_version, s.label_score
    FROM features AS s JOIN features AS t ON t.latent = s.latent AND t.artifact_id = :target
    WHERE s.artifact_id = :source
"""
NEWEST = "(SELECT COALESCE(MAX(own.version), 0) FROM labels AS own WHERE own.feature_id = p.target)"
LABELS = statement(f"SELECT p.target, p.latent, p.label_score, p.label_version + {NEWEST} FROM ({PAIRS}) AS p")
MEMBERS = statement(
    """
    UPDATE group_members SET artifact_id = :target, feature_id = (
        SELECT t.id FROM features AS t WHERE t.artifact_id = :target AND t.latent = group_members.latent
    )
    WHERE artifact_id = :source
        AND EXISTS (SELECT 1 FROM features AS t WHERE t.artifact_id = :target AND t.latent = group_members.latent)
        AND NOT EXISTS (
            SELECT 1 FROM group_members AS other WHERE other.group_id = group_members.group_id
                AND other.artifact_id = :target AND other.latent = group_members.latent
        )
    """
)


def versions_from(pairs: str) -> TextClause:
    """Step 1.

    Args:
        pairs: A query for ``source`` and ``target``, ids of features; it may have the artifacts as parameters of these
            names.
    """
    return statement(
        f"""
        INSERT INTO labels
            (feature_id, version, label, name, qualifier, further, reason, score, scores, author, method, model, prompt,
            answer, created)
        SELECT p.target, l.version + {NEWEST},
            l.label, l.name, l.qualifier, l.further, l.reason, l.score, l.scores, l.author, l.method, l.model, l.prompt,
            l.answer, l.created
        FROM labels AS l JOIN ({pairs}) AS p ON p.source = l.feature_id
        """
    )


def names_from(pairs: str) -> TextClause:
    """Step 2; ``pairs`` as in ``versions_from``, and ``:target`` is a parameter of the statement."""
    return statement(
        f"""
        INSERT INTO names (feature_id, artifact_id, name, key, kind, owner, name_words, head_words)
        SELECT p.target, :target, n.name, n.key,
            CASE WHEN n.kind IN ('label', 'head') THEN 'kept' ELSE n.kind END, n.owner, n.name_words, n.head_words
        FROM names AS n JOIN ({pairs}) AS p ON p.source = n.feature_id
        WHERE NOT EXISTS (
            SELECT 1 FROM names AS own WHERE own.feature_id = p.target AND own.key = n.key AND own.owner = n.owner
        )
        """
    )


VERSIONS, NAMES = versions_from(PAIRS), names_from(PAIRS)


def join_labels(session: Session, source: str, target: str) -> int:
    """Gives the labels of an artifact to another. The first one keeps its own.

    Args:
        session: A session that writes.
        source: Id of the artifact that has the labels.
        target: Id of the other.

    Returns:
        How many features of the other have got a label.
    """
    both = {"source": source, "target": target}
    rows = session.execute(LABELS, both).all()
    labels = load_labels(session, source)
    named = {
        id: (version, Labeled(label=labels[latent], score=score))
        for id, latent, score, version in rows
        if latent in labels
    }
    for each in (VERSIONS, NAMES, MEMBERS):
        session.execute(each, both)
    make_current(session, named, dict.fromkeys(named, target))
    return len(named)
