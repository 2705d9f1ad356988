"""Do an artifact's token ids mean on a model what they meant where they were kept?

Canaries are token ids. Beside them lies what each of these ids stands for, so that a model with another tokenizer is
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


def save_tokens(path: Path, tokenizer: Any, kept: Iterable[Observations]) -> None:
    """Writes what the ids of all kept documents stand for."""
    path.write_text(json.dumps({str(i): token_of(tokenizer, i) for i in ids_of(kept)}))


def disagreement(artifact: Artifact, identity: ModelIdentity, tokenizer: Any) -> str:
    """In words, where the model's tokenizer is another one; "" where it agrees on every kept id.

    An artifact that was made before the tokens were kept agrees with the very same tokenizer files alone.
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
