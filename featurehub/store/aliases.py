"""Further names of artifacts, such as ``production``. Each means one artifact, and moves when another is given it."""

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from featurehub.errors import ArtifactNotFound, InvalidInput
from featurehub.store.schema import AliasRecord, ArtifactRecord

__all__ = ["drop_alias", "save_alias"]

CHARS = 200
"""Longest alias that the column holds."""
SHOWN = 5


def save_alias(session: Session, artifact: str, name: str) -> str | None:
    """Gives an artifact a further name.

    Args:
        session: A session that writes.
        artifact: Id of the artifact.
        name: The name, of 1 to 200 visible characters.

    Returns:
        Id of another artifact that lost the alias, if any.

    Raises:
        InvalidInput: The name is not valid, or an artifact's own name or id.
    """
    _check(session, name)
    former = _owner(session, name)
    session.execute(delete(AliasRecord).where(AliasRecord.name == name))
    session.execute(insert(AliasRecord).values(name=name, artifact_id=artifact))
    return None if former == artifact else former


def drop_alias(session: Session, artifact: str, name: str) -> None:
    """Takes an alias from an artifact, given by its id.

    Raises:
        ArtifactNotFound: The artifact has no such alias.
    """
    if _owner(session, name) != artifact:
        names = select(AliasRecord.name).where(AliasRecord.artifact_id == artifact).order_by(AliasRecord.name)
        known = ", ".join(map(repr, session.scalars(names.limit(SHOWN)))) or "none"
        raise ArtifactNotFound(f"the artifact {artifact[:12]} has no alias {name!r}; it has: {known}", param="alias")
    session.execute(delete(AliasRecord).where(AliasRecord.name == name))


def _owner(session: Session, name: str) -> str | None:
    return session.scalars(select(AliasRecord.artifact_id).where(AliasRecord.name == name)).first()


def _check(session: Session, name: str) -> None:
    """Refuses an alias that is not valid, or that would hide an artifact's own name or id."""
    if not 1 <= len(name) <= CHARS or name != name.strip() or not name.isprintable():
        raise InvalidInput(f"an alias has 1 to {CHARS} visible characters and no space at its ends", param="alias")
    own = select(ArtifactRecord.id).where(or_(ArtifactRecord.id == name, ArtifactRecord.name == name))
    if (artifact := session.scalars(own).first()) is not None:
        raise InvalidInput(f"{name!r} is the artifact {artifact[:12]}'s own name; choose another", param="alias")
