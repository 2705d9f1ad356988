"""The SAEs of one hook point as one bank of latents, so that a request may mix them.

To be read and written, a latent needs a row of ``W_enc``, a row of ``W_dec``, and four numbers. What differs between
SAEs (``b_dec``, the architecture) is folded into those numbers when the engine starts:

    z_k = W_enc[k] · x + bias_k               bias = b_enc − W_enc · b_dec
    a_k = (gain_k · z_k + offset_k)⁺ · [z_k > θ_k]

The steering vectors of an SAE that has them follow all latents, as rows that are never active: a nudge writes with such
a row and needs no other, so that nothing else in the engine knows of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from featurehub.artifacts.artifact import WEIGHTS
from featurehub.dictionary import Dictionary
from featurehub.engine.config import SaeConfig
from featurehub.errors import IncompatibleArtifact

__all__ = ["Bank", "Encoders"]

LATENTS_AT_ONCE = 1 << 24
"""Most activations that exist at once while many tokens are read: 64 MiB."""


class Encoders(NamedTuple):
    """What reads k chosen latents for each of g rows. All tensors are float32.

    Attributes:
        W_enc: [g, k, d_model]
        bias: [g, k]
        threshold: [g, k] θ.
        gain: [g, k]
        offset: [g, k]
    """

    W_enc: Tensor
    bias: Tensor
    threshold: Tensor
    gain: Tensor
    offset: Tensor

    def activations(self, x: Tensor) -> Tensor:
        """Activations of the chosen latents, for n tokens of each row.

        Args:
            x: [g, n, d_model] float32, the stream.

        Returns:
            [g, n, k]
        """
        bias, threshold, gain, offset = (column[:, None] for column in self[1:])
        z = torch.baddbmm(bias, x, self.W_enc.transpose(1, 2))
        return torch.addcmul(offset, gain, z).relu_().mul_(z > threshold)


class Bank(NamedTuple):
    """The latents of all SAEs, one SAE after the other. All tensors are float32.

    Attributes:
        W_enc: [latents, d_model]
        W_dec: [latents, d_model]
        bias: [latents] b_enc − W_enc · b_dec.
        threshold: [latents] θ.
        gain: [latents]
        offset: [latents]
        slices: By SAE id, the rows of its latents.
        vectors: By SAE id, the row that a nudge of its first latent writes with: that of its first steering vector or,
            where it has none, of the latent.
        centers: By SAE id, b_dec ([d_model]): where a token without any active latent is put.
    """

    W_enc: Tensor
    W_dec: Tensor
    bias: Tensor
    threshold: Tensor
    gain: Tensor
    offset: Tensor
    slices: Mapping[str, slice]
    vectors: Mapping[str, int]
    centers: Mapping[str, Tensor]

    @classmethod
    def of(cls, dictionaries: Mapping[str, Dictionary], device: torch.device | str = "cpu") -> "Bank":
        """Joins dictionaries into a bank.

        Args:
            dictionaries: By SAE id, at least one, all of the same d_model.
            device: Where the bank is to lie.
        """
        steering = {name: vectors_of(d) for name, d in dictionaries.items() if d.W_steer is not None}
        parts = [*dictionaries.values(), *steering.values()]
        starts = torch.tensor([0, *(d.d_sae for d in parts)]).cumsum(0).tolist()

        def joined(tensors: list[Tensor]) -> Tensor:
            return torch.cat(tensors).float().contiguous().to(device)

        return cls(
            W_enc=joined([d.W_enc for d in parts]),
            W_dec=joined([d.W_dec for d in parts]),
            bias=joined([d.b_enc.double() - d.W_enc.double() @ d.b_dec.double() for d in parts]),
            threshold=joined([d.threshold for d in parts]),
            gain=joined([torch.ones_like(d.b_enc) if d.gain is None else d.gain for d in parts]),
            offset=joined([torch.zeros_like(d.b_enc) if d.offset is None else d.offset for d in parts]),
            slices={name: slice(starts[i], starts[i + 1]) for i, name in enumerate(dictionaries)},
            vectors=dict(zip([*dictionaries, *steering], starts, strict=False)),
            centers={name: joined([d.b_dec]) for name, d in dictionaries.items()},
        )

    @classmethod
    def load(cls, saes: Sequence[SaeConfig], d_model: int, device: torch.device | str) -> "Bank":
        """Loads SAEs of one hook point.

        Args:
            saes: The SAEs; without any, the bank is of nothing.
            d_model: Width of what is read there.
            device: Where the model runs.

        Raises:
            CorruptArtifact: The weights of an SAE cannot be read.
            IncompatibleArtifact: An SAE was trained on a model of another width.
        """
        if not saes:
            return cls.nothing(d_model, device)
        with torch.device("cpu"):  # vLLM builds models under a default device of its own.
            dictionaries = {sae.id: Dictionary.load(sae.folder / WEIGHTS) for sae in saes}
            for dictionary in dictionaries.values():
                if dictionary.d_model != d_model:
                    raise IncompatibleArtifact(
                        f"an SAE reads {dictionary.d_model} numbers of each token, and there are {d_model} at its hook "
                        "point in this model: it was trained on another model"
                    )
            return cls.of(dictionaries, device)

    @classmethod
    def nothing(cls, d_model: int, device: torch.device | str) -> "Bank":
        """A bank without SAEs: of one latent, which nobody edits."""
        row, number = torch.zeros(1, d_model, device=device), torch.zeros(1, device=device)
        return cls(row, row, number, number, number, number, {}, {}, {})

    @property
    def d_model(self) -> int:
        """Width of what is read there."""
        return self.W_dec.shape[1]

    def row(self, sae: str, latent: int) -> int:
        """The row of one SAE's latent in the bank. Raises KeyError for an SAE that the bank does not hold."""
        return self.slices[sae].start + latent

    def rows_in(self, other: "Bank") -> Tensor:
        """Where each of its rows lies in another bank.

        Returns:
            [latents] int64 on the bank's device; 0 for the rows of an SAE that the other does not hold.
        """
        rows = torch.zeros(self.W_dec.shape[0], dtype=torch.long)
        for sae in self.slices.keys() & other.slices.keys():
            own, at = self.slices[sae], other.slices[sae].start
            for start, target in ((own.start, at), (self.vectors[sae], other.vectors[sae])):
                size = own.stop - own.start
                rows[start : start + size] = torch.arange(target, target + size)
        return rows.to(self.W_dec.device)

    def encoders(self, latents: Tensor) -> Encoders:
        """What reads these latents.

        Args:
            latents: [g, k] int64, rows of the bank.
        """
        columns = (self.W_enc, self.bias, self.threshold, self.gain, self.offset)
        return Encoders(*(column[latents] for column in columns))

    def encode(self, x: Tensor, sae: str) -> Tensor:
        """Activations of all latents of one SAE.

        Args:
            x: [tokens, d_model] float32, the stream.
            sae: Id of the SAE.

        Returns:
            [tokens, d_sae]
        """
        own = self.slices[sae]
        z = torch.addmm(self.bias[own], x, self.W_enc[own].T)
        a = torch.addcmul(self.offset[own], self.gain[own], z).relu_()
        # In place: factors of 0 and 1 take no memory of their own, and a third of the time of a mask on a CPU.
        return a.mul_(z.gt_(self.threshold[own]))

    def read(
        self, x: Tensor, sae: str, top_k: int, named: Sequence[int], see: Callable[[int, Tensor], None] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The strongest latents of one SAE, and those that are named.

        In chunks, so that the full activations of many tokens never exist at once.

        Args:
            x: [tokens, d_model] float32, the stream.
            sae: Id of the SAE.
            top_k: How many of the strongest.
            named: Latents whose activations are wanted, whatever they are.
            see: Is shown every chunk: the index of its first token, and the activations of all latents
                ([tokens, d_sae]), which it does not keep.

        Returns:
            Indices and activations of the strongest ([tokens, top_k]), activations of the named ones ([tokens, named]).
        """
        size = self.slices[sae].stop - self.slices[sae].start
        at_once = max(1, LATENTS_AT_ONCE // size)
        chunks = []
        for start, part in zip(range(0, len(x), at_once), x.split(at_once), strict=True):
            a = self.encode(part, sae)
            if see is not None:
                see(start, a)
            top = a.topk(min(top_k, size), dim=-1)
            chunks.append((top.indices, top.values, a[:, list(named)]))
        if len(chunks) == 1:
            return chunks[0]
        indices, values, own = (torch.cat(column) for column in zip(*chunks, strict=True))
        return indices, values, own


def vectors_of(dictionary: Dictionary) -> Dictionary:
    """An SAE's steering vectors as latents that are never active."""
    rows, none = dictionary.nudges, torch.zeros(dictionary.d_sae)
    return Dictionary(torch.zeros_like(rows), rows, none, torch.zeros(dictionary.d_model), none)
