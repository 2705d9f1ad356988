"""A cross-layer transcoder: every layer's latents read the stream before that layer's MLP, and write what this MLP and
those of all later layers add to it (Ameisen et al. 2025, "Circuit Tracing"). With one layer it is a transcoder
(Dunefsky et al., arXiv 2406.11944).

    z_l = x_l · W_enc_l + b_enc_l                   pre-activations;  x_l: the stream before the MLP of layer l
    a_l = z_l⁺ · [z_l > θ_l]                        θ per latent
    ŷ_m = Σ_{l ≤ m} a_l · W_dec_{l→m} + b_dec_m     what the MLP of layer m adds

Layers are counted within the transcoder, in the model's order. All decoder rows of a latent together have length 1, so
that an activation is the length of what it adds to all MLPs' outputs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.errors import CorruptArtifact
from saes.transcoders.pairs import LayerLatents, LayerStreams

__all__ = ["Transcoder", "preactivations", "written"]


class Transcoder(NamedTuple):
    """A cross-layer transcoder; all tensors are float32.

    Attributes:
        W_enc: [layers, d_sae, d_model].
        b_enc: [layers, d_sae].
        threshold: θ, [layers, d_sae].
        W_dec: For each layer m that is written, the rows of the latents of all layers up to m, [m + 1, d_sae, d_model].
        b_dec: [layers, d_model].
    """

    W_enc: Float[Tensor, "layers d_sae d_model"]
    b_enc: Float[Tensor, "layers d_sae"]
    threshold: Float[Tensor, "layers d_sae"]
    W_dec: tuple[Float[Tensor, "_ d_sae d_model"], ...]
    b_dec: Float[Tensor, "layers d_model"]

    @property
    def layers(self) -> int:
        """Number of layers that it covers."""
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        """Latents of each layer."""
        return self.W_enc.shape[1]

    @property
    def d_model(self) -> int:
        """Width of the model's stream."""
        return self.W_enc.shape[2]

    def encode(self, x: LayerStreams) -> LayerLatents:
        """Returns activations, [tokens, layers, d_sae], from the stream before each MLP, [tokens, layers, d_model]."""
        z = preactivations(x.float(), self.W_enc, self.b_enc)
        return z.relu() * (z > self.threshold)

    def decode(self, a: LayerLatents) -> LayerStreams:
        """Returns ŷ, what the MLPs are predicted to add, [tokens, layers, d_model]."""
        return written(a, self.W_dec) + self.b_dec

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        W_dec = {f"W_dec_{m}": rows for m, rows in enumerate(self.W_dec)}
        tensors = {name: tensor for name, tensor in self._asdict().items() if name != "W_dec"} | W_dec
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)

    @classmethod
    def load(cls, path: Path) -> "Transcoder":
        """Reads what ``save`` wrote.

        Raises:
            CorruptArtifact: If the file is damaged, or a tensor is missing, misshapen or not finite.
        """
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CorruptArtifact(f"{path} cannot be read: {error}") from None
        check_tensors(path, tensors)
        W_dec = tuple(tensors.pop(f"W_dec_{m}").float() for m in range(len(tensors["W_enc"])))
        return cls(W_dec=W_dec, **{name: tensors[name].float() for name in ("W_enc", "b_enc", "threshold", "b_dec")})


def preactivations(
    x: LayerStreams,
    W_enc: Float[Tensor, "layers d_sae d_model"],
    b_enc: Float[Tensor, "layers d_sae"],
) -> LayerLatents:
    """Returns z of all layers, [tokens, layers, d_sae].

    Args:
        x: [tokens, layers, d_model] of the stream before each MLP.
        W_enc: [layers, d_sae, d_model].
        b_enc: [layers, d_sae].
    """
    return torch.einsum("tld,lsd->tls", x, W_enc) + b_enc


def written(a: LayerLatents, W_dec: Iterable[Tensor]) -> LayerStreams:
    """Returns ŷ without b_dec, [tokens, layers, d_model]: each layer is one product of all latents that write it.

    Args:
        a: [tokens, layers, d_sae] activations.
        W_dec: As in ``Transcoder``.
    """
    return torch.stack([a[:, : len(rows)].flatten(1) @ rows.flatten(0, 1) for rows in W_dec], dim=1)


def check_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Raises CorruptArtifact if a file's tensors do not have the shapes that its W_enc demands, or are not finite."""
    if "W_enc" not in tensors or tensors["W_enc"].ndim != 3:
        raise CorruptArtifact(f"{path} holds no W_enc of three sides")
    layers, d_sae, d_model = tensors["W_enc"].shape
    shapes = {"b_enc": (layers, d_sae), "threshold": (layers, d_sae), "b_dec": (layers, d_model)}
    shapes |= {f"W_dec_{m}": (m + 1, d_sae, d_model) for m in range(layers)}
    if missing := shapes.keys() - tensors.keys():
        raise CorruptArtifact(f"{path} lacks the tensor {min(missing)}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shapes.get(name, tuple(tensor.shape)):
            raise CorruptArtifact(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {shapes[name]}")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CorruptArtifact(f"{path}: {name} does not hold finite floats alone")
