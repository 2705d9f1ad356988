"""The inference-side SAE: reads an artifact's tensors and encodes exactly as sae-lens does.

    z = (x − b_dec) · W_enc + b_enc          pre-activations
    a = (gain · z + offset)⁺ · [z > θ]       θ per latent
    x̂ = a · W_dec + b_dec

Every architecture is an instance: θ = 0 is ReLU (standard); a θ of its own is JumpReLU, and what BatchTopK and
Matryoshka SAEs become once trained; a gated SAE decides by z and reads its magnitude from gain and offset, which are 1
and 0 elsewhere. A TopK SAE needs a θ that was measured, since its own rule looks at all latents of a token at once.

What reconstructs a stream best is not what steers it best: an SAE may have a second row for each latent, its steering
vector, which a nudge adds in place of the decoder's (``saes.steering_vectors``).

The file keeps sae-lens' orientation (``W_enc [d_model, d_sae]``); in memory both weights are ``[d_sae, d_model]``, so
that the rows of the few latents that steering needs lie together.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.errors import CorruptArtifact

__all__ = ["Dictionary"]

_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")


class Dictionary(NamedTuple):
    """An SAE for inference. All tensors are float32.

    Attributes:
        W_enc: Encoder, [d_sae, d_model]; the file keeps its transpose.
        W_dec: Decoder, [d_sae, d_model].
        b_enc: Encoder bias, [d_sae].
        b_dec: Decoder bias, [d_model], subtracted from the input too.
        threshold: θ per latent, [d_sae]: a latent is active where its pre-activation is above it.
        gain: Factor of the magnitude, [d_sae]; None for 1.
        offset: Addend of the magnitude, [d_sae]; None for 0.
        W_steer: Steering vectors, [d_sae, d_model]: what nudges add; None for the decoder's rows.
        span_threshold: θ per latent for means of spans, [d_sae]; None where the SAE was trained on single tokens.
    """

    W_enc: Float[Tensor, "d_sae d_model"]
    W_dec: Float[Tensor, "d_sae d_model"]
    b_enc: Float[Tensor, " d_sae"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " d_sae"]
    gain: Float[Tensor, " d_sae"] | None = None
    offset: Float[Tensor, " d_sae"] | None = None
    W_steer: Float[Tensor, "d_sae d_model"] | None = None
    span_threshold: Float[Tensor, " d_sae"] | None = None

    @property
    def nudges(self) -> Float[Tensor, "d_sae d_model"]:
        """What a nudge of each latent adds: its steering vector, or its decoder row where there are none."""
        return self.W_dec if self.W_steer is None else self.W_steer

    @property
    def of_spans(self) -> "Dictionary":
        """The same SAE for means of spans (``saes.spans``); itself where it was trained on single tokens."""
        return self if self.span_threshold is None else self._replace(threshold=self.span_threshold)

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.W_dec.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return self.W_dec.shape[1]

    def encode(self, x: Float[Tensor, "tokens d_model"]) -> Float[Tensor, "tokens d_sae"]:
        """Activations of all latents, [tokens, d_sae], for a stream x of any float type, [tokens, d_model]."""
        z = (x.float() - self.b_dec) @ self.W_enc.T + self.b_enc
        return self.magnitude(z) * (z > self.threshold)

    def magnitude(self, z: Tensor, latents: int | slice = slice(None)) -> Tensor:
        """(gain · z + offset)⁺: what the latents' activations are where they are active.

        Args:
            z: Pre-activations of these latents, along the last axis.
            latents: Which latents; all by default.
        """
        scaled = z if self.gain is None else self.gain[latents] * z
        return torch.relu(scaled if self.offset is None else scaled + self.offset[latents])

    def decode(self, a: Float[Tensor, "tokens d_sae"]) -> Float[Tensor, "tokens d_model"]:
        """The stream, [tokens, d_model], that activations of all latents stand for."""
        return a @ self.W_dec + self.b_dec

    def save(self, path: Path) -> None:
        """Writes a safetensors file, with ``W_enc`` as [d_model, d_sae]."""
        tensors = {name: tensor for name, tensor in self._asdict().items() if tensor is not None}
        tensors["W_enc"] = self.W_enc.T
        # Cloned, since safetensors refuses tensors that share memory.
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)

    @classmethod
    def load(cls, path: Path) -> "Dictionary":
        """Reads a file that ``save`` wrote.

        Raises:
            CorruptArtifact: The file is damaged, lacks a tensor, or holds wrong shapes, NaN or infinity.
        """
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CorruptArtifact(f"{path} cannot be read: {error}", param="sae") from None
        missing = [name for name in _TENSORS if name not in tensors]
        if missing:
            raise CorruptArtifact(f"{path} lacks the tensor {missing[0]}", param="sae")
        check_tensors(path, tensors)
        tensors["W_enc"] = tensors["W_enc"].T
        return cls(**{name: tensor.float().contiguous() for name, tensor in tensors.items() if name in cls._fields})


def check_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Checks the tensors as they lie in the file. Raises CorruptArtifact."""
    if tensors["W_dec"].ndim != 2:
        raise CorruptArtifact(f"{path}: W_dec has shape {tuple(tensors['W_dec'].shape)}, expected 2 sides", param="sae")
    d_sae, d_model = tensors["W_dec"].shape
    shapes = {
        "W_enc": (d_model, d_sae),
        "W_dec": (d_sae, d_model),
        "b_enc": (d_sae,),
        "threshold": (d_sae,),
        "b_dec": (d_model,),
        "gain": (d_sae,),
        "offset": (d_sae,),
        "W_steer": (d_sae, d_model),
        "span_threshold": (d_sae,),
    }
    for name in tensors.keys() & shapes.keys():
        tensor, shape = tensors[name], shapes[name]
        if tuple(tensor.shape) != shape:
            raise CorruptArtifact(f"{path}: {name} has shape {tuple(tensor.shape)}, expected {shape}", param="sae")
        if not tensor.is_floating_point():
            raise CorruptArtifact(f"{path}: {name} holds {tensor.dtype}, expected floats", param="sae")
        if not torch.isfinite(tensor).all():
            raise CorruptArtifact(f"{path}: {name} holds NaN or infinity", param="sae")
