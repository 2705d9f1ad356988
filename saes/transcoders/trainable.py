"""A transcoder's parameters while it is trained, and its loss.

1. x and y of each layer are centred and scaled so that E‖x‖² = E‖y‖² = d_model: every layer counts the same.
2. a keeps, of all latents of all layers and of all tokens of a batch, the n · layers · k that write most: the largest
   z⁺ · ‖W_dec‖ (BatchTopK, arXiv 2412.06410). So tokens and layers share what they need.
3. loss = E‖y − ŷ‖² / d_model, on average over layers: the share of variance that is left unexplained;
   and 1/32 of what is left when each token's strongest dead latents, those that have not fired for a while, guess at
   y − ŷ: this revives them (arXiv 2406.04093).
4. In the end the least of the kept z⁺ · ‖W_dec‖ becomes every latent's threshold, and scales and the rows' lengths are
   folded into the weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.transcoders.pairs import LayerLatents, LayerStreams, Pairs
from saes.transcoders.transcoder import Transcoder, preactivations, written

__all__ = ["Scale", "TrainStep", "Trainable", "TranscoderRecipe", "fold"]

REVIVAL = 1 / 32


class TranscoderRecipe(Frozen):
    """One transcoder to train, whatever it is trained on.

    Attributes:
        d_sae: Latents of each layer.
        k: Mean number of active latents per token and layer; below d_sae.
        lr: Peak learning rate of Adam.
        dead_after: Batches without firing after which a latent is dead.
        seed: Seed of the initial weights.
    """

    d_sae: int = Field(default=768, ge=2)
    k: float = Field(default=12.0, gt=0)
    lr: float = Field(default=4e-3, gt=0)
    dead_after: int = Field(default=20, ge=1)
    seed: int = 0

    def weights(self, layers: int, d_model: int) -> int:
        """Returns how many numbers are trained for a model of this width.

        Args:
            layers: Number of layers that the transcoder covers.
            d_model: Width of the model's stream.
        """
        written = layers * (layers + 1) // 2
        return (layers + written) * self.d_sae * d_model + layers * (self.d_sae + d_model)

    def check(self) -> None:
        """Checks the recipe.

        Raises:
            InvalidInput: If k is not below d_sae.
        """
        if self.k >= self.d_sae:
            raise InvalidInput(f"k = {self.k} must be below d_sae = {self.d_sae}", param="k")


class Scale(NamedTuple):
    """An affine map, (values − mean) · scale, to values with mean 0 and E‖values‖² = d_model.

    Attributes:
        mean: [layers, d_model].
        scale: [layers, 1].
    """

    mean: Float[Tensor, "layers d_model"]
    scale: Float[Tensor, "layers 1"]

    @classmethod
    def of(cls, batches: Sequence[Float[Tensor, "_ layers d_model"]]) -> "Scale":
        """Measures the scale of some batches, [tokens, layers, d_model] each."""
        values = torch.cat(list(batches)).double()
        mean = values.mean(dim=0)
        variance = (values - mean).square().mean(dim=(0, 2)).clamp_min(1e-30)
        return cls(mean.float(), variance.rsqrt().float()[:, None])

    def to(self, device: str) -> "Scale":
        """Returns the scale on a device."""
        return Scale(self.mean.to(device), self.scale.to(device))

    def __call__(self, values: LayerStreams) -> LayerStreams:
        """Returns the values scaled, [tokens, layers, d_model]."""
        return (values - self.mean) * self.scale


class TrainStep(NamedTuple):
    """What a transcoder makes of a batch in training.

    Attributes:
        loss: Loss of the batch, one number.
        error: [tokens, layers, d_model] of y − ŷ, what is left to explain.
        a: [tokens, layers, d_sae] activations.
    """

    loss: Float[Tensor, ""]
    error: LayerStreams
    a: LayerLatents


class Trainable(nn.Module):
    """A transcoder's parameters while it is trained, shaped as in ``Transcoder``, for scaled x and y.

    Attributes:
        k: Mean number of active latents per token and layer.

    Raises:
        InvalidInput: If the recipe cannot be made.
    """

    def __init__(self, layers: int, d_model: int, recipe: TranscoderRecipe) -> None:
        super().__init__()
        recipe.check()
        self.k = recipe.k
        generator = torch.Generator().manual_seed(recipe.seed)

        def rows(count: int) -> Float[Tensor, "count d_sae d_model"]:
            return normalize(torch.randn(count, recipe.d_sae, d_model, generator=generator), dim=-1)

        self.W_enc = nn.Parameter(rows(layers))
        self.b_enc = nn.Parameter(torch.zeros(layers, recipe.d_sae))
        W_dec = [rows(m + 1) for m in range(layers)]
        # Equally long at every layer, however many layers a latent writes: else the first layer's would be kept most.
        length = lengths(W_dec)
        self.W_dec = nn.ParameterList(nn.Parameter(0.1 * each / length[: len(each), :, None]) for each in W_dec)
        self.b_dec = nn.Parameter(torch.zeros(layers, d_model))

    def forward(self, pairs: Pairs, dead: Bool[Tensor, "layers d_sae"]) -> TrainStep:
        """Steps 2 and 3.

        Args:
            pairs: A batch, scaled.
            dead: Which latents are dead.
        """
        z = self.preactivations(pairs.x)
        writes = self.writes(z)
        a = z.relu() * (writes >= least_kept(writes, self.k))
        error = pairs.y - written(a, self.W_dec) - self.b_dec
        loss = error.square().mean()
        if dead.any():
            loss = loss + REVIVAL * (error.detach() - self.revived(z, dead)).square().mean()
        return TrainStep(loss, error.detach(), a.detach())

    def preactivations(self, x: LayerStreams) -> LayerLatents:
        """Returns z of all layers, [tokens, layers, d_sae]."""
        return preactivations(x, self.W_enc, self.b_enc)

    @torch.no_grad()
    def writes(self, z: LayerLatents) -> LayerLatents:
        """Returns z⁺ · ‖W_dec‖, the length of what each latent would write."""
        return z.relu() * lengths(self.W_dec)

    def revived(self, z: LayerLatents, dead: Bool[Tensor, "layers d_sae"]) -> LayerStreams:
        """Returns what each token's strongest dead latents would write: d_model / 2 of them, as in the paper.

        They are weighted by z rather than z⁺: through z⁺, a latent far below zero would learn nothing.
        """
        silent = z.masked_fill(~dead, -torch.inf).flatten(1)
        strongest = silent.topk(min(self.W_enc.shape[2] // 2, int(dead.sum())), dim=1, sorted=False)
        a = torch.zeros_like(silent).scatter(1, strongest.indices, strongest.values)
        return written(a.view_as(z), self.W_dec)


def least_kept(writes: LayerLatents, k: float) -> Float[Tensor, ""]:
    """Returns the least of the n · layers · k largest, where there are n tokens."""
    count = max(1, int(k * len(writes) * writes.shape[1]))
    return writes.flatten().topk(count, sorted=False).values.min()


def lengths(W_dec: Sequence[Tensor] | nn.ParameterList) -> Float[Tensor, "layers d_sae"]:
    """Returns ‖W_dec‖ over all of a latent's rows together."""
    square = torch.zeros(len(W_dec), W_dec[0].shape[1], device=W_dec[0].device)
    for rows in W_dec:
        square[: len(rows)] += rows.square().sum(dim=-1)
    return square.sqrt().clamp_min(1e-12)


@torch.no_grad()
def fold(trained: Trainable, x: Scale, y: Scale, least: Float[Tensor, ""]) -> Transcoder:
    """Step 4: makes the transcoder for unscaled x and y.

    Args:
        trained: The trained parameters.
        x: Scale of the inputs.
        y: Scale of the outputs.
        least: Least of the kept z⁺ · ‖W_dec‖.
    """
    W_enc = trained.W_enc * x.scale[:, None]
    b_enc = trained.b_enc - torch.einsum("lsd,ld->ls", W_enc, x.mean)
    W_dec = [rows / scale for rows, scale in zip(trained.W_dec, y.scale, strict=True)]
    length = lengths(W_dec)
    return Transcoder(
        W_enc=W_enc * length[:, :, None],
        b_enc=b_enc * length,
        threshold=least * length / lengths(trained.W_dec),
        W_dec=tuple(rows / length[: len(rows), :, None] for rows in W_dec),
        b_dec=trained.b_dec / y.scale + y.mean,
    )
