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
from saes.formats.files import TENSOR_SUFFIXES
from saes.formats.recognise import FORMATS
from saes.formats.saelens import SCALE

__all__ = ["HUB", "Source", "fetch"]

HUB = "hf:"
"""Prefix of the names of repositories."""
LOADERS = (
    "sae_lens",
    "gemma_2",
    "gemma_3",
    "llama_scope",
    "llama_scope_r1_distill",
    "dictionary_learning_1",
    "deepseek_r1",
    "qwen_scope",
    "goodfire",
    "sparsify",
)
"""The registry's formats that can be read here; the others are transcoders and SAEs that do not read the stream."""


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
    files = [str(place / file) for format in FORMATS for file in format.files]
    # A folder's name may end as a file's does.
    lone = [inside] if place.suffix in TENSOR_SUFFIXES else []
    run = [str(place.parent / "config.json")] if inside else []
    return list(dict.fromkeys(files + lone + run))


def from_registry(name: str) -> Source:
    release, _, id = name.partition("/")
    lookup = registry().get(release)
    if lookup is None:
        close = get_close_matches(release, registry(), n=3)
        hint = f"; close are {', '.join(close)}" if close else ""
        raise InvalidInput(
            f"{name} is not a path, not {HUB}OWNER/NAME, and not a release that sae-lens knows{hint}", param="source"
        )
    if id not in lookup.saes_map:
        close = get_close_matches(id, lookup.saes_map, n=3, cutoff=0.3) or list(lookup.saes_map)[:3]
        raise InvalidInput(f"{release} has no SAE {id!r}; it has {', '.join(close)} …", param="source")
    loader = lookup.conversion_func or "sae_lens"
    if loader not in LOADERS:
        raise InvalidInput(
            f"cannot import {name}: sae-lens reads it as {loader}, which is not an SAE of the residual stream",
            param="source",
        )
    overrides = dict(lookup.config_overrides or {})
    if id in lookup.norm_scaling_factor:
        overrides[SCALE] = lookup.norm_scaling_factor[id]
    source = download(lookup.repo_id, lookup.saes_map[id], name)
    return source._replace(overrides=overrides)


def registry() -> Mapping[str, Any]:
    """Returns sae-lens' registry by release, or raises InvalidInput if sae-lens is not installed."""
    try:
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    except ImportError:
        raise InvalidInput(
            "names of sae-lens' registry need sae-lens: install featurehub with its extra train", param="source"
        ) from None
    return get_pretrained_saes_directory()
