"""The architectures that are trained. k, the mean number of active latents per token, is kept by each in its own way:

architecture          paper                          how k is kept
standard              Bricken et al. 2023            the L1 coefficient follows the L0 of the last steps
topk                  Gao et al., 2406.04093         exactly k per token
batchtopk             Bussmann et al., 2412.06410    n · k of the batch's n tokens, then one threshold
jumprelu              Rajamanoharan et al., 2407.14435   a quadratic penalty around L0 = k (Gemma Scope 2)
matryoshka_batchtopk  Bussmann et al., 2503.17547    as batchtopk, with nested dictionaries of d_sae / 4, / 2, / 1
"""

from enum import StrEnum

__all__ = ["Architecture"]


class Architecture(StrEnum):
    """An architecture of SAEs, named as sae-lens names it; the module's table says how each one keeps k."""

    STANDARD = "standard"
    TOPK = "topk"
    BATCHTOPK = "batchtopk"
    JUMPRELU = "jumprelu"
    MATRYOSHKA_BATCHTOPK = "matryoshka_batchtopk"
