"""Models of the Hugging Face hub: only configuration, tokenizer and safetensors, of one commit."""

import re
from pathlib import Path
from typing import NamedTuple, Self

from featurehub.errors import ModelNotFound

__all__ = ["HubModel", "fetch"]

WANTED = ("*.safetensors", "*.json", "*.jinja", "merges.txt", "tokenizer.model")
UNWANTED = ("*/*", "consolidated*", "adapter_*", "*.bin.index.json")
"""Other formats in folders of their own, second copies of the weights, adapters, and the index of pickled weights."""
NAME = re.compile(r"(?:hf:)?([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")


class HubModel(NamedTuple):
    """A model of the hub.

    Attributes:
        repository: ``OWNER/NAME``.
        revision: A commit, tag or branch; "" for the latest.
    """

    repository: str
    revision: str

    @classmethod
    def named(cls, model: str) -> Self | None:
        """What ``OWNER/NAME[@REVISION]`` names, with or without ``hf:`` before it; None for any other text."""
        found = NAME.fullmatch(model)
        return cls(found[1], found[2] or "") if found else None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def fetch(model: HubModel) -> Path:
    """The folder of a model's files in the cache of the hub; what is not there yet is downloaded.

    Returns:
        A snapshot: its name is the commit, and nothing in it changes later.

    Raises:
        ModelNotFound: The model cannot be fetched, or has no safetensors.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]  (of whichever httpx it uses)

    try:
        folder = snapshot_download(
            model.repository,
            revision=model.revision or None,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
        )
    except (OSError, ValueError, HTTPError) as error:
        raise ModelNotFound(
            f"no folder {model} is here, and the Hugging Face hub does not give a model of this name: {reason(error)}",
            param="model",
        ) from None
    return checked(Path(folder), model)


def checked(folder: Path, model: HubModel) -> Path:
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFound(
            f"{model} has no safetensors on the Hugging Face hub; pickled weights are never read. Where it has a "
            "GGUF file, `featurehub convert FILE.gguf FOLDER` makes a folder of that.",
            param="model",
        )
    return folder


def reason(error: Exception) -> str:
    """Why a model cannot be had, and what to do."""
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    there = "Connect and try again, or fetch the model elsewhere and give its folder."
    match error:
        case GatedRepoError():
            return "its owner asks for consent. Give it on the model's page, then `hf auth login`."
        case RepositoryNotFoundError():
            return "there is none, or it is private. Check the name; for a private one, `hf auth login`."
        case RevisionNotFoundError():
            return "it has no such revision. Give one of its commits, tags or branches."
        case LocalEntryNotFoundError():
            offline = "HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else "it cannot be reached"
            return f"{offline}, and its cache on this machine does not have all of the model. {there}"
        case _:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return f"{first.rstrip('.')}. {there}"
