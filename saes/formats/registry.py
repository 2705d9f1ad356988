"""sae-lens' registry: which SAEs others have published, by release. Its list alone is read; sae-lens is not imported.

A release is a repository, or a part of one, whose SAEs were made alike; an entry is one of them, under the id by which
sae-lens and ``featurehub saes import RELEASE/ID`` call it.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from featurehub.errors import InvalidInput

__all__ = ["SAELENS", "Entry", "Release", "registry"]

LIST = "pretrained_saes.yaml"
SAELENS = "sae_lens"
"""The loader of releases in sae-lens' own format."""


class Entry(NamedTuple):
    """What a release holds under one id.

    Attributes:
        path: Its folder or file in the repository.
        scale: Factor by which an expected-norm scaling multiplies the stream; None where the registry names none.
    """

    path: str
    scale: float | None = None


class Release(NamedTuple):
    """SAEs that were published together.

    Attributes:
        name: sae-lens' name of it.
        repository: Where it lies on the Hugging Face hub.
        model: The model that it was made for, as sae-lens calls it.
        loader: Which of sae-lens' loaders reads its files.
        overrides: Values that replace those of its SAEs' configurations.
        entries: What it holds, by id.
    """

    name: str
    repository: str
    model: str
    loader: str
    overrides: Mapping[str, Any]
    entries: Mapping[str, Entry]


@cache
def registry() -> Mapping[str, Release]:
    """Returns all releases by name; the first call takes about a second.

    Raises:
        InvalidInput: If sae-lens is not installed.
    """
    package = find_spec("sae_lens")
    if package is None or not package.submodule_search_locations:
        raise InvalidInput(
            "names of sae-lens' registry need sae-lens: install featurehub with its extra train", param="source"
        )
    # libyaml reads it five times faster than Python does; some builds lack it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(package.submodule_search_locations[0], LIST).read_text("utf-8")
    return {name: release_of(name, told) for name, told in yaml.load(text, Loader=loader).items()}


def release_of(name: str, told: Mapping[str, Any]) -> Release:
    return Release(
        name=name,
        repository=told["repo_id"],
        model=told["model"],
        loader=told.get("conversion_func") or SAELENS,
        overrides=told.get("config_overrides") or {},
        entries={str(sae["id"]): Entry(str(sae["path"]), sae.get("norm_scaling_factor")) for sae in told["saes"]},
    )
