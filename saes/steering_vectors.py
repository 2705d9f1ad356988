"""What is measured once an SAE of spans (``saes.spans``) is trained: its steering vectors, and thresholds for tokens.

Steering vectors. A decoder row is what reconstructs a latent's share beside all other active latents. A passage that
shows the latent has more: the others that come with it. The mean difference of such passages (as for DiffMean, arXiv
2501.17148, with the latent's activations in place of labels) holds all of that, and much that is not the latent's.
Halfway between the two, nudges show most of what the latent reads and keep the text whole:

1. m_i = E[a_i · (x − E x)] / E a_i over spans x, a_i being the latent's activations
2. v_i = ‖d_i‖ · unit(unit(d_i) + unit(m_i)), d_i being its decoder row; v_i = d_i where it never fires

Thresholds. Single tokens spread much further than means of them: with the thresholds of training, ten times as many
latents would fire.

3. θ_i is set so that latent i is active on the same share of tokens as of spans.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from featurehub.dictionary import Dictionary

__all__ = ["steering_vectors", "token_thresholds"]

BLOCK_VECTORS = 4096
BLOCK_LATENTS = 256


def steering_vectors(dictionary: Dictionary, spans: Float[Tensor, "spans d_model"]) -> Float[Tensor, "d_sae d_model"]:
    """Steps 1 and 2.

    Args:
        dictionary: The SAE.
        spans: Means of spans, [spans, d_model], as it was trained on.
    """
    mean = spans.mean(dim=0)
    sums = torch.zeros_like(dictionary.W_dec)
    for x in spans.split(BLOCK_VECTORS):
        sums += dictionary.encode(x).T @ (x - mean)
    both = normalize(dictionary.W_dec, dim=-1) + normalize(sums, dim=-1)
    return dictionary.W_dec.norm(dim=-1, keepdim=True) * normalize(both, dim=-1)


def token_thresholds(
    dictionary: Dictionary, spans: Float[Tensor, "spans d_model"], tokens: Float[Tensor, "tokens d_model"]
) -> Float[Tensor, " d_sae"]:
    """Step 3. A latent that fires on no span fires on none of the tokens.

    Args:
        dictionary: The SAE, with the thresholds of its training.
        spans: Means of spans, [spans, d_model].
        tokens: Single tokens, [tokens, d_model].
    """
    active = torch.zeros(dictionary.d_sae)
    for x in spans.split(BLOCK_VECTORS):
        active += (dictionary.encode(x) > 0).sum(dim=0)
    ranks = (active / len(spans) * len(tokens)).round().long().clamp(max=len(tokens) - 1)
    found = []
    for own in torch.arange(dictionary.d_sae).split(BLOCK_LATENTS):
        z = (tokens - dictionary.b_dec) @ dictionary.W_enc[own].T + dictionary.b_enc[own]
        found.append(z.sort(dim=0, descending=True).values.gather(0, ranks[own][None])[0])
    return torch.cat(found).clamp(min=0.0)
