"""The registered artifacts, read in one query, and how a key finds one of them."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy.orm import Session

from featurehub.artifacts.manifest import Manifest
from featurehub.errors import ArtifactNotFound
from featurehub.records import RegisteredArtifact
from featurehub.store.sql import statement

__all__ = ["Directory", "load_directory"]

SHOWN = 5
MANIFESTS_KEPT = 256
DIRECTORIES_KEPT = 8

ALL = statement("""
    SELECT a.id, a.name, CAST(a.manifest AS TEXT), a.path, a.created, a.is_default, artifact_aliases.name
    FROM artifacts AS a LEFT JOIN artifact_aliases ON artifact_aliases.artifact_id = a.id
    ORDER BY a.id
""")


class Directory:
    """The artifacts of one snapshot. Snapshots that hold the same may share it.

    Attributes:
        artifacts: All registered artifacts by id, in the order of their names.
    """

    def __init__(self, artifacts: Iterable[RegisteredArtifact]) -> None:
        self.artifacts: Mapping[str, RegisteredArtifact] = {each.id: each for each in artifacts}

    def find(self, key: str) -> RegisteredArtifact:
        """The artifact that a key means.

        Args:
            key: Its id, name or alias, or an unambiguous prefix of one.

        Raises:
            ArtifactNotFound: Nothing has this key, or several artifacts have this prefix.
        """
        if key in self.artifacts:
            return self.artifacts[key]
        names = {each.id: (each.id, each.name, *each.aliases) for each in self.artifacts.values()}
        exact = [each for each, called in names.items() if key in called]
        found = exact or [each for each, called in names.items() if key and any(n.startswith(key) for n in called)]
        if len(found) == 1:
            return self.artifacts[found[0]]
        listed = [self.artifacts[each].name for each in (found or names)]
        known = ", ".join(map(repr, listed[:SHOWN])) or "none: build or register one first"
        problem = f"{key!r} is the beginning of several artifacts" if found else f"there is no artifact {key!r}"
        raise ArtifactNotFound(f"{problem}; known: {known}", param="artifact")


def load_directory(session: Session) -> Directory:
    """Reads all registered artifacts."""
    return _directory(tuple(map(tuple, session.execute(ALL))))


# They seldom change, and every request looks into them.
@lru_cache(DIRECTORIES_KEPT)
def _directory(found: tuple[tuple[Any, ...], ...]) -> Directory:
    rows: dict[str, tuple[str, str, str, str, bool]] = {}
    aliases: dict[str, list[str]] = {}
    for id, name, manifest, path, created, is_default, alias in found:
        rows[id] = (name, manifest, path, created, bool(is_default))
        aliases.setdefault(id, []).extend([] if alias is None else [alias])
    # Sorted here: how texts are ordered is a setting of a server's database.
    in_order = sorted(rows.items(), key=lambda each: each[1][0])
    return Directory(_artifact(id, *row, sorted(aliases[id])) for id, row in in_order)


def _artifact(
    id: str, name: str, manifest: str, path: str, created: str, is_default: bool, aliases: Iterable[str]
) -> RegisteredArtifact:
    return RegisteredArtifact(
        id=id,
        name=name,
        manifest=_manifest(manifest),
        path=path,
        created=created,
        is_default=is_default,
        aliases=tuple(aliases),
    )


@lru_cache(MANIFESTS_KEPT)
def _manifest(text: str) -> Manifest:
    return Manifest.model_validate_json(text)
