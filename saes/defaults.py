"""How an SAE is trained by default.

    d_sae  = 4 · d_model
    k      = d_model / 64, at least 12
    lr     = 2e-3, beyond 768 latents falling with 1 / √d_sae (arXiv 2406.04093, where the best one does)
    tokens = 2,000 for each latent, at least 1.6 M

The architecture is the best in ``tests/benchmarks/architectures.py``, and so is 4 · d_model at a width of 192; at a
width of 64, 8 · d_model explained a little more. k and lr are those of the benchmark's runs; beyond them they
follow what is published for larger models (a k of 32 to 64 at a width of 2,048 to 4,096).
"""

import math

from saes.architecture import Architecture
from saes.recipes import Recipe

__all__ = ["ARCHITECTURE", "default_recipe", "default_tokens"]

ARCHITECTURE = Architecture.BATCHTOPK
"""The default architecture."""
MEASURED = 768
"""Most latents for which the learning rate was tried."""


def default_recipe(
    d_model: int,
    *,
    architecture: Architecture = ARCHITECTURE,
    d_sae: int | None = None,
    k: float | None = None,
    lr: float | None = None,
    seed: int = 0,
) -> Recipe:
    """Returns a recipe with the given values, and with the module's defaults for those that are None.

    Args:
        d_model: Width of the stream, from which d_sae and k follow.
        architecture: How the SAE is kept sparse.
        d_sae: Number of latents; 4 · d_model by default.
        k: Mean number of active latents per token; d_model / 64 by default, at least 12 and at most d_sae / 2.
        lr: Learning rate; by default 2e-3, falling with 1 / √d_sae beyond 768 latents.
        seed: Seed of the initial weights.
    """
    d_sae = d_sae or 4 * d_model
    return Recipe(
        architecture=architecture,
        d_sae=d_sae,
        k=k or float(min(max(12, d_model // 64), d_sae // 2)),
        lr=lr or 2e-3 * math.sqrt(MEASURED / max(MEASURED, d_sae)),
        seed=seed,
    )


def default_tokens(d_sae: int) -> int:
    """Returns the default number of training tokens for a run whose widest SAE has ``d_sae`` latents."""
    return max(1_600_000, 2000 * d_sae)
