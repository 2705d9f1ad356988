"""Documents with what an artifact's features did on them, in a form that an artifact keeps on disk.

It is a safetensors file, as an artifact's others are: scipy's ``save_npz`` would hold only the matrix.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix

from featurehub.errors import CorruptArtifact
from saes.activations import FeatureActivations

__all__ = ["Observations", "observe"]


class Observations(NamedTuple):
    """Token ids of some documents, and what an artifact's features did on them.

    Attributes:
        token_ids: [tokens] ids of all documents, one after the other.
        offsets: [documents + 1]; the tokens of document i are offsets[i] to offsets[i + 1].
        prompt_lens: [documents] length of each prompt in tokens; the answer is what comes after it.
        matrix: [tokens, d_sae] activations in float32; rows of special tokens are empty.
    """

    token_ids: np.ndarray
    offsets: np.ndarray
    prompt_lens: np.ndarray
    matrix: csr_matrix

    @property
    def documents(self) -> range:
        """Indices of the documents."""
        return range(len(self.prompt_lens))

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.matrix.get_shape()[1]

    def document(self, i: int) -> list[int]:
        """Returns the token ids of a document."""
        return self.token_ids[self.offsets[i] : self.offsets[i + 1]].tolist()

    def prompt(self, i: int) -> list[int]:
        """Returns the token ids of a document's prompt."""
        return self.document(i)[: self.prompt_lens[i]]

    def answer(self, i: int) -> list[int]:
        """Returns the token ids of a document's answer, which may be empty."""
        return self.document(i)[self.prompt_lens[i] :]

    def answer_max(self) -> np.ndarray:
        """Returns each latent's largest activation in each answer, [documents, d_sae]; 0 if the answer is empty."""
        starts = self.offsets[:-1] + self.prompt_lens
        answers = zip(starts, self.offsets[1:], strict=True)
        nothing = np.zeros(self.d_sae, np.float32)
        return np.stack([answer_peak(self.matrix[start:stop]) if start < stop else nothing for start, stop in answers])

    def only(self, documents: Sequence[int]) -> "Observations":
        """Returns some of the documents, at least one, in this order."""
        lengths = np.diff(self.offsets)[list(documents)]
        rows = np.concatenate([np.arange(self.offsets[i], self.offsets[i + 1]) for i in documents])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Observations(self.token_ids[rows], offsets, self.prompt_lens[list(documents)], self.matrix[rows])

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        arrays = {
            "token_ids": self.token_ids.astype(np.int32),
            "offsets": self.offsets.astype(np.int64),
            "prompt_lens": self.prompt_lens.astype(np.int32),
            "data": self.matrix.data,
            "indices": self.matrix.indices.astype(np.int32),
            "indptr": self.matrix.indptr.astype(np.int64),
            "shape": np.array(self.matrix.shape, dtype=np.int64),
        }
        save_file({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> "Observations":
        """Reads what ``save`` wrote.

        Raises:
            CorruptArtifact: If the file cannot be read.
        """
        try:
            t = {name: tensor.numpy() for name, tensor in load_file(path).items()}
            matrix = csr_matrix((t["data"], t["indices"], t["indptr"]), shape=tuple(t["shape"]))
            return cls(t["token_ids"], t["offsets"], t["prompt_lens"], matrix)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CorruptArtifact(f"{path} cannot be read: {error}", param="sae") from None


def answer_peak(rows: csr_matrix) -> np.ndarray:
    return rows.max(axis=0).toarray().ravel()


def observe(activations: FeatureActivations) -> Observations:
    """Returns the activations in the form that is kept on disk."""
    documents = activations.documents
    return Observations(
        token_ids=np.concatenate([d.token_ids for d in documents]),
        offsets=activations.offsets,
        prompt_lens=np.array([d.prompt_len for d in documents]),
        matrix=activations.matrix,
    )
