"""Documents with what an artifact's features did on them, in a form that an artifact keeps on disk.

One safetensors file as all of an artifact's are: scipy's ``save_npz`` would hold the matrix alone.
"""

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
    """Token ids and activations of a set of documents.

    token_ids:   [tokens] of all documents, one after the other
    offsets:     [documents + 1]
    prompt_lens: [documents]; the answer is what comes after
    matrix:      [tokens, d_sae] float32; rows of special tokens are empty
    """

    token_ids: np.ndarray
    offsets: np.ndarray
    prompt_lens: np.ndarray
    matrix: csr_matrix

    @property
    def documents(self) -> range:
        return range(len(self.prompt_lens))

    @property
    def d_sae(self) -> int:
        return self.matrix.get_shape()[1]

    def document(self, i: int) -> list[int]:
        return self.token_ids[self.offsets[i] : self.offsets[i + 1]].tolist()

    def prompt(self, i: int) -> list[int]:
        return self.document(i)[: self.prompt_lens[i]]

    def answer(self, i: int) -> list[int]:
        return self.document(i)[self.prompt_lens[i] :]

    def answer_max(self) -> np.ndarray:
        """The largest activation of every latent in every answer, [documents, d_sae]."""
        starts = self.offsets[:-1] + self.prompt_lens
        answers = zip(starts, self.offsets[1:], strict=True)
        nothing = np.zeros(self.d_sae, np.float32)
        return np.stack([answer_peak(self.matrix[start:stop]) if start < stop else nothing for start, stop in answers])

    def save(self, path: Path) -> None:
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
        """Raises CorruptArtifact."""
        try:
            t = {name: tensor.numpy() for name, tensor in load_file(path).items()}
            matrix = csr_matrix((t["data"], t["indices"], t["indptr"]), shape=tuple(t["shape"]))
            return cls(t["token_ids"], t["offsets"], t["prompt_lens"], matrix)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CorruptArtifact(f"{path} cannot be read: {error}", param="sae") from None


def answer_peak(rows: csr_matrix) -> np.ndarray:
    return rows.max(axis=0).toarray().ravel()


def observe(activations: FeatureActivations) -> Observations:
    documents = activations.documents
    return Observations(
        token_ids=np.concatenate([d.token_ids for d in documents]),
        offsets=activations.offsets,
        prompt_lens=np.array([d.prompt_len for d in documents]),
        matrix=activations.matrix,
    )
