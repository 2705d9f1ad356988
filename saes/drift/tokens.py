"""Checks that token ids mean the same to a model as they did where an artifact was made.

Canaries are token ids. What each of these ids stands for is kept beside them, so that a model with another tokenizer is
never read with ids that mean something else there, or nothing. A tokenizer that only gained tokens agrees.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import ModelIdentity
from saes.observed import Observations

__all__ = ["TOKENS", "disagreement", "save_tokens"]

TOKENS = "tokens.json"
"""An artifact's file of what its token ids stand for."""


def save_tokens(path: Path, tokenizer: Any, kept: Iterable[Observations]) -> None:
    """Writes a JSON file with the token that each id of all kept documents stands for.

    Args:
        path: The file.
        tokenizer: A tokenizer of transformers.
        kept: Documents that the artifact keeps.
    """
    path.write_text(json.dumps({str(i): token_of(tokenizer, i) for i in ids_of(kept)}))


def disagreement(artifact: Artifact, identity: ModelIdentity, tokenizer: Any) -> str:
    """Returns, in words, how the model's tokenizer differs; "" if it agrees on every kept id.

    An artifact made before tokens were kept agrees only with exactly the same tokenizer files.

    Args:
        artifact: The artifact.
        identity: Identity of the model.
        tokenizer: The model's tokenizer.
    """
    path = artifact.folder / TOKENS
    if not path.is_file():
        same = artifact.manifest.model.tokenizer == identity.tokenizer
        return "" if same else "the model has another tokenizer, and the artifact does not say what its token ids mean"
    for name, token in json.loads(path.read_text()).items():
        found = token_of(tokenizer, int(name))
        if found != token:
            now = "nothing" if found is None else repr(found)
            return f"the model has another tokenizer: token {name} was {token!r} and is {now}"
    return ""


def token_of(tokenizer: Any, token_id: int) -> str | None:
    return tokenizer.convert_ids_to_tokens(token_id) if token_id < len(tokenizer) else None


def ids_of(kept: Iterable[Observations]) -> list[int]:
    return sorted({int(token_id) for each in kept for token_id in each.token_ids})
