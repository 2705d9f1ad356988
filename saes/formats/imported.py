"""An SAE that another project made, in the equation of ``featurehub.dictionary``; conventions become weights.

theirs                                        ours
z = x · W_enc + b_enc                         b_enc' = b_enc + b_dec · W_enc
z, x̂ of s · x                                 W_enc' = s · W_enc, W_dec' = W_dec / s, b_dec' = b_dec / s
z of x − x̄, the stream less its own mean      W_enc' = W_enc less its means over d_model; b_enc takes up b̄_dec
activations f · a, decoded as a               W_enc' = f · W_enc, likewise b_enc, offset and θ; W_dec' = W_dec / f
k largest of each token                       θ measured on activations (BatchTopK, arXiv 2412.06410)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary, check_tensors
from featurehub.errors import InvalidInput
from saes.formats.files import Tensors

__all__ = [
    "ImportedSae",
    "batch_threshold",
    "dictionary_of",
    "of_centered_stream",
    "of_scaled_stream",
    "with_scaled_activations",
    "with_unit_rows",
    "without_input_bias",
]


class ImportedSae(NamedTuple):
    """An SAE of another project, and what its files say about it.

    Attributes:
        dictionary: The SAE in our equation.
        architecture: Name of its architecture.
        hook: Where it reads and writes; None if its files do not say.
        model: The model that it was made for; "" if its files do not say.
        k: Mean number of active latents per token that it was made for; None if its files do not say.
        topk: Whether θ has still to be measured so that k latents per token are active on average.
        place: What its files call the hook point; "" if they do not say.
    """

    dictionary: Dictionary
    architecture: str
    hook: HookPoint | None = None
    model: str = ""
    k: float | None = None
    topk: bool = False
    place: str = ""

    def measured(self, x: Tensor | None) -> Dictionary:
        """Returns the SAE ready to encode, with its threshold measured if that is still to be done.

        Args:
            x: [tokens, d_model] of the stream; only needed if ``topk``.

        Raises:
            InvalidInput: If ``x`` or k is needed and missing.
        """
        if not self.topk:
            return self.dictionary
        if x is None or self.k is None:
            raise InvalidInput("a TopK SAE needs k and activations, from which its threshold is measured")
        theta = batch_threshold(self.dictionary, self.k, x)
        return self.dictionary._replace(threshold=torch.full_like(self.dictionary.threshold, theta))


def dictionary_of(
    tensors: Tensors,
    W_enc: Tensor,
    W_dec: Tensor,
    b_enc: Tensor,
    b_dec: Tensor,
    threshold: Tensor | float = 0.0,
    gain: Tensor | None = None,
    offset: Tensor | None = None,
) -> Dictionary:
    """Makes a dictionary; negative thresholds become 0, which changes nothing because of the ReLU.

    Args:
        tensors: The file's tensors, for error messages.
        W_enc: [d_model, d_sae].
        W_dec: [d_sae, d_model].
        b_enc: [d_sae].
        b_dec: [d_model].
        threshold: θ, [d_sae] or one number for all latents.
        gain: [d_sae]; None stands for 1.
        offset: [d_sae]; None stands for 0.

    Raises:
        CorruptArtifact: If shapes do not fit, or a tensor holds NaN or infinity.
    """
    theta = threshold if isinstance(threshold, Tensor) else torch.full_like(b_enc, threshold)
    parts = {"W_enc": W_enc, "W_dec": W_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": theta}
    parts |= {name: part for name, part in (("gain", gain), ("offset", offset)) if part is not None}
    check_tensors(tensors.path, parts)
    parts |= {"W_enc": W_enc.T, "threshold": theta.clamp(min=0.0)}
    return Dictionary(**{name: part.float().contiguous() for name, part in parts.items()})


def without_input_bias(dictionary: Dictionary) -> Dictionary:
    """Adapts an SAE whose encoder does not subtract b_dec from its input; apply it before ``of_scaled_stream``."""
    return dictionary._replace(b_enc=dictionary.b_enc + dictionary.W_enc @ dictionary.b_dec)


def of_scaled_stream(dictionary: Dictionary, s: float) -> Dictionary:
    """Adapts an SAE of s · x to x."""
    return dictionary._replace(W_enc=dictionary.W_enc * s, W_dec=dictionary.W_dec / s, b_dec=dictionary.b_dec / s)


def of_centered_stream(dictionary: Dictionary) -> Dictionary:
    """Adapts an SAE of x − x̄ to x.

    What it adds to x is what it would add to x − x̄; x̄ itself is not reconstructed.
    """
    W_enc = dictionary.W_enc - dictionary.W_enc.mean(dim=-1, keepdim=True)
    # b_dec is subtracted as it is, not less its mean.
    shift = (W_enc - dictionary.W_enc) @ dictionary.b_dec
    return dictionary._replace(W_enc=W_enc, b_enc=dictionary.b_enc + shift)


def with_scaled_activations(dictionary: Dictionary, f: Tensor) -> Dictionary:
    """Multiplies the activations by f, leaving the reconstruction as it is.

    Args:
        dictionary: The SAE.
        f: One positive number, or [d_sae] of them.
    """
    rows = f[:, None] if f.ndim else f
    return dictionary._replace(
        W_enc=dictionary.W_enc * rows,
        b_enc=dictionary.b_enc * f,
        W_dec=dictionary.W_dec / rows,
        threshold=dictionary.threshold * f,
        offset=None if dictionary.offset is None else dictionary.offset * f,
    )


def with_unit_rows(dictionary: Dictionary) -> Dictionary:
    """Scales decoder rows to length 1, and activations to match; rows of zeros stay as they are."""
    lengths = dictionary.W_dec.norm(dim=-1)
    return with_scaled_activations(dictionary, torch.where(lengths > 0, lengths, 1.0))


def batch_threshold(dictionary: Dictionary, k: float, x: Tensor) -> float:
    """Returns the θ above which n · k of all activations on ``x`` lie, as in BatchTopK (arXiv 2412.06410).

    Args:
        dictionary: The SAE.
        k: Mean number of active latents per token.
        x: [n, d_model] of the stream.
    """
    a = dictionary.encode(x).flatten()
    kept = min(int(k * len(x)), int((a > 0).sum()))
    return float(a.topk(kept + 1).values[-1]) if kept + 1 <= len(a) else 0.0
