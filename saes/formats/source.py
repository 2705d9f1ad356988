"""Where an SAE comes from, as a path: what lies on this machine, in a repository, or under a name that sae-lens knows.

./folder, ./file.pt                  as it is
hf:OWNER/NAME[@REVISION][/FOLDER]    of the Hugging Face hub: only files of known formats, of one commit
RELEASE/ID                           a name in sae-lens' registry, which names repository, folder and overrides
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from featurehub.errors import InvalidInput
from saes.formats.catalog import described
from saes.formats.files import TENSOR_SUFFIXES
from saes.formats.recognise import FORMATS
from saes.formats.registry import registry
from saes.formats.saelens import SCALE

__all__ = ["HUB", "Source", "fetch"]

HUB = "hf:"
"""Prefix of the names of repositories."""


class Source(NamedTuple):
    """An SAE's files on this machine.

    Attributes:
        path: The folder or file.
        name: What was asked for.
        revision: Commit of the repository that the files are from; "" if they are not from one.
        overrides: Values from sae-lens' registry that replace those of a SAELens configuration.
    """

    path: Path
    name: str
    revision: str = ""
    overrides: Mapping[str, Any] = {}


def fetch(name: str) -> Source:
    """Finds an SAE's files, downloading them if they are not on this machine.

    Args:
        name: A path, ``hf:OWNER/NAME[@REVISION][/FOLDER]``, or a name in sae-lens' registry.

    Raises:
        InvalidInput: If none of the three has this name, or the files cannot be fetched.
    """
    if name.startswith(HUB):
        return from_hub(name)
    if Path(name).exists():
        return Source(Path(name), name)
    return from_registry(name)


def from_hub(name: str) -> Source:
    owner, _, rest = name.removeprefix(HUB).partition("/")
    repository, _, inside = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not owner or not repository:
        raise InvalidInput(f"{name} is no repository; write {HUB}OWNER/NAME or {HUB}OWNER/NAME/FOLDER", param="source")
    return download(f"{owner}/{repository}", inside, name, revision or None)


def download(repository: str, inside: str, name: str, revision: str | None = None) -> Source:
    from huggingface_hub import snapshot_download

    try:
        root = Path(snapshot_download(repository, revision=revision, allow_patterns=wanted(inside)))
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InvalidInput(f"{repository} cannot be fetched from the hub: {first}", param="source") from None
    if not (root / inside).exists():
        raise InvalidInput(f"{repository} has no {inside} with an SAE of a known format", param="source")
    return Source(root / inside, name, revision=root.name)


def wanted(inside: str) -> list[str]:
    """Returns the files that an SAE at this place in a repository may consist of."""
    place = PurePosixPath(inside)
    files = [str(place / file) for format in FORMATS for file in (*format.files, *format.beside)]
    # A folder's name may end as a file's does.
    lone = [inside] if place.suffix in TENSOR_SUFFIXES else []
    run = [str(place.parent / "config.json")] if inside else []
    return list(dict.fromkeys(files + lone + run))


def from_registry(name: str) -> Source:
    releases = registry()
    called, _, id = name.partition("/")
    release = releases.get(called)
    if release is None:
        close = get_close_matches(called, releases, n=3)
        hint = f"; close are {', '.join(close)}" if close else ""
        raise InvalidInput(
            f"{name} is not a path, not {HUB}OWNER/NAME, and not a release that sae-lens knows{hint}", param="source"
        )
    if id not in release.entries:
        close = get_close_matches(id, release.entries, n=3, cutoff=0.3) or list(release.entries)[:3]
        raise InvalidInput(f"{called} has no SAE {id!r}; it has {', '.join(close)} …", param="source")
    obstacle = described(release, id).unreadable
    if obstacle is not None:
        raise InvalidInput(
            f"cannot import {name}: it {obstacle.reason}; `featurehub saes catalog` says what can be", param="source"
        )
    entry = release.entries[id]
    scaled = {} if entry.scale is None else {SCALE: entry.scale}
    return download(release.repository, entry.path, name)._replace(overrides={**release.overrides, **scaled})
