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
    """What a worker says of a request with edits of the first SAE, and a prompt of one token."""
    return {"hooks": {HOOK: counts(steered, expected)}, "requests": [0], "prompt_tokens": 1, **more}


def several(*wires: dict[str, Any], n: int | None = None) -> list[dict[str, Any]]:
    """The same of several requests, in the order of their answers: ``n`` to each prompt, all to one by default."""
    n = n or len(wires)
    ids = [("" if n == 1 else f"{i % n}_") + f"cmpl-1234-{i // n}-0a1b2c3d" for i in range(len(wires))]
    came_to = [dict.fromkeys([i], wire["reached"][0]) if "reached" in wire else {} for i, wire in enumerate(wires)]
    own = zip(wires, ids, came_to, strict=True)
    return [wire | {"id": id, "requests": [i], "reached": reached} for i, (wire, id, reached) in enumerate(own)]


def reading(*tokens: tuple[int, dict[int, float]], sae: str = "a" * 64, start: int = 0) -> dict[str, Any]:
    """What it says of a request that reads: of each token its id, and its strongest latents with their activations."""
    columns = max((len(latents) for _, latents in tokens), default=0)
    latents, values = np.full((len(tokens), columns), NO_LATENT), np.zeros((len(tokens), columns))
    for at, (_, own) in enumerate(tokens):
        latents[at, : len(own)], values[at, : len(own)] = list(own), list(own.values())
    positions, ids = np.arange(start, start + len(tokens)), np.array([token for token, _ in tokens])
    block = ActivationBlock.pack(sae, positions, ids, latents, values)
    return {"activations": {"blocks": [block.model_dump()]}, "requests": [0], "prompt_tokens": 1}
