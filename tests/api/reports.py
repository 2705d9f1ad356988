"""Reports as a worker sends them."""

from typing import Any

import numpy as np

from featurehub.activations import NO_LATENT, ActivationBlock

HOOK, OTHER_HOOK = "layers.2.resid_post", "layers.3.resid_post"
"""The hook points of the two SAEs of these tests."""


def counts(steered: int, expected: int | None = None, dose: float = 0.25, **more: Any) -> dict[str, Any]:
    """What a worker counts at one hook point."""
    seen = {"seen_tokens": steered, "expected_tokens": steered if expected is None else expected}
    return seen | {"steered_tokens": steered, "dose_sum": dose * steered, "dose_max": 0.5, "clipped": 0} | more


def report(steered: int, expected: int | None = None, **more: Any) -> dict[str, Any]:
    """What a worker says of a request with edits of the first SAE."""
    return {"hooks": {HOOK: counts(steered, expected)}, "requests": [0], **more}


def reading(*tokens: tuple[int, dict[int, float]], sae: str = "a" * 64, start: int = 0) -> dict[str, Any]:
    """What it says of a request that reads: of each token its id, and its strongest latents with their activations."""
    columns = max((len(latents) for _, latents in tokens), default=0)
    latents, values = np.full((len(tokens), columns), NO_LATENT), np.zeros((len(tokens), columns))
    for at, (_, own) in enumerate(tokens):
        latents[at, : len(own)], values[at, : len(own)] = list(own), list(own.values())
    positions, ids = np.arange(start, start + len(tokens)), np.array([token for token, _ in tokens])
    block = ActivationBlock.pack(sae, positions, ids, latents, values)
    return {"activations": {"blocks": [block.model_dump()]}, "requests": [0]}
